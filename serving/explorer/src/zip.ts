/** ZIP archives: written without compression, byte for byte like numpy.savez, which uses Python's zipfile. */

export interface Entry {
  readonly name: string;
  readonly data: Uint8Array;
}

const DATE_1980 = 0x21; // zipfile's default date, 1980-01-01
const MOST_BYTES = 2 ** 31;

/** Return an archive with these files. */
export function writeZip(entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const { name, data } of entries) {
    const encoded = new TextEncoder().encode(name);
    const sum = crc32(data);
    // zipfile reserves 64-bit sizes for files of unknown length.
    const local = new Fields(30 + encoded.length + 20)
      .u32(0x04034b50)
      .u16(45)
      .u16(0)
      .u16(0)
      .u16(0)
      .u16(DATE_1980)
      .u32(sum)
      .u32(0xffffffff)
      .u32(0xffffffff)
      .u16(encoded.length)
      .u16(20)
      .bytes(encoded)
      .u16(1)
      .u16(16)
      .u64(data.length)
      .u64(data.length);
    const central = new Fields(46 + encoded.length)
      .u32(0x02014b50)
      .u16(0x032d)
      .u16(45)
      .u16(0)
      .u16(0)
      .u16(0)
      .u16(DATE_1980)
      .u32(sum)
      .u32(data.length)
      .u32(data.length)
      .u16(encoded.length)
      .u16(0)
      .u16(0)
      .u16(0)
      .u16(0)
      .u32(0o600 * 0x10000)
      .u32(offset)
      .bytes(encoded);
    parts.push(local.content, data);
    directory.push(central.content);
    offset += local.content.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new Fields(22)
    .u32(0x06054b50)
    .u16(0)
    .u16(0)
    .u16(entries.length)
    .u16(entries.length)
    .u32(size)
    .u32(offset)
    .u16(0);
  return concatenate([...parts, ...directory, end.content]);
}

/** Read the files of an archive; throws an Error if it is damaged, too large, or not compressed by deflate. */
export async function readZip(archive: Uint8Array<ArrayBuffer>): Promise<Entry[]> {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  const end = findEnd(view);
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    if (at + 46 > view.byteLength || view.getUint32(at, true) !== 0x02014b50)
      throw new Error("its table of contents is damaged");
    const method = view.getUint16(at + 10, true);
    const sum = view.getUint32(at + 16, true);
    const packed = view.getUint32(at + 20, true);
    const size = view.getUint32(at + 24, true);
    const nameLength = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(archive.subarray(at + 46, at + 46 + nameLength));
    const local = view.getUint32(at + 42, true);
    if (size > MOST_BYTES || local + 30 > view.byteLength) throw new Error(`${name} is too large or damaged`);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const content = archive.subarray(start, start + packed);
    const data = method === 0 ? content : await inflate(content, method, size, name);
    if (data.length !== size || crc32(data) !== sum) throw new Error(`${name} is damaged`);
    entries.push({ name, data });
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return entries;
}

function findEnd(view: DataView): number {
  for (let at = view.byteLength - 22; at >= Math.max(0, view.byteLength - 66000); at--) {
    if (view.getUint32(at, true) === 0x06054b50) return at;
  }
  throw new Error("it is not a zip archive");
}

async function inflate(
  content: Uint8Array<ArrayBuffer>,
  method: number,
  size: number,
  name: string,
): Promise<Uint8Array> {
  if (method !== 8) throw new Error(`${name} is compressed by method ${method}`);
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const result = new Uint8Array(size);
  let filled = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return result.subarray(0, filled);
    if (filled + value.length > size) throw new Error(`${name} is larger than it says`);
    result.set(value, filled);
    filled += value.length;
  }
}

/** Little-endian fields in a buffer of known size. */
class Fields {
  readonly content: Uint8Array;
  private readonly view: DataView;
  private at = 0;

  constructor(size: number) {
    this.content = new Uint8Array(size);
    this.view = new DataView(this.content.buffer);
  }

  u16(value: number): this {
    this.view.setUint16(this.at, value, true);
    this.at += 2;
    return this;
  }

  u32(value: number): this {
    this.view.setUint32(this.at, value, true);
    this.at += 4;
    return this;
  }

  u64(value: number): this {
    this.view.setBigUint64(this.at, BigInt(value), true);
    this.at += 8;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.content.set(value, this.at);
    this.at += value.length;
    return this;
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** Return the CRC-32 of zip and PNG files. */
export function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i++) value = CRC_TABLE[(value ^ data[i]!) & 255]! ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Join byte arrays. */
export function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
