/**
 * Two servers, as if the page were on one host and TensorFlow Serving on another: a static host for the built files,
 * and one that only accepts, and forwards, the documented forms of TensorFlow Serving's REST interface.
 */

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";

import { problemOf, problemOfAnswer } from "./protocol";

const TYPES: Record<string, string> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
  svg: "image/svg+xml",
};
const DIST = join(import.meta.dirname, "../../dist");

/** Requests and answers that are not in TensorFlow Serving's documentation. */
export const undocumented: string[] = [];

export function staticHost(): Promise<[string, Server]> {
  return listen(sendFile);
}

/** One server for both, at an IPv6 address. */
export function serverByNumber(backend: string): Promise<[string, Server]> {
  return listen(async (request, response) => {
    if (!request.url!.startsWith("/v1/")) return sendFile(request, response);
    let body = "";
    for await (const part of request) body += part;
    const answer = await fetch(backend + request.url!, body ? { method: "POST", body } : {});
    response.writeHead(answer.status).end(await answer.text());
  }, "::1");
}

function sendFile(request: IncomingMessage, response: ServerResponse): void {
  const name = new URL(request.url!, "http://host").pathname.slice(1) || "index.html";
  if (!/^[\w.]+$/.test(name)) return void response.writeHead(404).end();
  response
    .writeHead(200, { "Content-Type": TYPES[name.split(".").at(-1)!] ?? "text/plain" })
    .end(readFileSync(join(DIST, name)));
}

/** Requests that are not documented are refused, in the documented form of an error. */
export function stockServer(backend: string): Promise<[string, Server]> {
  return listen(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const [method, path] = [request.method!, request.url!];
    const headers = { "Content-Type": "application/json", "Access-Control-Allow-Origin": "*" };
    const problem = problemOf({ method, path, body });
    if (problem) {
      undocumented.push(`${method} ${path}: ${problem}`);
      return void response.writeHead(400, headers).end(JSON.stringify({ error: problem }));
    }
    const answer = await fetch(backend + path, method === "POST" ? { method, body } : {});
    const text = await answer.text();
    const wrong = problemOfAnswer(path, answer.status, text);
    if (wrong) undocumented.push(`${method} ${path}: ${wrong}`);
    response.writeHead(answer.status, headers).end(text);
  });
}

function listen(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  host = "127.0.0.1",
): Promise<[string, Server]> {
  const server = createServer(handle);
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    const name = host.includes(":") ? `[${host}]` : host;
    server.listen(0, host, () => resolve([`http://${name}:${(server.address() as { port: number }).port}`, server]));
  });
}
