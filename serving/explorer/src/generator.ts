/** A served generator: its sizes, and pictures of points. */

import { formatLayers, type Direction } from "./latents";
import { compose, isPlain, sourcesOf, transformOf, type Point, type Source } from "./point";
import { latentFromSeed } from "./random";
import { floats, Server, ServerError, toBytes, toFloats, toPairs, toTexts, type Address, type Signature } from "./server";

type Label = readonly number[] | null;

/** Mean and standard deviation of one number of the labels, before the data set standardized it. */
export type LabelScale = readonly [mean: number, std: number];

/** Sizes and abilities, read from the signatures. */
export interface Facts {
  readonly width: number;
  readonly height: number;
  readonly zDim: number;
  readonly wDim: number;
  readonly numWs: number;
  readonly labelDim: number;
  /** it has `synthesize_png`; without it, only seeds have pictures */
  readonly canSteer: boolean;
  readonly canTransform: boolean;
  /** it has `class_name`, which maps class numbers to names */
  readonly hasNames: boolean;
  /** its labels are numbers that the data set standardized */
  readonly isStandardized: boolean;
}

/** Maximum rows of a request; servers and exports may allow fewer. */
export const MOST_ROWS = 6;

/**
 * Errors for a request with too many rows: from the embedded server, an export with --max_batch, and TensorFlow's
 * batching in the stock server. sg3tf/remote.py has the same list.
 */
const ROW_LIMIT = /(?:send at most|takes at most|larger than maximum input batch size) (\d+)/;

const MOST = { zDim: 65536, wDim: 65536, numWs: 1024, labelDim: 65536, width: 16384, height: 16384 };
const CACHED_STYLES = 512;
export const MOST_NAMES = 1000;

/** Read the sizes; throws a ServerError if the model is not a generator exported by sg3tf. */
export function readFacts(signatures: ReadonlyMap<string, Signature>): Facts {
  const shape = (signature: string, side: "inputs" | "outputs", name: string) =>
    signatures.get(signature)?.[side]?.[name] ?? [];
  const label = shape("map", "inputs", "label");
  const found = {
    zDim: shape("map", "inputs", "z")[1],
    numWs: shape("map", "outputs", "ws")[1],
    wDim: shape("map", "outputs", "ws")[2],
    labelDim: label.length ? label[1] : 0,
    width: shape("synthesize", "outputs", "images")[2],
    height: shape("synthesize", "outputs", "images")[1],
  };
  for (const [name, size] of Object.entries(found)) {
    const most = MOST[name as keyof typeof MOST];
    const least = name === "labelDim" ? 0 : 1;
    if (!Number.isInteger(size) || size! < least) {
      throw new ServerError(`This model is not a generator exported by sg3tf: it has no ${name}.`);
    }
    if (size! > most) throw new ServerError(`This model has ${name} ${size}; the explorer takes up to ${most}.`);
  }
  const inputs = signatures.get("synthesize_png")?.inputs;
  return {
    ...(found as Record<keyof typeof found, number>),
    canSteer: inputs !== undefined && "ws" in inputs && "scale" in inputs,
    canTransform: inputs !== undefined && "transform" in inputs,
    hasNames: "number" in (signatures.get("class_name")?.inputs ?? {}),
    isStandardized: signatures.has("label_scale"),
  };
}

/**
 * Connection to one version of a model. All requests include its number, because cached style vectors would not fit a
 * newer version that the server may have loaded since.
 */
export class Generator {
  private readonly styles = new Map<string, Promise<Float32Array>>();
  private mean: Promise<Float32Array> | null = null;
  private names: Promise<string[]> | null = null;
  private last: { ws: Float32Array; text: string } | null = null;
  private drawn: { ws: Float32Array; transform: Float32Array; scale: number; png: Uint8Array } | null = null;
  private rowLimit = MOST_ROWS;

  private constructor(
    readonly server: Server,
    /** as requested */
    readonly address: Address,
    /** number of the version; null if the server did not report it */
    readonly version: string | null,
    readonly facts: Facts,
  ) {}

  /** Connect, and read the model's sizes. */
  static async connect(server: Server, address: Address): Promise<Generator> {
    const { version, signatures } = await server.metadata(address);
    return new Generator(server, address, version, readFacts(signatures));
  }

  /**
   * Return true if another connection is to the same model as this one: version, sizes, average style vector and the
   * last picture are equal. Without any pictures of this one, nothing is known about it, nor worth keeping.
   */
  async isSameModel(other: Generator): Promise<boolean> {
    const isAlike = this.version === other.version && JSON.stringify(this.facts) === JSON.stringify(other.facts);
    if (!this.mean || !isAlike) return false;
    try {
      const [mine, theirs] = await Promise.all([this.mean, other.average()]);
      if (!mine.every((value, i) => value === theirs[i])) return false;
      if (!this.drawn) return true;
      // A tuned network has the average of the original.
      const { ws, transform, scale, png } = this.drawn;
      const [again] = await other.synthesize([ws], [transform], scale);
      return png.length === again!.length && png.every((byte, i) => byte === again![i]);
    } catch {
      return false; // a busy server, for example
    }
  }

