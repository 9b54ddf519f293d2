/** NumPy's .npz files: numbers and texts, C or Fortran order, any byte order. Objects (pickles) are rejected. */

import { concatenate, readZip, writeZip } from "./zip";

export interface NumberArray {
  readonly kind: "numbers";
  readonly shape: readonly number[];
  readonly data: Float64Array | Float32Array;
}

export interface TextArray {
  readonly kind: "texts";
  readonly shape: readonly number[];
  readonly data: readonly string[];
}

export type NpArray = NumberArray | TextArray;

/** Arrays to write: float32 or int64 (as whole numbers). */
export interface Output {
  readonly dtype: "<f4" | "<i8";
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** Return the bytes that numpy.savez writes for these arrays. */
export function writeNpz(arrays: Readonly<Record<string, Output>>): Uint8Array<ArrayBuffer> {
  return writeZip(Object.entries(arrays).map(([name, array]) => ({ name: `${name}.npy`, data: writeNpy(array) })));
}

/** Read the arrays of an .npz file by name. */
export async function readNpz(file: Uint8Array<ArrayBuffer>): Promise<Map<string, NpArray>> {
  const entries = await readZip(file);
  return new Map(entries.map(({ name, data }) => [name.replace(/\.npy$/, ""), readNpy(name, data)]));
}

function writeNpy({ dtype, shape, data }: Output): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  let header = `{'descr': '${dtype}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // NumPy leaves room for the first size to grow to 21 digits, then pads to a multiple of 64 bytes.
  header += " ".repeat(21 - String(shape[0] ?? "").length);
  header = header.padEnd(header.length + ((64 - ((10 + header.length + 1) % 64)) % 64)) + "\n";
  const head = new Uint8Array(10 + header.length);
  head.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  head.set(new TextEncoder().encode(header), 10);
  const body = new DataView(new ArrayBuffer(data.length * (dtype === "<f4" ? 4 : 8)));
  for (let i = 0; i < data.length; i++) {
    if (dtype === "<f4") body.setFloat32(4 * i, data[i]!, true);
    else body.setBigInt64(8 * i, BigInt(data[i]!), true);
  }
  return concatenate([head, new Uint8Array(body.buffer)]);
}

const READERS: Record<string, (view: DataView, at: number, little: boolean) => number> = {
  f2: (view, at, little) => half(view.getUint16(at, little)),
  f4: (view, at, little) => view.getFloat32(at, little),
  f8: (view, at, little) => view.getFloat64(at, little),
  i1: (view, at) => view.getInt8(at),
  i2: (view, at, little) => view.getInt16(at, little),
  i4: (view, at, little) => view.getInt32(at, little),
  i8: (view, at, little) => Number(view.getBigInt64(at, little)),
  u1: (view, at) => view.getUint8(at),
  u2: (view, at, little) => view.getUint16(at, little),
  u4: (view, at, little) => view.getUint32(at, little),
  u8: (view, at, little) => Number(view.getBigUint64(at, little)),
  b1: (view, at) => view.getUint8(at),
};

function readNpy(name: string, bytes: Uint8Array): NpArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || new TextDecoder("latin1").decode(bytes.subarray(1, 6)) !== "NUMPY") {
    throw new Error(`${name} is not a NumPy array`);
  }
  const version = bytes[6]!;
  const start = version === 1 ? 10 : 12;
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const found =
    /'descr':\s*'([<>|=]?)([a-zA-Z])(\d+)'.*'fortran_order':\s*(True|False).*'shape':\s*\(([\d,\s]*)\)/.exec(header);
  if (!found) throw new Error(`${name} contains objects or records, which are not supported`);
  const [, order, letter, digits, fortran, sizes] = found as unknown as string[];
  const shape = sizes!
    .split(",")
    .filter((part) => part.trim())
    .map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  const body = new DataView(bytes.buffer, bytes.byteOffset + start + length, bytes.byteLength - start - length);
  const little = order !== ">";
  const size = Number(digits);
  const width = letter === "U" ? 4 * size : size;
  if (count * width !== body.byteLength)
    throw new Error(`${name} has a length that does not match its shape (${shape.join(", ")})`);
  const position = fortran === "True" ? fortranOrder(shape) : (index: number) => index;
  if (letter === "U") {
    const texts = Array.from({ length: count }, (_, i) => readText(body, position(i) * width, size, little));
    return { kind: "texts", shape, data: texts };
  }
  const read = READERS[`${letter}${size}`];
  if (!read) throw new Error(`${name} has the type ${letter}${size}; use numbers or texts`);
  const data = letter === "f" && size <= 4 ? new Float32Array(count) : new Float64Array(count);
  for (let i = 0; i < count; i++) data[i] = read(body, position(i) * width, little);
  return { kind: "numbers", shape, data };
}

function readText(view: DataView, at: number, size: number, little: boolean): string {
  let text = "";
  for (let i = 0; i < size; i++) {
    const code = view.getUint32(at + 4 * i, little);
    if (code && code <= 0x10ffff) text += String.fromCodePoint(code);
  }
  return text;
}

/** Return the function that converts an index in C order to Fortran order. */
function fortranOrder(shape: readonly number[]): (index: number) => number {
  return (index) => {
    let rest = index;
    const places = shape.map(() => 0);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      places[axis] = rest % shape[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return places.reduceRight((sum, place, axis) => sum * shape[axis]! + place, 0);
  };
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
