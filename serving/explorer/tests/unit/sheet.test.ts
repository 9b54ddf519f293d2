import { expect, test } from "vitest";

import { nextSize } from "../../src/ui/sheet";

test("a sheet asks for as many pictures at a time as take five seconds, up to six", () => {
  expect(nextSize(1, 20)).toBe(6);
  expect(nextSize(1, 2400)).toBe(2);
  expect(nextSize(2, 4800)).toBe(2);
  expect(nextSize(6, 12000)).toBe(2);
  expect(nextSize(1, 50000)).toBe(1);
  expect(nextSize(1, 0)).toBe(6);
});
