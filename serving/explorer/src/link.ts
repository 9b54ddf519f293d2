/** The state in the fragment of a link, which restores everything: #view=picture&p=seed:5;psi:0.7&... */

import { formatLayers, parseLayers, type Direction } from "./latents";
import { seedPoint, sourcesOf, type Point, type Source } from "./point";
import { checkSeed } from "./random";
import { START, type State } from "./store";

const MOST_LAYERS = 1024;

/** Maximum characters of a fragment: Chromium accepts addresses of up to 2 MiB. */
export const MOST_CHARACTERS = 2_000_000;

/** Return the fragment, without "#". Default values, and directions of strength 0, are left out. */
export function toFragment(state: State): string {
  const points = [state.point, ...state.kept.map((kept) => kept.point), ...state.keyframes];
  const isUsed = (direction: Direction) => points.some((point) => point.strengths[direction.name]);
  const defaults = new Map(simpleFields(START));
  const given = simpleFields(state).filter(([key, value]) => value !== defaults.get(key));
  given.push(...state.directions.filter(isUsed).map((direction): [string, string] => ["d", directionText(direction)]));
  given.push(...state.kept.map(({ name, point }): [string, string] => ["k", `${pack(name)}~${pointText(point)}`]));
  given.push(...state.keyframes.map((point): [string, string] => ["f", pointText(point)]));
  return given.map(([key, value]) => `${key}=${value}`).join("&");
}

function simpleFields({ view, look, firstSeed, point, path, mixing, compare }: State): [string, string][] {
  return [
    ["view", view],
    ["look", look],
    ["from", String(firstSeed)],
    ["p", pointText(point)],
    ["path", [path.frames, path.fps, path.curve, path.loop ? "loop" : "once"].join(",")],
    ["mixing", [mixing.rows, mixing.columns, mixing.layers].map(pack).join("~")],
    ["compare", pack(compare)],
  ];
}

