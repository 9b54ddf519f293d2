/**
 * Two servers, as where the page lies on one host and TensorFlow Serving runs on another: a static host of the built
 * files, and one that takes nothing but the documented forms of TensorFlow Serving's REST interface, passing these on.
 */

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";

const PATHS = /^\/v1\/models\/[^/:]+(\/versions\/\d+|\/labels\/[^/:]+)?(?:(:predict)|(\/metadata))?$/;
const TYPES: Record<string, string> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
  svg: "image/svg+xml",
};
const DIST = join(import.meta.dirname, "../../dist");

/** Requests that TensorFlow Serving's documentation does not have. */
export const undocumented: string[] = [];

export function staticHost(): Promise<[string, Server]> {
  return listen((request, response) => {
    const name = new URL(request.url!, "http://host").pathname.slice(1) || "index.html";
    if (!/^[\w.]+$/.test(name)) return void response.writeHead(404).end();
    response
      .writeHead(200, { "Content-Type": TYPES[name.split(".").at(-1)!] ?? "text/plain" })
      .end(readFileSync(join(DIST, name)));
  });
}

export function stockServer(backend: string): Promise<[string, Server]> {
  return listen(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const problem = check(request, body);
    if (problem) undocumented.push(`${request.method} ${request.url}: ${problem}`);
    const forwarded = await fetch(backend + request.url, request.method === "POST" ? { method: "POST", body } : {});
    response.writeHead(forwarded.status, { "Content-Type": "application/json", "Access-Control-Allow-Origin": "*" });
    response.end(await forwarded.text());
  });
}

/** Compare with https://www.tensorflow.org/tfx/serving/api_rest: return what is wrong. */
function check(request: IncomingMessage, body: string): string {
  const path = PATHS.exec(request.url!);
  if (!path) return "no such path";
  if (request.method !== (path[2] ? "POST" : "GET")) return "another method"; // a preflight too
  if (!path[2]) return "";
  const { signature_name: signature, inputs, ...others } = JSON.parse(body);
  if (typeof signature !== "string" || typeof inputs !== "object" || Object.keys(others).length) return "another body";
  return Object.values(inputs).every(isDense) ? "" : "an input that is no dense tensor";
}

function isDense(value: unknown): boolean {
  if (!Array.isArray(value)) return typeof value === "number";
  const shapes = new Set(value.map((each) => (Array.isArray(each) ? each.length : -1)));
  return shapes.size === 1 && value.every(isDense);
}

function listen(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<[string, Server]> {
  const server = createServer(handle);
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () =>
      resolve([`http://127.0.0.1:${(server.address() as { port: number }).port}`, server]),
    );
  });
}
