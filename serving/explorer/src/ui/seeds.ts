/** Seeds as users write them. */

import type { Point } from "../point";
import { checkSeed, LAST_SEED } from "../random";

/** Read a seed; throws a RangeError if it is not one. */
export function readSeed(text: string): number {
  const seed = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isNaN(seed)) throw new RangeError(`${text || "nothing"}: give a whole number`);
  checkSeed(seed);
  return seed;
}

/** Return the seed `by` steps further, clamped to the valid range. */
export function seedAfter(seed: number, by: number): number {
  return Math.min(Math.max(seed + by, 0), LAST_SEED);
}

/** Return the picture of the seed `by` steps from the point's own, or of seed 0 if the point is from a file. */
export function stepSeed(point: Point, by: number): Point {
  const seed = point.source.kind === "seed" ? seedAfter(point.source.seed, by) : 0;
  return { ...point, source: { kind: "seed", seed } };
}

/** Return a seed that is easy to read and write. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 1e6);
}
