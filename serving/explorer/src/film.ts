/** A path through keyframes: its frames, and films of them. */

import { decode, enlarge, type Pixels } from "./image";
import type { Generator } from "./generator";
import { pathWeights, transformMatrix, unwrap, weightedSum, type Direction } from "./latents";
import { transformOf, type Point } from "./point";
import type { Path } from "./store";
import { writeWebm, type Frame } from "./webm";
import { writeZip } from "./zip";

const SMALLEST_SIDE = 256; // of a film
const MOST_BYTES = 256 * 2 ** 20; // of frames that are kept
const BYTES_PER_PIXEL = 2; // of a PNG file, about
const KEY_FRAME_EVERY = 60;
const CODECS = [
  ["vp09.00.10.08", "V_VP9"],
  ["vp8", "V_VP8"],
] as const;

/** Return the number of frames, as sg3tf.generate.trajectory.times counts them. */
export function frameCount(keyframes: number, { frames, loop }: Path): number {
  return keyframes === 0 ? 0 : (loop ? keyframes : Math.max(keyframes - 1, 1)) * frames + (loop ? 0 : 1);
}

/** Frames of a path, each asked for once while there is room for them. */
export class Film {
  readonly count: number;
  private readonly most: number;
  private readonly files = new Map<number, Promise<Uint8Array<ArrayBuffer>>>();
  private keys: Promise<{ ws: Float32Array[]; motion: number[][] }> | null = null;

  constructor(
    private readonly generator: Generator,
    private readonly keyframes: readonly Point[],
    private readonly directions: readonly Direction[],
    readonly path: Path,
  ) {
    this.count = frameCount(keyframes.length, path);
    this.most = Math.max(16, Math.floor(MOST_BYTES / (BYTES_PER_PIXEL * generator.facts.resolution ** 2)));
  }

  /** Return the PNG file of a frame. */
  frame(number: number): Promise<Uint8Array<ArrayBuffer>> {
    const known = this.files.get(number);
    if (known) return known;
    const made = this.make(number);
    this.files.set(number, made);
    if (this.files.size > this.most) this.files.delete(this.files.keys().next().value!);
    made.catch(() => this.files.delete(number));
    return made;
  }

  private async make(number: number): Promise<Uint8Array<ArrayBuffer>> {
    this.keys ??= this.prepare();
    this.keys.catch(() => (this.keys = null));
    const { ws, motion } = await this.keys;
    const { curve, loop, frames } = this.path;
    const weights = pathWeights(ws.length, number / frames, curve, loop);
    const [rotate, x, y] = [0, 1, 2].map((part) => motion.reduce((sum, each, k) => sum + weights[k]! * each[part]!, 0));
    const transform = transformMatrix({ rotate: rotate!, x: x!, y: y! });
    return (await this.generator.synthesize([weightedSum(ws, weights)], [transform]))[0]!;
  }

  private async prepare(): Promise<{ ws: Float32Array[]; motion: number[][] }> {
    const ws = await Promise.all(this.keyframes.map((point) => this.generator.wsOf(point, this.directions)));
    const motion = this.keyframes.map((point) => motionOf(transformOf(point)));
    const degrees = unwrap(motion.map(([rotate]) => rotate!));
    return { ws, motion: motion.map(([, x, y], i) => [degrees[i]!, x!, y!]) };
  }
}

/** Return degrees and widths of the motion whose inverse is a transform. */
function motionOf(transform: Float32Array): number[] {
  const [a, b, c, d, e, f] = transform as unknown as number[] as [number, number, number, number, number, number];
  const scale = 1 / (a * e - b * d);
  const degrees = (Math.atan2(-d * scale, e * scale) * 180) / Math.PI;
  return [degrees, (b * f - c * e) * scale, (c * d - a * f) * scale];
}

/** Return the codec of this browser's encoder, with its name in WebM; null if it has none. */
export async function findCodec(side: number): Promise<readonly [string, string] | null> {
  if (!("VideoEncoder" in globalThis)) return null;
  for (const codec of CODECS) {
    const support = await VideoEncoder.isConfigSupported({ codec: codec[0], width: side, height: side });
    if (support.supported) return codec;
  }
  return null;
}

/** Encode a film as WebM; Error where the browser has no encoder. */
export async function encodeWebm(
  film: Film,
  resolution: number,
  progress: (part: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const factor = Math.max(1, Math.ceil(SMALLEST_SIDE / resolution));
  const side = resolution * factor;
  const codec = await findCodec(side);
  if (!codec) throw new Error("This browser has no encoder for WebM on this page: save PNG frames instead.");
  const frames: Frame[] = [];
  let failure: unknown = null;
  const encoder = new VideoEncoder({
    output(chunk) {
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      frames.push({ time: chunk.timestamp / 1000, isKey: chunk.type === "key", data });
    },
    error: (error) => (failure = error),
  });
  const { fps } = film.path;
  encoder.configure({
    codec: codec[0],
    width: side,
    height: side,
    bitrate: Math.max(1e6, side * side * fps * 0.3),
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
  } finally {
    if (encoder.state !== "closed") encoder.close();
  }
  return writeWebm(codec[1], side, side, frames, (film.count * 1000) / fps);
}

/** Put the PNG frames of a film into a zip archive. */
export async function zipFrames(film: Film, progress: (part: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const entries = [];
  for (let i = 0; i < film.count; i++) {
    entries.push({ name: `${String(i).padStart(6, "0")}.png`, data: await film.frame(i) });
    progress((i + 1) / film.count);
  }
  return writeZip(entries);
}

function toCanvas({ width, height, data }: Pixels): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}
