/** Files that sg3tf writes and reads: latents (`--save_latents`, projections, grids of a run) and directions. */

import type { Generator } from "./generator";
import type { Direction } from "./latents";
import { readNpz, writeNpz, type NpArray, type NumberArray, type Output } from "./npz";
import { isUnsteered, psiDescribes, seedPoint, transformOf, type Point } from "./point";
import { ServerError } from "./server";

const MOST_FILE_BYTES = 256 * 2 ** 20;
const MOST_POINTS = 256;
const MOST_DIRECTIONS = 64;

export type Content =
  | { readonly kind: "points"; readonly points: readonly { readonly name: string; readonly point: Point }[] }
  | { readonly kind: "directions"; readonly directions: readonly Direction[] };

/** Read a dropped file; the message of an Error says what is wrong with it. */
export async function readFile(file: File, generator: Generator): Promise<Content> {
  if (file.size > MOST_FILE_BYTES) throw new Error(`${file.name}: larger than 256 MiB`);
  try {
    const arrays = await readNpz(new Uint8Array(await file.arrayBuffer()));
    if (arrays.has("vectors")) return { kind: "directions", directions: readDirections(arrays, generator) };
    return { kind: "points", points: await readPoints(arrays, file.name.replace(/\.npz$/, ""), generator) };
  } catch (error) {
    if (error instanceof ServerError && error.isLost) throw error; // the page connects again
    throw new Error(`${file.name}: ${error instanceof Error ? error.message : error}`);
  }
}

function readDirections(arrays: ReadonlyMap<string, NpArray>, { facts }: Generator): Direction[] {
  const names = arrays.get("names");
  if (names?.kind !== "texts" || names.shape.length !== 1) throw new Error("it has no direction names");
  const count = names.data.length;
  if (count > MOST_DIRECTIONS)
    throw new Error(`it has ${count} directions; the explorer takes up to ${MOST_DIRECTIONS}`);
  const vectors = numbers(arrays, "vectors", [count, facts.wDim]);
  const deviations = numbers(arrays, "deviations", [count]);
  const layers = [...numbers(arrays, "layers", [arrays.get("layers")?.shape[0] ?? 0]).data];
  if (!layers.every((layer) => Number.isInteger(layer) && layer >= 0 && layer < facts.numWs)) {
    throw new Error(`layers ${layers.join(",")}: this network has style vectors 0 to ${facts.numWs - 1}`);
  }
  return names.data.map((name, i) => ({
    name,
    layers,
    deviation: deviations.data[i]!,
    vector: Float32Array.from(vectors.data.subarray(i * facts.wDim, (i + 1) * facts.wDim)),
  }));
}

async function readPoints(
  arrays: ReadonlyMap<string, NpArray>,
  stem: string,
  generator: Generator,
): Promise<{ name: string; point: Point }[]> {
  const { numWs, wDim, zDim, labelDim } = generator.facts;
  const vectors = arrays.get("ws") ?? arrays.get("z") ?? arrays.get("w");
  if (!vectors)
    throw new Error("has no array ws, w or z; use a file of --save_latents, or one next to a grid of a run");
  const count = vectors.shape[0] ?? 0;
  if (count < 1) throw new Error("has no latents");
  if (count > MOST_POINTS) throw new Error(`has ${count} latents; the explorer takes up to ${MOST_POINTS}`);
  const labels = arrays.has("label") && labelDim ? numbers(arrays, "label", [count, labelDim]) : null;
  const labelOf = (i: number) => (labels ? [...labels.data.subarray(i * labelDim, (i + 1) * labelDim)] : null);
  const transforms = arrays.has("transform") ? numbers(arrays, "transform", [count, 3, 3]) : null;
  const seeds = arrays.has("seeds") ? numbers(arrays, "seeds", [count]) : null;
  const styles: Float32Array[] = [];
  if (arrays.has("ws") || arrays.has("w")) {
    const ws = numbers(arrays, arrays.has("ws") ? "ws" : "w", [count, numWs, wDim]);
    for (let i = 0; i < count; i++)
      styles.push(Float32Array.from(ws.data.subarray(i * numWs * wDim, (i + 1) * numWs * wDim)));
  } else {
    const z = numbers(arrays, "z", [count, zDim]);
    for (let i = 0; i < count; i++) {
      const latent = Float32Array.from(z.data.subarray(i * zDim, (i + 1) * zDim));
      styles.push((await generator.map([latent], labelOf(i)))[0]!);
    }
  }
  return styles.map((ws, i) => {
    const name = seeds ? `seed ${seeds.data[i]}, ${stem}` : count > 1 ? `${i}, ${stem}` : stem;
    const transform = transforms ? Float32Array.from(transforms.data.subarray(9 * i, 9 * i + 9)) : null;
    return { name, point: { ...seedPoint(0, 1, labelOf(i)), source: { kind: "styles", name, ws, wDim, transform } } };
  });
}

function numbers(arrays: ReadonlyMap<string, NpArray>, name: string, shape: readonly number[]): NumberArray {
  const array = arrays.get(name);
  if (array?.kind !== "numbers") throw new Error(`has no numeric array ${name}`);
  if (array.shape.join() !== shape.join()) {
    throw new Error(`${name} of shape (${array.shape.join(", ")}): this network takes (${shape.join(", ")})`);
  }
  if (!array.data.every(Number.isFinite)) throw new Error(`${name} has numbers that are not finite`);
  return array;
}

/** Return the .npz file of points for `sg3tf generate --latents`, byte for byte as sg3tf would write it. */
export async function writePoints(
  points: readonly Point[],
  directions: readonly Direction[],
  generator: Generator,
): Promise<Uint8Array<ArrayBuffer>> {
  const { numWs, wDim, labelDim, canTransform } = generator.facts;
  const ws = await Promise.all(points.map((point) => generator.wsOf(point, directions)));
  const count = points.length;
  const arrays: Record<string, Output> = { ws: { dtype: "<f4", shape: [count, numWs, wDim], data: join(ws) } };
  const isMoved = (point: Point) =>
    point.rotate || point.x || point.y || (point.source.kind === "styles" && point.source.transform);
  if (canTransform && points.some(isMoved)) {
    arrays.transform = { dtype: "<f4", shape: [count, 3, 3], data: join(points.map((point) => transformOf(point))) };
  }
  const seeds = points.map(({ source }) => (source.kind === "seed" ? source.seed : null));
  if (points.every(isUnsteered) && !seeds.includes(null)) {
    arrays.seeds = { dtype: "<i8", shape: [count], data: seeds as number[] };
    if (points.every(psiDescribes)) {
      arrays.psi = { dtype: "<f4", shape: [count], data: points.map(({ psi }) => psi) };
    }
  }
  if (labelDim) {
    const label = points.flatMap((point) => generator.fitting(point.label));
    arrays.label = { dtype: "<f4", shape: [count, labelDim], data: label };
  }
  return writeNpz(arrays);
}

function join(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
