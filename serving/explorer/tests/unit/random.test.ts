import { expect, test } from "vitest";

import { latentFromSeed, RandomState } from "../../src/random";
import { reference } from "./reference";

test("uniform numbers of NumPy's seeds, bit for bit", () => {
  for (const [seed, expected] of Object.entries<number[]>(reference.uniforms)) {
    const random = new RandomState(Number(seed));
    expect(expected.map(() => random.uniform())).toEqual(expected);
  }
});

test("normal numbers of NumPy's seeds: float32 bit for bit, float64 within the rounding of one logarithm", () => {
  let different = 0;
  for (const [seed, bits] of Object.entries<string[]>(reference.normals)) {
    const expected = bits.map((hex) => new DataView(Uint8Array.from(Buffer.from(hex, "hex")).buffer).getFloat64(0));
    expect(latentFromSeed(Number(seed), expected.length)).toEqual(Float32Array.from(expected));
    const random = new RandomState(Number(seed));
    for (const value of expected) {
      const own = random.standardNormal();
      // The logarithms of C and of JavaScript may each round to either neighbor; the square root halves that.
      expect(Math.abs(own - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -51);
      different += own === value ? 0 : 1;
    }
  }
  expect(different).toBeLessThan(0.1 * 7 * 1000);
});

test("what is no seed is refused", () => {
  for (const seed of [-1, 2 ** 32, 0.5, NaN]) expect(() => new RandomState(seed)).toThrow(/seed .*whole number/);
});
