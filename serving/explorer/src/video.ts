/** Films as MP4 or WebM, encoded by the browser (WebCodecs). */

import { ArrayBufferTarget, Muxer } from "mp4-muxer";

import type { Film } from "./film";
import { decode, enlarge, type Pixels } from "./image";
import { writeWebm, type Frame } from "./webm";

export type Container = "mp4" | "webm";

interface Codec {
  /** in WebCodecs */
  readonly name: string;
  /** in the container */
  readonly track: string;
  /** for people */
  readonly title: string;
}

export interface Encoded extends Frame {
  /** decoder configuration; only with the first chunk, or if it changes */
  readonly meta: EncodedVideoChunkMetadata | undefined;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

const SMALLEST_SIDE = 256; // of a film; smaller pictures are enlarged
const KEY_FRAME_EVERY = 60;
const BITS_PER_PIXEL = 0.3;
const LEAST_BITS_PER_SECOND = 1e6;

// H.264 (high profile, levels 4.0 and 5.1) plays nearly everywhere. It needs even sides, see `sizeOf`.
const CODECS: Readonly<Record<Container, readonly Codec[]>> = {
  mp4: [
    { name: "avc1.640028", track: "avc", title: "H.264" },
    { name: "avc1.640033", track: "avc", title: "H.264" },
    { name: "av01.0.08M.08", track: "av1", title: "AV1" },
    { name: "vp09.00.41.08", track: "vp9", title: "VP9" },
  ],
  webm: [
    { name: "vp09.00.41.08", track: "V_VP9", title: "VP9" },
    { name: "vp8", track: "V_VP8", title: "VP8" },
  ],
};

/** Return a film's size for the given picture size; small pictures are enlarged by an even integer factor. */
export function sizeOf({ width, height }: Size): Size & { readonly factor: number } {
  const least = Math.ceil(SMALLEST_SIDE / Math.min(width, height));
  const factor = least === 1 ? 1 : least + (least % 2);
  return { width: width * factor, height: height * factor, factor };
}

/** Return the first codec that this browser can encode at this size; null if there is none. */
export async function findCodec(container: Container, { width, height }: Size): Promise<Codec | null> {
  if (!("VideoEncoder" in globalThis)) return null;
  for (const codec of CODECS[container]) {
    const support = await VideoEncoder.isConfigSupported({ codec: codec.name, width, height });
    if (support.supported) return codec;
  }
  return null;
}

/** Encode a film; throws an Error if the browser has no encoder. */
export async function encodeFilm(
  film: Film,
  container: Container,
  picture: Size,
  progress: (part: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const size = sizeOf(picture);
  const codec = await findCodec(container, size);
  if (!codec) throw new Error(`This browser has no encoder for ${container} on this page: save PNG frames instead.`);
  const frames = await encode(film, codec, size, progress);
  const { fps } = film.path;
  if (container === "mp4") return writeMp4(codec.track, size, frames, fps);
  return writeWebm(codec.track, size.width, size.height, frames, (film.count * 1000) / fps);
}

async function encode(
  film: Film,
  codec: Codec,
  { width, height, factor }: ReturnType<typeof sizeOf>,
  progress: (part: number) => void,
): Promise<Encoded[]> {
  const frames: Encoded[] = [];
  let failure: unknown = null;
  const encoder = new VideoEncoder({
    output(chunk, meta) {
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      frames.push({ time: chunk.timestamp / 1000, isKey: chunk.type === "key", data, meta });
    },
    error: (error) => (failure = error),
  });
  const { fps } = film.path;
  encoder.configure({
    codec: codec.name,
    width,
    height,
    bitrate: Math.max(LEAST_BITS_PER_SECOND, width * height * fps * BITS_PER_PIXEL),
    framerate: fps,
  });
  try {
    for (let i = 0; i < film.count; i++) {
      const picture = enlarge(await decode(await film.frame(i)), factor);
      if (failure) throw failure;
      const frame = new VideoFrame(toCanvas(picture), { timestamp: (i * 1e6) / fps, duration: 1e6 / fps });
      encoder.encode(frame, { keyFrame: i % KEY_FRAME_EVERY === 0 });
      frame.close();
      progress((i + 1) / film.count);
    }
    await encoder.flush();
    if (failure) throw failure;
  } finally {
    if (encoder.state !== "closed") encoder.close();
  }
  return frames;
}

/** Return an MP4 file with its index at the start, so that it plays while loading. */
export function writeMp4(
  track: string,
  { width, height }: Size,
  frames: readonly Encoded[],
  fps: number,
): Uint8Array<ArrayBuffer> {
  const target = new ArrayBufferTarget();
  const video = { codec: track as "avc" | "av1" | "vp9", width, height };
  const muxer = new Muxer({ target, video, fastStart: "in-memory" });
  for (const { data, isKey, time, meta } of frames) {
    muxer.addVideoChunkRaw(data, isKey ? "key" : "delta", time * 1000, 1e6 / fps, meta);
  }
  muxer.finalize();
  return new Uint8Array(target.buffer);
}

function toCanvas({ width, height, data }: Pixels): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}
