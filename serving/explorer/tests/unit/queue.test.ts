import { expect, test } from "vitest";

import { Queue } from "../../src/queue";

test("few pieces of work run at a time, in their order", async () => {
  const queue = new Queue(2);
  const ends: (() => void)[] = [];
  const begun: number[] = [];
  for (let i = 0; i < 4; i++) {
    queue.add(() => {
      begun.push(i);
      return new Promise((resolve) => ends.push(resolve));
    });
  }
  expect(begun).toEqual([0, 1]);
  ends[1]!();
  await new Promise((resolve) => setTimeout(resolve));
  expect(begun).toEqual([0, 1, 2]);
  for (const end of ends) end();
  await new Promise((resolve) => setTimeout(resolve));
  expect(begun).toEqual([0, 1, 2, 3]);
});
