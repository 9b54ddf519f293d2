/** The parts of TensorFlow Serving's REST interface that the page needs: status, metadata and predict. */

/** A model on a server; `version` is a number, or a label after "@", or null for the newest. */
export interface Address {
  readonly server: string;
  readonly model: string;
  readonly version: string | null;
}

export interface Signature {
  readonly inputs: Readonly<Record<string, readonly (number | null)[] | null>>;
  readonly outputs: Readonly<Record<string, readonly (number | null)[] | null>>;
}

export interface Metadata {
  /** number of the version that answers, even if a label or no version was requested; null if not reported */
  readonly version: string | null;
  readonly signatures: ReadonlyMap<string, Signature>;
}

/** A failed request, with a message for the user. */
export class ServerError extends Error {
  /**
   * @param isLost true if the page should reconnect: there was no answer at all, or its version no longer exists
   */
  constructor(
    message: string,
    readonly isLost = false,
    readonly status = 0,
  ) {
    super(message);
  }
}

/** Return the path of a model: /v1/models/NAME[/versions/N|/labels/LABEL]. */
export function modelPath({ model, version }: Address): string {
  const part = version === null ? "" : version.startsWith("@") ? `/labels/${encodeURIComponent(version.slice(1))}` : `/versions/${version}`;
  return `/v1/models/${encodeURIComponent(model)}${part}`;
}

/** Return a model's name, version and size as readable text. */
export function titleOf({ model, version }: Address, { width, height }: { width: number; height: number }): string {
  const part = version === null ? [] : [version.startsWith("@") ? version.slice(1) : `version ${version}`];
  return [model, ...part, `${width} × ${height}`].join(" · ");
}

/** Maximum characters of a text in an answer; the rest is cut. */
export const MOST_CHARACTERS = 100;

/** Client of one server. All requests go through `ask`, which times and counts them. */
export class Server {
  /** key of --api_key_file, if the server has one */
  key = "";
  /** predictions sent, aborted and answered */
  readonly count = { sent: 0, aborted: 0, answered: 0 };

  constructor(
    readonly url: string,
    private readonly seconds = 60,
  ) {}

  /** Return the numbers of the available versions, newest last; servers list them in either order. */
  async versions(address: Address): Promise<string[]> {
    const answer = await this.ask(modelPath({ ...address, version: null }));
    const listed: any[] = Array.isArray(answer.model_version_status) ? answer.model_version_status : [];
    return listed
      .filter((entry) => entry?.state === "AVAILABLE")
      .map((entry) => String(entry.version))
      .sort((a, b) => Number(a) - Number(b))
      .slice(-100);
  }

  /** Return the version and the signatures by name. */
  async metadata(address: Address): Promise<Metadata> {
    const answer = await this.ask(`${modelPath(address)}/metadata`);
    const found = answer.metadata?.signature_def?.signature_def;
    if (typeof found !== "object" || found === null) throw new ServerError("The metadata has no signatures.");
    const version = String(answer.model_spec?.version ?? "");
    const signatures = new Map(
      Object.entries<any>(found).map(([name, value]) => [
        name,
        { inputs: shapes(value?.inputs), outputs: shapes(value?.outputs) },
      ]),
    );
    return { version: /^\d+$/.test(version) ? version : null, signatures };
  }

  /** Call a signature in column form and return its output. Arrays of floats are given as JSON text (see `floats`). */
  async predict(
    address: Address,
    signature: string,
    inputs: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const columns = Object.entries(inputs).map(([name, json]) => `${JSON.stringify(name)}:${json}`);
    const body = `{"signature_name":${JSON.stringify(signature)},"inputs":{${columns.join(",")}}}`;
    this.count.sent++;
    try {
      const answer = await this.ask(`${modelPath(address)}:predict`, body, signal);
      this.count.answered++;
      return answer.outputs;
    } catch (error) {
      if (signal?.aborted) this.count.aborted++;
      throw error;
    }
  }

