import { expect, test } from "vitest";

import { Preview } from "../../src/preview";

test("previews only where they are faster", () => {
  const scales = (side: number, whole: number, reduced?: number) => {
    const preview = new Preview(side);
    preview.note(1, whole);
    if (reduced !== undefined) preview.note(2, reduced);
    return preview.scale();
  };
  expect(new Preview(1024).scale()).toBe(1); // nothing was measured yet
  expect(scales(1024, 100)).toBe(1); // fast
  expect(scales(1024, 400)).toBe(8); // slow: tried once
  expect(scales(1024, 400, 200)).toBe(8);
  expect(scales(1024, 400, 380)).toBe(1); // the synthesis itself is slow
  expect(scales(128, 400)).toBe(1); // small already
});
