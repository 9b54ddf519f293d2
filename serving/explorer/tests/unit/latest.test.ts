import { expect, test } from "vitest";

import { Latest } from "../../src/latest";

test("only the newest work is done, that which waits at the next frame", async () => {
  let frame = () => {};
  const latest = new Latest(() => new Promise((resolve) => (frame = resolve)));
  const done: number[] = [];
  let release = () => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  for (let i = 0; i < 5; i++) {
    latest.request(async () => {
      if (i === 0) await gate;
      done.push(i);
    });
  }
  expect([latest.isBusy, latest.hasNewer, latest.replaced]).toEqual([true, true, 3]);
  release();
  await new Promise((resolve) => setTimeout(resolve));
  expect(done).toEqual([0]);
  latest.request(async () => void done.push(5)); // the pointer's newest place comes just before the frame
  frame();
  await new Promise((resolve) => setTimeout(resolve));
  expect(done).toEqual([0, 5]);
  expect(latest.isBusy).toBe(false);
});

test("waiting work is interrupted by newer work, at once", async () => {
  const latest = new Latest(async () => undefined);
  const found: boolean[] = [];
  const wait = (milliseconds: number) => async () => void found.push(await latest.isInterrupted(milliseconds));
  latest.request(wait(60_000)); // the test would run into its own limit
  latest.request(wait(60_000));
  await new Promise((resolve) => setTimeout(resolve));
  latest.request(wait(1));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(found).toEqual([true, true, false]);
});
