import { expect, test } from "vitest";

import {
  applyDirection,
  formatLayers,
  inPlane,
  mix,
  multiply,
  parseLayers,
  parseSeeds,
  pathWeights,
  slerp,
  transformMatrix,
  truncate,
  unwrap,
  weightedSum,
  type Curve,
} from "../../src/latents";
import { frameCount } from "../../src/film";
import { readNpz } from "../../src/npz";
import { f32, reference, referenceFile } from "./reference";

const W_DIM = 4;
const [a, b, c, average] = [reference.a, reference.b, reference.c, reference.average].map(f32) as Float32Array[] as [
  Float32Array,
  Float32Array,
  Float32Array,
  Float32Array,
];

/** Expect equality up to the rounding of a float32, by which JavaScript's and C's sines may differ. */
function expectClose(own: ArrayLike<number>, expected: readonly number[], ulps = 1): void {
  expect(own.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs(own[i]! - value), `element ${i}`).toBeLessThanOrEqual(
      Math.max(Math.abs(value), 1) * ulps * 2 ** -23,
    );
  });
}

test("truncation equals NumPy's to the bit", () => {
  for (const { psi, cutoff, ws } of reference.truncated) {
    expect(truncate(a, average, psi, cutoff), `psi ${psi}, cutoff ${cutoff}`).toEqual(f32(ws));
  }
});

test("mixing takes the layers of the other", () => {
  expect(mix(a, b, [0, 3], W_DIM)).toEqual(f32(reference.mixed));
  expect(mix(a, b, [], W_DIM)).toEqual(a);
});

test("slerp", () => {
  for (const { t, z } of reference.slerp) expectClose(slerp(a.slice(0, W_DIM), b.slice(0, W_DIM), t), z);
  expect(slerp(f32([1, 2]), f32([2, 4]), 0.5)).toEqual(f32([1.5, 3])); // parallel: along the chord
});

test("the plane passes through its three points", () => {
  expect(inPlane(a, b, c, 0, 0)).toEqual(a);
  expect(inPlane(a, b, c, 1, 0)).toEqual(b);
  expect(inPlane(a, b, c, 0, 1)).toEqual(c);
  expectClose(
    inPlane(a, b, c, 0.5, 0),
    [...a].map((value, i) => (value + b[i]!) / 2),
  );
});

test("transforms and their product", () => {
  for (const { motion, matrix } of reference.transforms) {
    const [rotate, x, y] = motion;
    expectClose(transformMatrix({ rotate, x, y }), matrix);
  }
  const [first, second] = reference.factors.map(f32);
  expectClose(multiply(first, second), reference.product);
});

test("paths through keyframes are those of sg3tf generate interpolate", () => {
  const keyframes: Float32Array[] = reference.keyframes.map(f32);
  for (const { curve, loop, count, ws } of reference.paths) {
    const own = reference.times.map((t: number) =>
      weightedSum(
        keyframes.slice(0, count),
        pathWeights(count, t > count - 1 && !loop ? count - 1 : t, curve as Curve, loop),
      ),
    );
    reference.times.forEach((t: number, i: number) => {
      if (t > (loop ? count : count - 1)) return; // SciPy extrapolates where no frame is
      const size = keyframes[0]!.length;
      expectClose(own[i], ws.slice(i * size, (i + 1) * size), 4);
    });
  }
  for (const [keys, frames, loop, expected] of reference.counts) {
    expect(frameCount(keys, { frames, loop, fps: 1, curve: "lerp" })).toBe(expected);
  }
  expect(frameCount(0, { frames: 3, loop: true, fps: 1, curve: "lerp" })).toBe(0);
});

test("rotations take the shorter way", () => {
  expect(unwrap([170, -170, -10, 20])).toEqual([170, 190, 350, 380]);
});

test("directions from a file move latents as sg3tf edit does", async () => {
  const arrays = await readNpz(referenceFile("directions.npz"));
  const [names, vectors, deviations, layers] = ["names", "vectors", "deviations", "layers"].map(
    (name) => arrays.get(name)!.data,
  );
  expect(names).toEqual(["pc0", "Länge"]);
  const direction = {
    name: "Länge",
    vector: Float32Array.from(vectors!.slice(W_DIM) as Float32Array),
    deviation: deviations![1] as number,
    layers: [...(layers as Float64Array)],
  };
  expect(applyDirection(a, direction, -2.5)).toEqual(f32(reference.moved));
});

test("ranges of layers and seeds", () => {
  for (const [text, layers] of Object.entries(reference.layers)) expect(parseLayers(text, 16), text).toEqual(layers);
  for (const [numWs, ...thirds] of reference.thirds) {
    expect(
      ["coarse", "middle", "fine"].map((third) => parseLayers(third, numWs)),
      `${numWs}`,
    ).toEqual(thirds);
  }
  expect(formatLayers([0, 1, 2, 5, 7, 8])).toBe("0-2,5,7-8");
  for (const text of ["", "rough", "16", "-1", "1-"]) expect(() => parseLayers(text, 16), text).toThrow(RangeError);
  expect(parseSeeds("3,7-9")).toEqual([3, 7, 8, 9]);
  for (const text of ["", "x", "4294967296", "0-99999", "5-"]) expect(() => parseSeeds(text), text).toThrow(RangeError);
});
