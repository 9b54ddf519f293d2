import { expect, test } from "vitest";

import { difference, enlarge, undoTransform, type Pixels } from "../../src/image";
import { transformMatrix } from "../../src/latents";

function waves(side: number, shift = 0): Pixels {
  const data = new Uint8ClampedArray(side * side * 4);
  for (let i = 0; i < side * side; i++) {
    const x = ((i % side) + 0.5) / side - 0.5 - shift;
    data.set(
      [127 + 100 * Math.sin(2 * Math.PI * x), 127 + 100 * Math.cos((Math.PI * Math.floor(i / side)) / side), 127, 255],
      4 * i,
    );
  }
  return { width: side, height: side, data };
}

test("smooth pictures stay the same when enlarged", () => {
  const large = enlarge(waves(32), 4);
  expect(large.width).toBe(128);
  const expected = waves(128);
  for (let row = 16; row < 112; row++) {
    for (let column = 16; column < 112; column++) {
      const at = (row * 128 + column) * 4;
      expect(Math.abs(large.data[at]! - expected.data[at]!)).toBeLessThanOrEqual(2);
    }
  }
  expect([...large.data.slice(-1)]).toEqual([255]);
});

test("a dot becomes Lanczos' filter of three lobes", () => {
  const dot = { width: 16, height: 16, data: new Uint8ClampedArray(16 * 16 * 4) };
  dot.data[4 * (8 * 16 + 8)] = 255;
  const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const filter = (x: number) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0);
  // At four places to a pixel, the weights of a place are those of the pixels around it.
  const weight = (place: number) => {
    const x = (place + 0.5) / 4 - 0.5;
    const total = Array.from({ length: 16 }, (_, i) => filter(x - i)).reduce((sum, each) => sum + each, 0);
    return filter(x - 8) / total;
  };
  const large = enlarge(dot, 4);
  for (let column = 20; column < 50; column++) {
    const expected = Math.min(255, Math.max(0, 255 * weight(column) * weight(34)));
    const found = large.data[4 * (34 * 64 + column)]!; // rounded
    expect(Math.abs(found - expected), `column ${column}`).toBeLessThanOrEqual(0.51);
  }
});

test("black and white are 0 decibels apart", () => {
  const flat = (value: number) => ({ width: 1, height: 1, data: Uint8ClampedArray.of(value, value, value, 255) });
  expect(difference(flat(0), flat(255)).decibels).toBeCloseTo(0, 10);
});

test("an undone transform gives back the picture, where it was not cut off", () => {
  const shift = 0.125;
  const still = waves(64);
  const moved = waves(64, shift);
  const undone = undoTransform(moved, transformMatrix({ rotate: 0, x: shift, y: 0 }));
  expect(undone.data[4 * (32 * 64 + 60) + 3]).toBe(0); // the right end was moved out of the picture
  const { decibels } = difference(undone, still);
  expect(decibels).toBeGreaterThan(45); // 8 bits
  expect(
    difference(undoTransform(moved, transformMatrix({ rotate: 0, x: -shift, y: 0 })), still).decibels,
  ).toBeLessThan(15);
  expect(difference(still, still).decibels).toBe(Infinity);
});

test("a transform is in units of the width of pictures that are not square", () => {
  // Of a picture 64 wide and 32 high, moved down by a quarter of its width: half of its height.
  const [wide, moved] = [0, 1].map(() => ({
    width: 64,
    height: 32,
    data: new Uint8ClampedArray(64 * 32 * 4).fill(255),
  }));
  wide!.data.set([255, 0, 0, 255], 4 * (5 * 64 + 40));
  moved!.data.set([255, 0, 0, 255], 4 * ((5 + 16) * 64 + 40));
  const undone = undoTransform(moved!, transformMatrix({ rotate: 0, x: 0, y: 0.25 }));
  expect(undone.data[4 * (16 * 64) + 3]).toBe(0); // the lower half was moved out of the picture
  expect(difference(undone, wide!).decibels).toBe(Infinity);
  // A quarter turn about the middle: one above it comes from the right.
  const turned = { width: 64, height: 32, data: new Uint8ClampedArray(64 * 32 * 4).fill(255) };
  turned.data.set([255, 0, 0, 255], 4 * (16 * 64 + 42)); // x 10.5 right, y 0.5 down
  const back = undoTransform(turned, transformMatrix({ rotate: 90, x: 0, y: 0 }));
  expect([...back.data.subarray(4 * (5 * 64 + 32), 4 * (5 * 64 + 32) + 4)]).toEqual([255, 0, 0, 255]);
});

test("a turned picture is turned back", () => {
  const side = 64;
  const [still, turned] = [waves(side), waves(side)];
  for (let i = 0; i < side * side; i++) {
    // A quarter clockwise: the top row becomes the right column.
    const [row, column] = [Math.floor(i / side), i % side];
    turned.data.set(
      still.data.subarray(4 * ((side - 1 - column) * side + row), 4 * ((side - 1 - column) * side + row) + 4),
      4 * i,
    );
  }
  const back = undoTransform(turned, transformMatrix({ rotate: 90, x: 0, y: 0 }));
  expect(difference(back, waves(side)).decibels).toBeGreaterThan(60);
});
