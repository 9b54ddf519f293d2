import { expect, test } from "vitest";

import { seedPoint, type Point } from "../../src/point";
import { stepSeed } from "../../src/ui/seeds";

test("seeds end at the first and last; after a picture from a file comes seed 0, either way", () => {
  const point = { ...seedPoint(5), rotate: 3 };
  expect(stepSeed(point, 1)).toEqual({ ...point, source: { kind: "seed", seed: 6 } });
  expect(stepSeed(seedPoint(0), -1)).toEqual(seedPoint(0));
  expect(stepSeed(seedPoint(2 ** 32 - 1), 1)).toEqual(seedPoint(2 ** 32 - 1));
  const source: Point["source"] = { kind: "styles", name: "file", ws: new Float32Array(4), wDim: 4, transform: null };
  for (const by of [-1, 1]) expect(stepSeed({ ...point, source }, by)).toEqual({ ...point, source: seedPoint(0).source });
});
