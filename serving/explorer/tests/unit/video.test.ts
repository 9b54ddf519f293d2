import { expect, test } from "vitest";

import { sizeOf, writeMp4, type Encoded } from "../../src/video";
import { writeWebm } from "../../src/webm";

test("films of small pictures are enlarged to even sides", () => {
  expect(sizeOf({ width: 32, height: 32 })).toEqual({ width: 256, height: 256, factor: 8 });
  expect(sizeOf({ width: 64, height: 32 })).toEqual({ width: 512, height: 256, factor: 8 });
  expect(sizeOf({ width: 19, height: 17 })).toEqual({ width: 304, height: 272, factor: 16 });
  expect(sizeOf({ width: 12, height: 9 })).toEqual({ width: 360, height: 270, factor: 30 });
  expect(sizeOf({ width: 150, height: 200 })).toEqual({ width: 300, height: 400, factor: 2 });
  expect(sizeOf({ width: 1024, height: 576 })).toEqual({ width: 1024, height: 576, factor: 1 });
});

test("MP4: the index stands in front, and has the size and the times of all frames", () => {
  const decoderConfig = { codec: "avc1.640028", codedWidth: 512, codedHeight: 256, description: Uint8Array.of(7) };
  const frames = [0, 50, 100].map((time, i): Encoded => ({
    time,
    isKey: !i,
    data: Uint8Array.of(i, i + 1),
    meta: i ? undefined : { decoderConfig },
  }));
  const file = Buffer.from(writeMp4("avc", { width: 512, height: 256 }, frames, 20));
  const boxes: string[] = [];
  for (let at = 0; at < file.length; at += file.readUInt32BE(at)) boxes.push(file.toString("latin1", at + 4, at + 8));
  expect(boxes).toEqual(["ftyp", "moov", "mdat"]);
  const place = (box: string) => file.indexOf(box, 0, "latin1") + 4; // of its content
  expect(file.readUInt32BE(place("tkhd") + 76) / 65536).toBe(512);
  expect(file.readUInt32BE(place("tkhd") + 80) / 65536).toBe(256);
  const [scale, duration] = [file.readUInt32BE(place("mdhd") + 12), file.readUInt32BE(place("mdhd") + 16)];
  expect(duration / scale).toBeCloseTo(0.15, 3); // seconds
  // Sizes that differ (0), three of them.
  expect([4, 8, 12, 16, 20].map((at) => file.readUInt32BE(place("stsz") + at))).toEqual([0, 3, 2, 2, 2]);
  const start = file.readUInt32BE(place("stco") + 8);
  expect([...file.subarray(start, start + 6)]).toEqual([0, 1, 1, 2, 2, 3]);
});

test("WebM: elements lie within each other with their sizes, and blocks have their times", () => {
  const frames = [0, 100, 6000, 40000].map((time, i) => ({ time, isKey: i % 2 === 0, data: Uint8Array.of(i) }));
  const file = writeWebm("V_VP9", 256, 128, frames, 40100);
  const found = parse(file, 0, file.length, "");
  expect(found.filter(([path]) => path.endsWith("1f43b675")).length).toBe(3); // a cluster begins at a key frame
  const blocks = found.filter(([path]) => path.endsWith("/a3")).map(([, content]) => content);
  expect(blocks.map((block) => block[block.length - 1])).toEqual([0, 1, 2, 3]);
  expect(blocks.map((block) => block[3])).toEqual([0x80, 0, 0x80, 0]);
  expect(blocks.map((block) => (block[1]! << 8) | block[2]!)).toEqual([0, 100, 0, 0]);
  const value = (id: string) =>
    found.find(([path]) => path.endsWith(`/${id}`))![1].reduce((sum, byte) => 256 * sum + byte, 0);
  expect([value("b0"), value("ba"), value("2ad7b1")]).toEqual([256, 128, 1_000_000]);
});

/** Read EBML: ids with their length in the first bits, sizes of eight bytes. */
function parse(file: Uint8Array, start: number, end: number, path: string): [string, Uint8Array][] {
  const found: [string, Uint8Array][] = [];
  const containers = ["18538067", "1549a966", "1654ae6b", "ae", "e0", "1f43b675"];
  for (let at = start; at < end;) {
    const length = Math.clz32(file[at]!) - 23;
    const id = Buffer.from(file.subarray(at, at + length)).toString("hex");
    const size = Number(Buffer.from(file.subarray(at + length, at + length + 8)).readBigUInt64BE() & 0xffffffffffffffn);
    const from = at + length + 8;
    expect(file[at + length]).toBe(1); // a size of eight bytes
    found.push([`${path}/${id}`, file.subarray(from, from + size)]);
    if (containers.includes(id)) found.push(...parse(file, from, from + size, `${path}/${id}`));
    at = from + size;
    expect(at).toBeLessThanOrEqual(end);
  }
  return found;
}
