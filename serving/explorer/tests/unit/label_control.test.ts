import { expect, test } from "vitest";

import { originalScale } from "../../src/ui/label_control";

test("sliders of standardized labels run over three deviations around the mean, in decimal steps", () => {
  expect(originalScale(40, 10)).toEqual({ min: 10, max: 70, step: 1, mean: 40, std: 10 });
  expect(originalScale(37.283, 9.417)).toMatchObject({ min: 9, max: 65.5, step: 0.1 });
  expect(originalScale(0.5, 0.002)).toMatchObject({ min: 0.494, max: 0.506, step: 0.0001 });
  expect(originalScale(-1e6, 2e5)).toMatchObject({ min: -1.6e6, max: -4e5, step: 10000 });
  expect(originalScale(5, 0)).toEqual({ min: 2, max: 8, step: 0.1, mean: 5, std: 1 }); // as --class reads it
});
