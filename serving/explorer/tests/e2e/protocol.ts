/** TensorFlow Serving's REST interface as https://www.tensorflow.org/tfx/serving/api_rest documents it. */

const PATH = /^\/v1\/models\/[^/:?#]+(\/versions\/\d+|\/labels\/[^/:?#]+)?(:predict|\/metadata)?$/;

export interface Call {
  readonly method: string;
  /** with the query, without the origin */
  readonly path: string;
  readonly body: string;
}

/** Return what is undocumented about a request; "" if nothing is. */
export function problemOf({ method, path, body }: Call): string {
  const found = PATH.exec(path);
  if (!found) return "no such path";
  const isPredict = found[2] === ":predict";
  if (method !== (isPredict ? "POST" : "GET")) return "another method"; // a preflight too
  if (!isPredict) return body ? "a body" : "";
  return problemOfBody(body);
}

/** {"signature_name": <string>, "instances": <list>} in row form, or "inputs": <object|list|value> in column form */
function problemOfBody(body: string): string {
  let call: unknown;
  try {
    call = JSON.parse(body);
  } catch {
    return "no JSON";
  }
  if (!isObject(call)) return "no object";
  const { signature_name: signature, instances, inputs, ...others } = call;
  if (Object.keys(others).length) return `unknown keys ${Object.keys(others)}`;
  if (signature !== undefined && typeof signature !== "string") return "a signature_name that is no string";
  if ((instances === undefined) === (inputs === undefined)) return "neither one of instances and inputs nor the other";
  if (instances !== undefined) return Array.isArray(instances) && instances.length ? "" : "no list of instances";
  const tensors = isObject(inputs) && !isBinary(inputs) ? inputs : { input: inputs };
  const wrong = Object.entries(tensors).filter(([, tensor]) => shapeOf(tensor) === null);
  return wrong.map(([name]) => `${name} is no dense tensor`).join();
}

/** Return the shape of a dense tensor of one type, with that type at the end; null for what is none. */
function shapeOf(value: unknown): string | null {
  if (isBinary(value)) return "string";
  if (!Array.isArray(value)) return ["number", "string", "boolean"].includes(typeof value) ? typeof value : null;
  const shapes = new Set(value.map(shapeOf));
  const [shape] = shapes;
  return shapes.size === 1 && shape ? `${value.length},${shape}` : null;
}

/** Return what is undocumented about an answer; "" if nothing is. */
export function problemOfAnswer(path: string, status: number, text: string): string {
  const answer = JSON.parse(text);
  const keys = Object.keys(answer).sort().join();
  if (status !== 200) return keys === "error" && typeof answer.error === "string" ? "" : `an error with ${keys}`;
  const expected = path.endsWith(":predict")
    ? ["outputs", "predictions"]
    : [path.endsWith("/metadata") ? "metadata,model_spec" : "model_version_status"];
  return expected.includes(keys) ? "" : `an answer with ${keys}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A binary value: {"b64": text} */
function isBinary(value: unknown): boolean {
  return isObject(value) && Object.keys(value).join() === "b64" && /^[A-Za-z0-9+/]*={0,2}$/.test(String(value.b64));
}
