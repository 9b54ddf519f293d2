/** Values computed by Python: tests/serving/explorer/reference.py writes them, pytest passes the folder. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

const folder = process.env.EXPLORER_REFERENCE ?? "";

export const reference = JSON.parse(readFileSync(join(folder, "reference.json"), "utf8"));

export function referenceFile(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(folder, name)));
}

export function f32(values: readonly number[]): Float32Array {
  return Float32Array.from(values);
}
