/** Seeds as people write them. */

import { checkSeed } from "../random";

/** Read a seed; RangeError for what is none. */
export function readSeed(text: string): number {
  const seed = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isNaN(seed)) throw new RangeError(`${text || "nothing"}: give a whole number`);
  checkSeed(seed);
  return seed;
}

/** Return a seed that is easy to read and write. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 1e6);
}