  private async ask(path: string, body?: string, signal?: AbortSignal): Promise<any> {
    const limit = AbortSignal.timeout(this.seconds * 1000);
    let response: Response;
    let text: string;
    try {
      // Text without a content type is a simple request, for which browsers send no preflight to another origin.
      response = await fetch(this.url + path, {
        method: body === undefined ? "GET" : "POST",
        body: body ?? null,
        headers: this.key ? { "x-api-key": this.key } : {},
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
      });
      text = await response.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      if (limit.aborted) throw new ServerError(`No answer within ${this.seconds} seconds.`);
      throw new ServerError(`No answer from ${this.url}.`, true);
    }
    let answer: any;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new ServerError(`${this.url} did not answer with JSON (status ${response.status}).`);
    }
    if (!response.ok) {
      const reason = typeof answer?.error === "string" ? answer.error.slice(0, 500) : response.statusText;
      throw new ServerError(reason, false, response.status);
    }
    return answer ?? {};
  }
}

function shapes(tensors: any): Record<string, readonly (number | null)[] | null> {
  const result: Record<string, readonly (number | null)[] | null> = {};
  for (const [name, info] of Object.entries<any>(tensors ?? {})) {
    const shape = info?.tensor_shape;
    const sizes = Array.isArray(shape?.dim) ? shape.dim.map((dim: any) => Number(dim?.size)) : [];
    result[name] = shape?.unknown_rank ? null : sizes.map((size: number) => (size >= 0 ? size : null));
  }
  return result;
}

/** Write float32 numbers as JSON, nested by their shape; equal rows are formatted once and repeated. */
export function floats(data: Float32Array, shape: readonly number[]): string {
  const width = shape.at(-1)!;
  const rows: string[] = [];
  for (let start = 0; start < data.length; start += width) {
    const row = data.subarray(start, start + width);
    const previous = data.subarray(start - width, start);
    const isRepeated = start > 0 && row.every((value, i) => value === previous[i]);
    rows.push(isRepeated ? rows.at(-1)! : `[${Array.from(row, shortest).join()}]`);
  }
  let level = rows;
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    const size = shape[axis]!;
    level = Array.from(
      { length: level.length / size },
      (_, i) => `[${level.slice(i * size, (i + 1) * size).join(",")}]`,
    );
  }
  return level[0]!;
}

/** Write a float32 with nine digits, which identify it uniquely, instead of a float64's seventeen. */
function shortest(value: number): string {
  return value.toPrecision(9);
}

/** Read nested lists of numbers into float32. */
export function toFloats(value: unknown, count: number): Float32Array {
  const result = new Float32Array(count);
  let at = 0;
  const visit = (part: unknown): void => {
    if (Array.isArray(part)) for (const each of part) visit(each);
    else if (typeof part === "number" && Number.isFinite(part) && at < count) result[at++] = part;
    else throw new ServerError("The numbers in the answer do not match the metadata.");
  };
  visit(value);
  if (at !== count) throw new ServerError(`The answer has ${at} numbers instead of ${count}.`);
  return result;
}

/** Read texts, of up to `MOST_CHARACTERS` each. */
export function toTexts(value: unknown, count: number): string[] {
  if (!Array.isArray(value) || value.length !== count || !value.every((text) => typeof text === "string")) {
    throw new ServerError("The texts in the answer do not match the request.");
  }
  return value.map((text: string) => text.slice(0, MOST_CHARACTERS));
}

/** Read rows of two numbers each. */
export function toPairs(value: unknown, count: number): [number, number][] {
  const isPair = (row: unknown) => Array.isArray(row) && row.length === 2 && row.every(Number.isFinite);
  if (!Array.isArray(value) || value.length !== count || !value.every(isPair)) {
    throw new ServerError("The pairs of numbers in the answer do not match the request.");
  }
  return value;
}

/** Decode the binary values {"b64": text} of an answer. */
export function toBytes(value: unknown, count: number): Uint8Array<ArrayBuffer>[] {
  if (!Array.isArray(value)) throw new ServerError("The answer has no pictures.");
  if (value.length !== count) throw new ServerError(`The answer has ${value.length} pictures instead of ${count}.`);
  return value.map((entry) => {
    const text = typeof entry?.b64 === "string" ? entry.b64 : "";
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  });
}
