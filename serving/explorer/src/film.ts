/** A path through keyframes: its frames, one by one or in an archive. */

import type { Generator } from "./generator";
import { pathWeights, slerp, stepAt, transformMatrix, truncate, unwrap, weightedSum, type Direction } from "./latents";
import { isUnsteered, transformOf, type Point } from "./point";
import { latentFromSeed } from "./random";
import type { Path } from "./store";
import { writeZip } from "./zip";

const MOST_BYTES = 256 * 2 ** 20; // limit for cached frames
const BYTES_PER_PIXEL = 2; // of a PNG file, roughly

/** Return the number of frames, as sg3tf.generate.trajectory.times counts them. */
export function frameCount(keyframes: number, { frames, loop }: Path): number {
  return keyframes === 0 ? 0 : (loop ? keyframes : Math.max(keyframes - 1, 1)) * frames + (loop ? 0 : 1);
}

/** Keyframes: style vectors, and motion in degrees and image widths without a loop's turn, in degrees per keyframe. */
interface Keys {
  readonly ws: Float32Array[];
  readonly motion: number[][];
  readonly turn: number;
}

/** Frames of a path; each is requested once, as long as the cache has room. */
export class Film {
  readonly count: number;
  private readonly most: number;
  private readonly files = new Map<number, Promise<Uint8Array<ArrayBuffer>>>();
  private keys: Promise<Keys> | null = null;

  constructor(
    readonly generator: Generator,
    private readonly keyframes: readonly Point[],
    private readonly directions: readonly Direction[],
    readonly path: Path,
  ) {
    this.count = frameCount(keyframes.length, path);
    this.most = Math.max(
      16,
      Math.floor(MOST_BYTES / (BYTES_PER_PIXEL * generator.facts.width * generator.facts.height)),
    );
  }

  /** Return true if the frame is known or requested. */
  has(number: number): boolean {
    return this.files.has(number);
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
    const { ws, motion, turn } = await this.keys;
    const { curve, loop, frames } = this.path;
    const weights = pathWeights(ws.length, number / frames, curve, loop);
    const [rotate, x, y] = [0, 1, 2].map((part) => motion.reduce((sum, each, k) => sum + weights[k]! * each[part]!, 0));
    const transform = transformMatrix({ rotate: rotate! + (turn * number) / frames, x: x!, y: y! });
    const styles = curve === "slerp" ? await this.onArc(number / frames) : weightedSum(ws, weights);
    return (await this.generator.synthesize([styles], [transform]))[0]!;
  }

  /** Return style vectors on the arc between the latents z of two seeds. */
  private async onArc(t: number): Promise<Float32Array> {
    const { before, after, part } = stepAt(this.keyframes.length, t, this.path.loop);
    const [a, b] = [this.keyframes[before]!, this.keyframes[after]!];
    const between = (from: number, to: number) => (1 - part) * from + part * to;
    const label = a.label && b.label ? a.label.map((value, i) => between(value, b.label![i]!)) : a.label;
    const [ws] = await this.generator.map([slerp(this.latentOf(a), this.latentOf(b), part)], label);
    return truncate(ws!, await this.generator.average(), between(a.psi, b.psi), a.cutoff);
  }

  private latentOf(point: Point): Float32Array {
    if (point.source.kind === "seed" && isUnsteered(point)) {
      return latentFromSeed(point.source.seed, this.generator.facts.zDim);
    }
    throw new Error(
      "Arcs run through the latents z of seeds; a keyframe is edited or from a file: choose another curve.",
    );
  }

  private async prepare(): Promise<Keys> {
    const ws = await Promise.all(this.keyframes.map((point) => this.generator.wsOf(point, this.directions)));
    const motion = this.keyframes.map((point) => motionOf(transformOf(point)));
    const own = motion.map(([rotate]) => rotate!);
    const degrees = unwrap(this.path.loop ? [...own, own[0]!] : own);
    // A closed curve ends at its initial angle: full turns are taken out, and added back evenly.
    const turn = (Math.round((degrees.at(-1)! - degrees[0]!) / 360) * 360 * Number(this.path.loop)) / motion.length;
    return { ws, motion: motion.map(([, x, y], i) => [degrees[i]! - turn * i, x!, y!]), turn };
  }
}

/** Return the motion, in degrees and image widths, whose inverse is the transform. */
function motionOf(transform: Float32Array): number[] {
  const [a, b, c, d, e, f] = transform as unknown as number[] as [number, number, number, number, number, number];
  const scale = 1 / (a * e - b * d);
  const degrees = (Math.atan2(-d * scale, e * scale) * 180) / Math.PI;
  return [degrees, (b * f - c * e) * scale, (c * d - a * f) * scale];
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
