/** Text in PNG files, in iTXt chunks as sg3tf.images.save_png writes it. */

import { concatenate, crc32 } from "./zip";

const HEADER_BYTES = 8 + 25; // signature and IHDR

/** Return the PNG file with `text`, keyword by keyword, after its header. */
export function withText(png: Uint8Array, text: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  const chunks = Object.entries(text).map(([key, value]) => textChunk(key, value));
  return concatenate([png.subarray(0, HEADER_BYTES), ...chunks, png.subarray(HEADER_BYTES)]);
}

function textChunk(key: string, value: string): Uint8Array {
  const encode = (part: string) => new TextEncoder().encode(part);
  const body = concatenate([encode("iTXt"), encode(key), Uint8Array.of(0, 0, 0, 0, 0), encode(value)]);
  const chunk = new Uint8Array(body.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4);
  chunk.set(body, 4);
  view.setUint32(4 + body.length, crc32(body));
  return chunk;
}

/** Write a number as Python does: 1.0 rather than 1. */
export function pythonNumber(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
