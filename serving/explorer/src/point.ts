/** A point of latent space with all of its edits, which defines a picture. */

import {
  applyDirection,
  inPlane,
  mix,
  multiply,
  transformMatrix,
  truncate,
  type Direction,
  type Motion,
} from "./latents";

/** Origin of style vectors: a seed, or numbers from a file. */
export type Source =
  | { readonly kind: "seed"; readonly seed: number }
  | {
      readonly kind: "styles";
      readonly name: string;
      /** float32 [num_ws, w_dim] */
      readonly ws: Float32Array;
      readonly wDim: number;
      /** the picture's own transform, float32 [3, 3] */
      readonly transform: Float32Array | null;
    };

/** A position in the plane through the point's own source, where u = v = 0, and two others. */
export interface Plane {
  readonly b: Source;
  readonly c: Source;
  readonly u: number;
  readonly v: number;
}

export interface Mix {
  readonly source: Source;
  readonly layers: readonly number[];
}

export interface Point extends Motion {
  readonly source: Source;
  /** label vector, for a model with labels */
  readonly label: readonly number[] | null;
  readonly psi: number;
  readonly cutoff: number | null;
  readonly plane: Plane | null;
  readonly mixes: readonly Mix[];
  /** strengths in standard deviations, by the direction's name */
  readonly strengths: Readonly<Record<string, number>>;
}

/** Return the unedited picture of a seed. */
export function seedPoint(seed: number, psi = 0.7, label: readonly number[] | null = null): Point {
  return {
    source: { kind: "seed", seed },
    label,
    psi,
    cutoff: null,
    plane: null,
    mixes: [],
    strengths: {},
    rotate: 0,
    x: 0,
    y: 0,
  };
}

/** Return true if only truncation, label and motion are applied to the source. */
export function isUnsteered(point: Point): boolean {
  return point.plane === null && point.mixes.length === 0 && !Object.values(point.strengths).some(Boolean);
}

/** Return true if psi alone describes the truncation: that of all style vectors of a seed, or none. */
export function psiDescribes(point: Point): boolean {
  return point.source.kind === "seed" && isUnsteered(point) && (point.cutoff === null || point.psi === 1);
}

/** Return true if a seed and truncation define the picture, so the signature `generate_png` suffices. */
export function isPlain(point: Point): boolean {
  const isStill = point.rotate === 0 && point.x === 0 && point.y === 0;
  return point.source.kind === "seed" && point.cutoff === null && isStill && isUnsteered(point);
}

/** Return the sources whose style vectors a point needs, its own first. */
export function sourcesOf(point: Point): Source[] {
  const plane = point.plane ? [point.plane.b, point.plane.c] : [];
  return [point.source, ...plane, ...point.mixes.map((each) => each.source)];
}

/**
 * Return a point's style vectors: its position in the plane, truncated, then mixed with others (equally truncated),
 * then moved along directions.
 *
 * @param styles untruncated style vectors of `sourcesOf(point)`
 * @param average float32 [w_dim]
 */
export function compose(
  point: Point,
  styles: readonly Float32Array[],
  average: Float32Array,
  directions: readonly Direction[],
): Float32Array {
  let [ws, ...others] = styles as [Float32Array, ...Float32Array[]];
  if (point.plane) {
    const [b, c] = others.splice(0, 2) as [Float32Array, Float32Array];
    const { u, v } = point.plane;
    if (u !== 0 || v !== 0) ws = inPlane(ws, b, c, u, v);
  }
  const cut = (part: Float32Array) => truncate(part, average, point.psi, point.cutoff);
  ws = cut(ws);
  point.mixes.forEach(({ layers }, i) => {
    ws = mix(ws, cut(others[i]!), layers, average.length);
  });
  for (const direction of directions) {
    const strength = point.strengths[direction.name] ?? 0;
    if (strength !== 0) ws = applyDirection(ws, direction, strength);
  }
  return ws;
}

/** Return a point's transform: its motion, then the source's own transform; `still` leaves out the motion. */
export function transformOf(point: Point, still = false): Float32Array {
  const motion = transformMatrix(still ? { rotate: 0, x: 0, y: 0 } : point);
  const own = point.source.kind === "styles" ? point.source.transform : null;
  return own ? multiply(own, motion) : motion;
}

/** Return the class of a one-hot label; null for other vectors. */
export function classOf(label: readonly number[]): number | null {
  const isOneHot = label.filter((each) => each === 1).length === 1 && label.every((each) => each === 0 || each === 1);
  return isOneHot ? label.indexOf(1) : null;
}

/** Return a short name: "seed 5", or the name of the file. */
export function nameOf(point: Point): string {
  return sourceName(point.source);
}

export function sourceName(source: Source): string {
  return source.kind === "seed" ? `seed ${source.seed}` : source.name;
}