  private async predict(
    signature: string,
    inputs: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const address = { ...this.address, version: this.version ?? this.address.version };
    try {
      return await this.server.predict(address, signature, inputs, signal);
    } catch (error) {
      const isReplaced = error instanceof ServerError && error.status === 404 && this.version !== null;
      throw isReplaced ? new ServerError(error.message, true, error.status) : error;
    }
  }

  /** Maximum rows of a request: what the server allows, once it has rejected more. */
  get mostRows(): number {
    return this.rowLimit;
  }

  /**
   * Call a signature, in as many requests as the row limit requires.
   *
   * @param inputs JSON of each row, by name
   * @param read reads the answer, given its number of rows
   */
  private async predictRows<Row>(
    signature: string,
    inputs: Readonly<Record<string, readonly string[]>>,
    read: (answer: unknown, count: number) => readonly Row[],
    signal?: AbortSignal,
  ): Promise<Row[]> {
    const count = Object.values(inputs)[0]!.length;
    const found: Row[] = [];
    while (found.length < count) {
      const start = found.length;
      const size = Math.min(this.mostRows, count - start);
      const part = Object.entries(inputs).map(([name, rows]) => [name, `[${rows.slice(start, start + size).join()}]`]);
      try {
        found.push(...read(await this.predict(signature, Object.fromEntries(part), signal), size));
      } catch (error) {
        const limit = rowLimitOf(error);
        if (limit < 1 || limit >= size) throw error;
        this.rowLimit = limit;
      }
    }
    return found;
  }

  /** The average style vector, float32 [w_dim]. */
  average(): Promise<Float32Array> {
    this.mean ??= this.map([new Float32Array(this.facts.zDim).fill(1)], null, 0).then(([ws]) =>
      ws!.slice(0, this.facts.wDim),
    );
    this.mean.catch(() => (this.mean = null));
    return this.mean;
  }

  /** Untruncated style vectors of latents float32 [z_dim]. */
  async map(zs: readonly Float32Array[], label: Label, psi = 1): Promise<Float32Array[]> {
    const { zDim, numWs, wDim } = this.facts;
    const inputs = {
      z: zs.map((z) => floats(z, [zDim])),
      psi: repeated(String(psi), zs.length),
      ...this.labels(label, zs.length),
    };
    const size = numWs * wDim;
    return this.predictRows("map", inputs, (answer, count) => {
      const ws = toFloats(answer, count * size);
      return Array.from({ length: count }, (_, i) => ws.slice(i * size, (i + 1) * size));
    });
  }

  /** Untruncated style vectors of a source; those of seeds are cached. */
  stylesOf(source: Source, label: Label): Promise<Float32Array> {
    if (source.kind === "styles") {
      const wrong = source.ws.length !== this.facts.numWs * this.facts.wDim;
      return wrong
        ? Promise.reject(new ServerError(`${source.name} has the style vectors of another network.`))
        : Promise.resolve(source.ws);
    }
    const key = keyOf(source.seed, label);
    const known = this.styles.get(key);
    if (known) return known;
    const found = this.map([latentFromSeed(source.seed, this.facts.zDim)], label).then(([ws]) => ws!);
    this.keep(key, found);
    return found;
  }

  /** Request the style vectors of several seeds together, for `stylesOf`. */
  private prepare(points: readonly Point[]): void {
    const [first] = points;
    const seeds = points.flatMap(({ source }) => (source.kind === "seed" ? [source.seed] : []));
    const missing = [...new Set(seeds)].filter((seed) => !this.styles.has(keyOf(seed, first!.label)));
    if (missing.length < 2) return;
    const all = this.map(
      missing.map((seed) => latentFromSeed(seed, this.facts.zDim)),
      first!.label,
    );
    missing.forEach((seed, i) =>
      this.keep(
        keyOf(seed, first!.label),
        all.then((ws) => ws[i]!),
      ),
    );
  }

  private keep(key: string, found: Promise<Float32Array>): void {
    this.styles.set(key, found);
    found.catch(() => this.styles.delete(key));
    if (this.styles.size > CACHED_STYLES) this.styles.delete(this.styles.keys().next().value!);
  }

