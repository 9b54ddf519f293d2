/** WebM files with one video track (a subset of Matroska): https://www.matroska.org/technical/elements.html */

import { concatenate } from "./zip";

export interface Frame {
  /** milliseconds from the start */
  readonly time: number;
  readonly isKey: boolean;
  readonly data: Uint8Array;
}

const CLUSTER_MS = 5000; // times in a cluster are 16-bit numbers

/**
 * Return a file with these frames.
 *
 * @param codec Matroska's name, such as V_VP9
 * @param duration milliseconds
 */
export function writeWebm(
  codec: string,
  width: number,
  height: number,
  frames: readonly Frame[],
  duration: number,
): Uint8Array<ArrayBuffer> {
  const header = element(0x1a45dfa3, [
    number(0x4286, 1),
    number(0x42f7, 1),
    number(0x42f2, 4),
    number(0x42f3, 8),
    text(0x4282, "webm"),
    number(0x4287, 4),
    number(0x4285, 2),
  ]);
  const info = element(0x1549a966, [
    number(0x2ad7b1, 1_000_000),
    float(0x4489, duration),
    text(0x4d80, "sg3tf explorer"),
    text(0x5741, "sg3tf explorer"),
  ]);
  const video = element(0xe0, [number(0xb0, width), number(0xba, height)]);
  const track = element(0xae, [
    number(0xd7, 1),
    number(0x73c5, 1),
    number(0x83, 1),
    number(0x9c, 0),
    text(0x86, codec),
    video,
  ]);
  const clusters: Uint8Array[] = [];
  for (let i = 0; i < frames.length;) {
    const start = Math.round(frames[i]!.time);
    const parts = [number(0xe7, start)];
    // A cluster starts with a key frame if possible, so that players can seek to it.
    for (let first = true; i < frames.length; first = false, i++) {
      const elapsed = Math.round(frames[i]!.time) - start;
      if (!first && (elapsed >= 30000 || (elapsed >= CLUSTER_MS && frames[i]!.isKey))) break;
      parts.push(block(frames[i]!, elapsed));
    }
    clusters.push(element(0x1f43b675, parts));
  }
  return concatenate([header, element(0x18538067, [info, element(0x1654ae6b, [track]), ...clusters])]);
}

function block(frame: Frame, elapsed: number): Uint8Array {
  const head = Uint8Array.of(0x81, elapsed >> 8, elapsed & 255, frame.isKey ? 0x80 : 0);
  return element(0xa3, [head, frame.data]);
}

function element(id: number, parts: readonly Uint8Array[]): Uint8Array {
  const content = concatenate(parts);
  const size = new Uint8Array(8);
  const view = new DataView(size.buffer);
  view.setBigUint64(0, BigInt(content.length));
  size[0] = 0x01; // sizes take eight bytes
  return concatenate([bigEndian(id), size, content]);
}

function number(id: number, value: number): Uint8Array {
  return element(id, [bigEndian(value)]);
}

function float(id: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value);
  return element(id, [bytes]);
}

function text(id: number, value: string): Uint8Array {
  return element(id, [new TextEncoder().encode(value)]);
}

function bigEndian(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Uint8Array.from(bytes);
}
