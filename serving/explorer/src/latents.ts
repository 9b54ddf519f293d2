/**
 * Arithmetic on latents, as in sg3tf.latents and sg3tf.editing. Style vectors are float32 [num_ws, w_dim], row by row.
 * Results are rounded to float32 wherever NumPy rounds them.
 */

export interface Direction {
  readonly name: string;
  /** float32 [w_dim], of length 1 */
  readonly vector: Float32Array;
  /** standard deviation of w along it */
  readonly deviation: number;
  /** positions of the style vectors that it moves */
  readonly layers: readonly number[];
}

const f32 = Math.fround;

/** Move the first `cutoff` style vectors (null: all) toward the average one, float32 [w_dim]; psi 1 changes nothing. */
export function truncate(ws: Float32Array, average: Float32Array, psi: number, cutoff: number | null): Float32Array {
  const result = ws.slice();
  const exact = f32(psi);
  if (exact === 1) return result;
  const end = Math.min(cutoff ?? Infinity, ws.length / average.length) * average.length;
  for (let i = 0; i < end; i++) {
    const mean = average[i % average.length]!;
    result[i] = mean + f32(exact * f32(ws[i]! - mean));
  }
  return result;
}

/** Return `ws`, with the style vectors of `layers` from `other`. */
export function mix(ws: Float32Array, other: Float32Array, layers: readonly number[], wDim: number): Float32Array {
  const result = ws.slice();
  for (const layer of layers) {
    result.set(other.subarray(layer * wDim, (layer + 1) * wDim), layer * wDim);
  }
  return result;
}

/** Return a + u (b - a) + v (c - a): the point of the plane through three latents. */
export function inPlane(a: Float32Array, b: Float32Array, c: Float32Array, u: number, v: number): Float32Array {
  return a.map((value, i) => (1 - u - v) * value + u * b[i]! + v * c[i]!);
}

/** Interpolate spherically between latents z: constant angular speed, length interpolated linearly. */
export function slerp(a: Float32Array, b: Float32Array, t: number): Float32Array {
  const normA = norm(a);
  const normB = norm(b);
  let cosine = 0;
  for (let i = 0; i < a.length; i++) cosine += (a[i]! / normA) * (b[i]! / normB);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  const isParallel = sine < 1e-6; // the plane of the arc is not defined: interpolate along the chord
  const weightA = isParallel ? 1 - t : Math.sin((1 - t) * angle) / sine;
  const weightB = isParallel ? t : Math.sin(t * angle) / sine;
  const length = normA + t * (normB - normA);
  return a.map((value, i) => (weightA * (value / normA) + weightB * (b[i]! / normB)) * length);
}

function norm(a: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value) => sum + value * value, 0));
}

/** Move style vectors along a direction, by a strength in standard deviations. */
export function applyDirection(ws: Float32Array, direction: Direction, strength: number): Float32Array {
  const result = ws.slice();
  const { vector, layers } = direction;
  const step = f32(f32(strength) * f32(direction.deviation));
  for (const layer of layers) {
    for (let i = 0; i < vector.length; i++) {
      const at = layer * vector.length + i;
      result[at] = result[at]! + f32(step * vector[i]!);
    }
  }
  return result;
}

export interface Motion {
  /** degrees, clockwise */
  readonly rotate: number;
  /** image widths to the right */
  readonly x: number;
  /** image widths down */
  readonly y: number;
}

/** Return the `transform` that rotates the image and then translates it: the inverse motion, float32 [3, 3]. */
export function transformMatrix({ rotate, x, y }: Motion): Float32Array {
  const angle = (rotate * Math.PI) / 180;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  return Float32Array.of(cos, sin, 0 - (cos * x + sin * y), 0 - sin, cos, sin * x - cos * y, 0, 0, 1);
}

/** Return the product a b of two matrices [3, 3], rounded to float32. */
export function multiply(a: Float32Array, b: Float32Array): Float32Array {
  return Float32Array.from({ length: 9 }, (_, i) => {
    const row = 3 * Math.floor(i / 3);
    const column = i % 3;
    return a[row]! * b[column]! + a[row + 1]! * b[3 + column]! + a[row + 2]! * b[6 + column]!;
  });
}

export type Curve = "cubic" | "lerp" | "slerp";

/** Return the keyframes before and after time t of a path, and the fraction of the way between them. */
export function stepAt(count: number, t: number, loop: boolean): { before: number; after: number; part: number } {
  if (count === 1) return { before: 0, after: 0, part: 0 };
  const steps = loop ? count : count - 1;
  const position = loop ? ((t % count) + count) % count : Math.min(Math.max(t, 0), steps);
  const before = Math.min(Math.floor(position), steps - 1);
  return { before, after: (before + 1) % count, part: position - before };
}

/**
 * Return the weights of the keyframes at time t of a path through them, as sg3tf.generate.trajectory.interpolate does:
 * keyframe i is at time i; a loop ends with the first one. "cubic" is the spline with continuous acceleration, which is
 * zero at open ends; the others are straight lines.
 */