  /** Style vectors of a point, truncated, mixed and moved. */
  async wsOf(point: Point, directions: readonly Direction[]): Promise<Float32Array> {
    for (const { layers } of point.mixes) {
      if (layers.some((layer) => layer >= this.facts.numWs)) {
        const last = this.facts.numWs - 1;
        throw new ServerError(`Mixed layers ${formatLayers(layers)}: this network has style vectors 0 to ${last}.`);
      }
    }
    const sources = sourcesOf(point);
    const styles = await Promise.all(sources.map((source) => this.stylesOf(source, point.label)));
    const fitting = directions.filter(({ vector }) => vector.length === this.facts.wDim);
    return compose(point, styles, await this.average(), fitting);
  }

  /**
   * PNG files of style vectors.
   *
   * @param transforms float32 [3, 3] each; ignored by a model without transforms
   * @param scale the files are smaller by this factor
   */
  async synthesize(
    all: readonly Float32Array[],
    transforms: readonly Float32Array[],
    scale = 1,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    if (!this.facts.canSteer) throw new ServerError(NO_STEERING);
    const inputs: Record<string, string[]> = {
      ws: all.map((ws) => this.written(ws)),
      scale: repeated(String(scale), all.length),
    };
    if (this.facts.canTransform) inputs.transform = transforms.map((matrix) => floats(matrix, [3, 3]));
    const pngs = await this.predictRows("synthesize_png", inputs, toBytes, signal);
    // In a batch, the last bits of a picture may differ.
    if (all.length === 1) this.drawn = { ws: all[0]!, transform: transforms[0]!, scale, png: pngs[0]! };
    return pngs;
  }

  /** Style vectors as JSON, cached because they do not change while a picture is moved. */
  private written(ws: Float32Array): string {
    const { numWs, wDim } = this.facts;
    if (!this.last || !this.last.ws.every((value, i) => value === ws[i])) {
      this.last = { ws, text: floats(ws, [numWs, wDim]) };
    }
    return this.last.text;
  }

  /** Names of the classes; at most the first thousand. */
  classNames(): Promise<string[]> {
    const count = Math.min(this.facts.labelDim, MOST_NAMES);
    this.names ??= this.predictRows("class_name", { number: Array.from({ length: count }, (_, i) => `${i}`) }, toTexts);
    this.names.catch(() => (this.names = null));
    return this.names;
  }

  /** Scales of the label's first `count` numbers, of a model with standardized labels. */
  labelScales(count: number): Promise<LabelScale[]> {
    return this.predictRows("label_scale", { number: Array.from({ length: count }, (_, i) => `${i}`) }, toPairs);
  }

  /** PNG files of seeds. */
  async seedPictures(
    seeds: readonly number[],
    psi: number,
    label: Label,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    const inputs = {
      seed: seeds.map(String),
      psi: repeated(String(psi), seeds.length),
      ...this.labels(label, seeds.length),
    };
    return this.predictRows("generate_png", inputs, toBytes, signal);
  }

  /** PNG files of points that share a label, requested together. */
  async pictures(
    points: readonly Point[],
    directions: readonly Direction[],
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    this.prepare(points);
    const ws = await Promise.all(points.map((point) => this.wsOf(point, directions)));
    return this.synthesize(
      ws,
      points.map((point) => transformOf(point)),
      1,
      signal,
    );
  }

  /** PNG file of a point. */
  async picture(
    point: Point,
    directions: readonly Direction[],
    options: { scale?: number; still?: boolean; signal?: AbortSignal } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (!this.facts.canSteer) {
      if (!isPlain(point) || point.source.kind !== "seed") throw new ServerError(NO_STEERING);
      return (await this.seedPictures([point.source.seed], point.psi, point.label, options.signal))[0]!;
    }
    const ws = await this.wsOf(point, directions);
    const transform = transformOf(point, options.still);
    return (await this.synthesize([ws], [transform], options.scale ?? 1, options.signal))[0]!;
  }

  private labels(label: Label, count: number): Record<string, string[]> {
    return this.facts.labelDim ? { label: repeated(`[${this.fitting(label).join()}]`, count) } : {};
  }

  /** Return a label of this model's length: zeros if there is none, or if it has another network's length. */
  fitting(label: Label): readonly number[] {
    const { labelDim } = this.facts;
    return label?.length === labelDim ? label : new Array<number>(labelDim).fill(0);
  }
}

const NO_STEERING =
  "This version was exported without the signature synthesize_png, so only seeds have pictures. Export it again.";

function keyOf(seed: number, label: Label): string {
  return `${seed} ${label?.join() ?? ""}`;
}

/** Return the row limit that an error names; 0 for other errors. */
function rowLimitOf(error: unknown): number {
  if (!(error instanceof ServerError) || error.status !== 400) return 0;
  return Number(ROW_LIMIT.exec(error.message)?.[1] ?? 0);
}

function repeated(json: string, count: number): string[] {
  return new Array<string>(count).fill(json);
}
