import { expect, test } from "vitest";

import { Film, frameCount, zipFrames } from "../../src/film";
import type { Generator } from "../../src/generator";
import { slerp } from "../../src/latents";
import { seedPoint, type Point } from "../../src/point";
import { latentFromSeed } from "../../src/random";
import type { Path } from "../../src/store";
import { readZip } from "../../src/zip";
import { f32 } from "./reference";

const PATH: Path = { frames: 4, fps: 10, curve: "lerp", loop: false };

/** A generator whose style vectors are the latents, and whose pictures are the numbers that it was asked for. */
function fake(asked: { ws: Float32Array; transform: Float32Array }[]): Generator {
  const generator = {
    facts: { zDim: 4, width: 8, height: 8 },
    map: async ([z]: [Float32Array]) => [z],
    average: async () => f32([0, 0, 0, 0]),
    wsOf: async ({ source }: Point) => latentFromSeed(source.kind === "seed" ? source.seed : 0, 4),
    synthesize: async ([ws]: [Float32Array], [transform]: [Float32Array]) => {
      asked.push({ ws, transform });
      return [Uint8Array.of(asked.length)];
    },
  };
  return generator as unknown as Generator;
}

test("frames of a path: latents and motion in between, each asked for once", async () => {
  const asked: { ws: Float32Array; transform: Float32Array }[] = [];
  const film = new Film(fake(asked), [seedPoint(1, 1), { ...seedPoint(2, 1), x: 0.4, rotate: 90 }], [], PATH);
  expect(film.count).toBe(5);
  const [a, b] = [latentFromSeed(1, 4), latentFromSeed(2, 4)];
  expect(film.has(1)).toBe(false);
  const made = film.frame(1);
  expect(film.has(1)).toBe(true); // as soon as it is requested
  await made;
  await film.frame(1);
  expect(asked).toHaveLength(1);
  asked[0]!.ws.forEach((value, i) => expect(value).toBeCloseTo(0.75 * a[i]! + 0.25 * b[i]!, 6));
  const [cos, sin, right] = asked[0]!.transform;
  expect(Math.atan2(sin!, cos!)).toBeCloseTo(Math.PI / 8, 5); // a quarter of 90 degrees
  expect(right!).toBeCloseTo(-0.1 * Math.cos(Math.PI / 8), 5);
  const archive = await readZip(await zipFrames(film, () => undefined));
  expect(archive.map(({ name }) => name)).toEqual([
    "000000.png",
    "000001.png",
    "000002.png",
    "000003.png",
    "000004.png",
  ]);
});

test("arcs run through the latents of seeds, truncated along the way", async () => {
  const asked: { ws: Float32Array; transform: Float32Array }[] = [];
  const loop: Path = { ...PATH, curve: "slerp", loop: true };
  const film = new Film(fake(asked), [seedPoint(1, 1), seedPoint(2, 0.5)], [], loop);
  await film.frame(6); // half of the way back from the second to the first
  const half = slerp(latentFromSeed(2, 4), latentFromSeed(1, 4), 0.5);
  asked[0]!.ws.forEach((value, i) => expect(value).toBeCloseTo(0.75 * half[i]!, 6));
  const mixed: Point = { ...seedPoint(3), mixes: [{ source: { kind: "seed", seed: 1 }, layers: [0] }] };
  await expect(new Film(fake([]), [seedPoint(1), mixed], [], loop).frame(1)).rejects.toThrow("choose another curve");
});

test("a loop continues in the direction of its turn", async () => {
  for (const [sign, curve] of [
    [1, "lerp"],
    [-1, "cubic"],
  ] as const) {
    const asked: { ws: Float32Array; transform: Float32Array }[] = [];
    const keyframes = [0, 120, -120].map((rotate) => ({ ...seedPoint(1, 1), rotate: sign * rotate }));
    const film = new Film(fake(asked), keyframes, [], { ...PATH, curve, loop: true });
    for (let number = 0; number < film.count; number++) await film.frame(number);
    const degrees = asked.map(({ transform: [cos, sin] }) => (Math.atan2(sin!, cos!) * 180) / Math.PI);
    degrees.forEach((value, i) => expect(Math.cos(((value - sign * 30 * i) * Math.PI) / 180)).toBeCloseTo(1, 6));
  }
  const asked: { ws: Float32Array; transform: Float32Array }[] = [];
  const back = [170, -170, 150].map((rotate) => ({ ...seedPoint(1, 1), rotate })); // no full turn is left
  const film = new Film(fake(asked), back, [], { ...PATH, frames: 2, loop: true });
  for (let number = 0; number < film.count; number++) await film.frame(number);
  const degrees = asked.map(({ transform: [cos, sin] }) => ((Math.atan2(sin!, cos!) * 180) / Math.PI + 360) % 360);
  [170, 180, 190, 170, 150, 160].forEach((value, i) => expect(degrees[i]!).toBeCloseTo(value, 3));
});

test("a path of one keyframe rests", () => {
  expect(frameCount(0, PATH)).toBe(0);
  expect(frameCount(1, PATH)).toBe(5);
});