export function pathWeights(count: number, t: number, curve: Curve, loop: boolean): number[] {
  const weights = new Array<number>(count).fill(0);
  const { before, after, part } = stepAt(count, t, loop);
  weights[before]! += 1 - part;
  weights[after]! += part;
  if (curve !== "cubic" || count === 1) return weights;
  const second = secondDerivatives(count, loop);
  const rest = 1 - part;
  for (let k = 0; k < count; k++) {
    weights[k]! += ((rest ** 3 - rest) * second[before]![k]! + (part ** 3 - part) * second[after]![k]!) / 6;
  }
  return weights;
}

/** Return the matrix [count, count] that gives a cubic spline's second derivatives at its keyframes. */
function secondDerivatives(count: number, loop: boolean): number[][] {
  const known = splines.get(`${count} ${loop}`);
  if (known) return known;
  const zeros = () => new Array<number>(count).fill(0);
  const left = Array.from({ length: count }, zeros);
  const right = Array.from({ length: count }, zeros);
  for (let i = 0; i < count; i++) {
    if (!loop && (i === 0 || i === count - 1)) {
      left[i]![i] = 1;
      continue;
    }
    const [previous, next] = [(i + count - 1) % count, (i + 1) % count];
    for (const [at, factor, value] of [
      [previous, 1, 6],
      [i, 4, -12],
      [next, 1, 6],
    ] as const) {
      left[i]![at]! += factor;
      right[i]![at]! += value;
    }
  }
  for (let column = 0; column < count; column++) {
    for (let row = 0; row < count; row++) {
      // Diagonally dominant, so no pivoting is needed.
      const factor = row === column ? 1 - 1 / left[column]![column]! : left[row]![column]! / left[column]![column]!;
      for (let k = 0; factor !== 0 && k < count; k++) {
        left[row]![k]! -= factor * left[column]![k]!;
        right[row]![k]! -= factor * right[column]![k]!;
      }
    }
  }
  splines.set(`${count} ${loop}`, right);
  return right;
}

const splines = new Map<string, number[][]>();

/** Return the sum of arrays, each times its weight. */
export function weightedSum(arrays: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const sum = new Float64Array(arrays[0]!.length);
  arrays.forEach((array, k) => {
    const weight = weights[k]!;
    if (weight !== 0) for (let i = 0; i < sum.length; i++) sum[i]! += weight * array[i]!;
  });
  return Float32Array.from(sum);
}

/** Unwrap degrees, so that a path between keyframes rotates the shorter way. */
export function unwrap(degrees: readonly number[]): number[] {
  const result: number[] = [];
  for (const value of degrees) {
    const last = result.at(-1) ?? value;
    result.push(value - 360 * Math.round((value - last) / 360));
  }
  return result;
}

/** Return positions of style vectors: "coarse", "middle", "fine" (thirds), numbers and ranges, joined by commas. */
export function parseLayers(text: string, numWs: number): number[] {
  const thirds = ["coarse", "middle", "fine"];
  const positions = new Set<number>();
  for (const part of text.split(",").map((piece) => piece.trim())) {
    const third = thirds.indexOf(part);
    const range = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (third < 0 && !range) throw new RangeError(`layers ${text}: give coarse, middle, fine, or numbers like 0-6,9`);
    const first = range ? Number(range[1]) : Math.round((third * numWs) / 3);
    const last = range ? Number(range[2] ?? range[1]) : Math.round(((third + 1) * numWs) / 3) - 1;
    if (last >= numWs) throw new RangeError(`layers ${text}: this network has style vectors 0 to ${numWs - 1}`);
    for (let i = first; i <= last; i++) positions.add(i);
  }
  return [...positions].sort((a, b) => a - b);
}

/** Write positions as `parseLayers` reads them: 0-6,9. */
export function formatLayers(layers: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < layers.length;) {
    let end = i;
    while (layers[end + 1] === layers[end]! + 1) end++;
    parts.push(end > i ? `${layers[i]}-${layers[end]}` : `${layers[i]}`);
    i = end + 1;
  }
  return parts.join(",");
}

/** Parse a list of seeds and ranges of them: 3,7-9. */
export function parseSeeds(text: string, most = 64): number[] {
  const seeds: number[] = [];
  for (const part of text.split(",")) {
    const found = /^\s*(\d{1,10})(?:-(\d{1,10}))?\s*$/.exec(part);
    if (!found) throw new RangeError(`seeds ${text}: give numbers and ranges, like 3,7-9`);
    const [first, last] = [Number(found[1]), Number(found[2] ?? found[1])];
    if (Math.max(first, last) >= 2 ** 32) throw new RangeError(`seeds ${text}: give seeds below 2**32`);
    if (seeds.length + last - first >= most) throw new RangeError(`seeds ${text}: give at most ${most}`);
    for (let seed = first; seed <= last; seed++) seeds.push(seed);
  }
  return seeds;
}