/** Read a fragment; a RangeError names the part that cannot be read. */
export function fromFragment(fragment: string): State {
  let state: State = START;
  const parts = fragment.replace(/^#/, "").split("&").filter(Boolean);
  for (const part of parts) {
    const [key, value] = splitOnce(part, "=");
    try {
      state = { ...state, ...readField(state, key, value) };
    } catch (error) {
      throw new RangeError(`${part.slice(0, 60)}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return state;
}

function readField(state: State, key: string, value: string): Partial<State> {
  switch (key) {
    case "view":
      return { view: oneOf(value, ["sheet", "picture", "mixing"]) };
    case "look":
      return { look: oneOf(value, ["picture", "undone", "difference"]) };
    case "from":
      return { firstSeed: seedNumber(value) };
    case "p":
      return { point: readPoint(value) };
    case "path": {
      const [frames, fps, curve, loop] = value.split(",");
      return {
        path: {
          frames: within(finite(frames), 1, 600),
          fps: within(finite(fps), 1, 60),
          curve: oneOf(curve ?? "", ["cubic", "lerp", "slerp"]),
          loop: loop === "loop",
        },
      };
    }
    case "mixing": {
      const [rows = "", columns = "", layers = ""] = value.split("~").map(decodeURIComponent);
      return { mixing: { rows, columns, layers } };
    }
    case "compare":
      return { compare: decodeURIComponent(value) };
    case "d":
      return { directions: [...state.directions, readDirection(value)] };
    case "k": {
      const [name, point] = splitOnce(value, "~");
      return { kept: [...state.kept, { name: decodeURIComponent(name), point: readPoint(point) }] };
    }
    case "f":
      return { keyframes: [...state.keyframes, readPoint(value)] };
    default:
      throw new RangeError("this version of the explorer has no such field");
  }
}

// --- Points ------------------------------------------------------------------------------------------------------

function pointText(point: Point): string {
  const fields = [`${point.source.kind === "seed" ? "seed" : "ws"}:${sourceText(point.source)}`, `psi:${point.psi}`];
  if (point.cutoff !== null) fields.push(`cut:${point.cutoff}`);
  if (point.label) fields.push(`label:${point.label.join(",")}`);
  if (point.plane) {
    const { b, c, u, v } = point.plane;
    fields.push(`plane:${sourceText(b)},${sourceText(c)},${u},${v}`);
  }
  for (const { source, layers } of point.mixes) fields.push(`mix:${sourceText(source)}@${formatLayers(layers)}`);
  for (const [name, strength] of Object.entries(point.strengths))
    if (strength) fields.push(`dir:${pack(name)}=${strength}`);
  for (const key of ["rotate", "x", "y"] as const) if (point[key]) fields.push(`${key}:${point[key]}`);
  return fields.join(";");
}

function readPoint(text: string): Point {
  let point = seedPoint(0);
  for (const field of text.split(";")) {
    const [key, value] = splitOnce(field, ":");
    point = { ...point, ...readPart(point, key, value) };
  }
  const lengths = new Set(sourcesOf(point).flatMap((source) => (source.kind === "styles" ? [source.ws.length] : [])));
  if (lengths.size > 1) throw new RangeError("style vectors of different networks");
  return point;
}

function readPart(point: Point, key: string, value: string): Partial<Point> {
  switch (key) {
    case "seed":
    case "ws":
      return { source: readSource(value) };
    case "psi":
      return { psi: within(finite(value), -2, 2) };
    case "cut":
      return { cutoff: within(finite(value), 0, MOST_LAYERS) };
    case "label":
      return { label: value.split(",").map((part) => finite(part)) };
    case "plane": {
      const [b = "", c = "", u, v] = value.split(",");
      return { plane: { b: readSource(b), c: readSource(c), u: finite(u), v: finite(v) } };
    }
    case "mix": {
      const [source, layers] = splitOnce(value, "@");
      return { mixes: [...point.mixes, { source: readSource(source), layers: parseLayers(layers, MOST_LAYERS) }] };
    }
    case "dir": {
      const [name, strength] = splitOnce(value, "=");
      return { strengths: { ...point.strengths, [decodeURIComponent(name)]: finite(strength) } };
    }
    case "rotate":
    case "x":
    case "y":
      return { [key]: finite(value) };
    default:
      throw new RangeError(`${key}: this version of the explorer has no such field`);
  }
}

// A source from a file: name!distinct rows!number of the row of each layer!transform
function sourceText(source: Source): string {
  if (source.kind === "seed") return String(source.seed);
  const { ws, name, transform, wDim } = source;
  const rows: string[] = [];
  const numbers: number[] = [];
  for (let start = 0; start < ws.length; start += wDim) {
    const row = base64(ws.subarray(start, start + wDim));
    const known = rows.indexOf(row);
    numbers.push(known < 0 ? rows.push(row) - 1 : known);
  }
  return [pack(name), rows.join("."), numbers.join("."), transform ? base64(transform) : ""].join("!");
}

function readSource(text: string): Source {
  if (!text.includes("!")) return { kind: "seed", seed: seedNumber(text) };
  const [name = "", rows = "", numbers = "", transform = ""] = text.split("!");
  const distinct = rows.split(".").map(fromBase64);
  const all = numbers.split(".").map((number) => distinct[Number(number)]);
  const width = distinct[0]!.length;
  if (all.some((row) => row?.length !== width)) throw new RangeError("damaged style vectors");
  const ws = new Float32Array(width * all.length);
  all.forEach((row, i) => ws.set(row!, i * width));
  const matrix = transform ? fromBase64(transform) : null;
  if (matrix && matrix.length !== 9) throw new RangeError("damaged transform");
  return { kind: "styles", name: decodeURIComponent(name), ws, wDim: width, transform: matrix };
}

function directionText({ name, vector, deviation, layers }: Direction): string {
  return [pack(name), deviation, formatLayers(layers), base64(vector)].join("!");
}

function readDirection(text: string): Direction {
  const [name = "", deviation, layers = "", vector = ""] = text.split("!");
  return {
    name: decodeURIComponent(name),
    deviation: finite(deviation),
    layers: parseLayers(layers, MOST_LAYERS),
    vector: fromBase64(vector),
  };
}

// --- Values ------------------------------------------------------------------------------------------------------

/** Percent-encode everything that separates fields. */
function pack(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*~.]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
}

function base64(values: Float32Array): string {
  const bytes = new Uint8Array(values.slice().buffer);
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function fromBase64(text: string): Float32Array {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
  if (!bytes.length || bytes.length % 4) throw new RangeError("damaged numbers");
  const values = new Float32Array(bytes.buffer);
  if (!values.every(Number.isFinite)) throw new RangeError("numbers that are not finite");
  return values;
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}

function oneOf<Choice extends string>(value: string, choices: readonly Choice[]): Choice {
  const found = choices.find((choice) => choice === value);
  if (!found) throw new RangeError(`give one of ${choices.join(", ")}`);
  return found;
}

function finite(text: string | undefined): number {
  const value = Number(text);
  if (text === undefined || text === "" || !Number.isFinite(value)) throw new RangeError(`${text}: give a number`);
  return value;
}

function within(value: number, least: number, most: number): number {
  if (!(value >= least && value <= most)) throw new RangeError(`${value}: give a number from ${least} to ${most}`);
  return value;
}

function seedNumber(text: string): number {
  const seed = finite(text);
  checkSeed(seed);
  return seed;
}
