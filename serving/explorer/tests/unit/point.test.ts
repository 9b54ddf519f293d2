import { expect, test } from "vitest";

import { classOf, compose, seedPoint } from "../../src/point";
import { f32 } from "./reference";

test("a point is truncated, then mixed, then moved", () => {
  const [a, b] = [f32([1, 1, 1, 1]), f32([2, 2, 4, 4])];
  const average = f32([0, 0]);
  const direction = { name: "d", vector: f32([1, 0]), deviation: 2, layers: [0] };
  const point = {
    ...seedPoint(0, 0.5),
    mixes: [{ source: { kind: "seed", seed: 1 } as const, layers: [1] }],
    strengths: { d: 3 },
  };
  expect(compose(point, [a, b], average, [direction])).toEqual(f32([6.5, 0.5, 2, 2]));
  const both = { ...point, plane: { b: point.source, c: point.source, u: 1, v: 0 }, strengths: {} };
  expect(compose(both, [a, b, b, a], average, [])).toEqual(f32([1, 1, 0.5, 0.5]));
  const plane = { b: point.source, c: point.source, u: 0.5, v: 0 };
  expect(compose({ ...point, plane, mixes: [], strengths: {} }, [a, b, a], average, [])).toEqual(
    f32([0.75, 0.75, 1.25, 1.25]),
  );
});

test("a class is a label with a single one", () => {
  expect(
    [
      [0, 1],
      [1, 0, 0],
      [0, 0],
      [1, 1],
      [0.5, 1],
      [2, 0],
    ].map(classOf),
  ).toEqual([1, 0, null, null, null, null]);
});
