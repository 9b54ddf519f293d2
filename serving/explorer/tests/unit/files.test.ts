import { expect, test } from "vitest";

import { readNpz, writeNpz } from "../../src/npz";
import { pythonNumber, withText } from "../../src/png";
import { transformMatrix } from "../../src/latents";
import { crc32, readZip, writeZip } from "../../src/zip";
import { f32, reference, referenceFile } from "./reference";

test("latents are written in the very bytes of sg3tf.generate.latents_file.save", async () => {
  const file = referenceFile("latents.npz");
  const arrays = await readNpz(file);
  const ws = arrays.get("ws")!;
  expect(ws.shape).toEqual([2, 5, 4]);
  expect(ws.data.slice(0, 20)).toEqual(f32(reference.a));
  expect([...arrays.keys()]).toEqual(["ws", "transform", "seeds", "psi"]);
  const numbers = (name: string) => arrays.get(name)!.data as Float32Array;
  const own = writeNpz({
    ws: { dtype: "<f4", shape: [2, 5, 4], data: numbers("ws") },
    transform: { dtype: "<f4", shape: [2, 3, 3], data: numbers("transform") },
    seeds: { dtype: "<i8", shape: [2], data: [5, 2 ** 32 - 1] },
    psi: { dtype: "<f4", shape: [2], data: f32([0.7, 1]) },
  });
  expect(Buffer.from(own).equals(Buffer.from(file))).toBe(true);
});

test("headers are as long as NumPy's for any shape", () => {
  for (const [shape, size] of reference.headers) {
    expect(writeNpz({ a: { dtype: "<f4", shape, data: [] } }).length, shape).toBe(size);
  }
});

test("compressed files, other types and orders are read", async () => {
  const arrays = await readNpz(referenceFile("other.npz"));
  expect(f32([...(arrays.get("f")!.data as Float64Array)])).toEqual(f32(reference.a)); // Fortran order, big-endian
  expect(arrays.get("f")!.shape).toEqual([5, 4]);
  reference.a.slice(0, 4).forEach((value: number, i: number) => {
    expect(Math.abs((arrays.get("h")!.data[i] as number) - value)).toBeLessThan(Math.abs(value) * 2 ** -10); // float16
  });
  expect(arrays.get("i")).toEqual({ kind: "numbers", shape: [1, 1], data: Float64Array.of(-3) });
});

test("damaged and foreign files are refused in words", async () => {
  const file = referenceFile("latents.npz");
  const damaged = file.slice();
  damaged[200]! ^= 1;
  await expect(readNpz(damaged)).rejects.toThrow("ws.npy is damaged");
  await expect(readNpz(file.slice(0, 500))).rejects.toThrow("not a zip archive");
  await expect(readNpz(new Uint8Array(0))).rejects.toThrow("not a zip archive");
  const text = new TextEncoder().encode("hello, this is no array");
  await expect(readNpz(writeZip([{ name: "a.npy", data: text }]))).rejects.toThrow("a.npy is not a NumPy array");
  const objects = new TextEncoder().encode(
    "\x93NUMPY\x01\x00\x3c\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
  );
  const header = Uint8Array.from([0x93, ...objects.subarray(2)]);
  await expect(readNpz(writeZip([{ name: "a.npy", data: header }]))).rejects.toThrow("contains objects");
});

test("zip archives of several files", async () => {
  const entries = [
    { name: "a", data: Uint8Array.of(1, 2) },
    { name: "ü", data: new Uint8Array(70000) },
  ];
  expect(await readZip(writeZip(entries))).toEqual(entries);
  expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926); // the check value of the CRC-32
});

test("text in PNG files stands behind the header, with its checksum", () => {
  const png = new Uint8Array(33 + 5).fill(7);
  const marked = withText(png, { seed: "5", label: "ü" });
  const text = new TextDecoder("latin1").decode(marked);
  expect(text.slice(37, 41)).toBe("iTXt");
  expect(new TextDecoder().decode(marked)).toContain("label\0\0\0\0\0ü");
  const length = new DataView(marked.buffer).getUint32(33);
  const sum = new DataView(marked.buffer).getUint32(33 + 8 + length);
  expect(sum).toBe(crc32(marked.subarray(37, 41 + length)));
  expect([...marked.subarray(-5)]).toEqual([7, 7, 7, 7, 7]);
  expect([1, 0.25, -0].map(pythonNumber)).toEqual(["1.0", "0.25", "0.0"]);
  expect([...transformMatrix({ rotate: 0, x: 0.5, y: 0 })]).toEqual([1, 0, -0.5, 0, 1, 0, 0, 0, 1]);
});
