import { createServer } from "node:http";
import { expect, test } from "vitest";

import { floats, modelPath, Server, toBytes, toFloats, toTexts } from "../../src/server";
import { readTarget } from "../../src/ui/compare";
import { f32 } from "./reference";

const address = { server: "", model: "a/b", version: null };

test("paths of models, versions and labels", () => {
  expect(modelPath(address)).toBe("/v1/models/a%2Fb");
  expect(modelPath({ ...address, version: "3" })).toBe("/v1/models/a%2Fb/versions/3");
  expect(modelPath({ ...address, version: "@stable" })).toBe("/v1/models/a%2Fb/labels/stable");
  expect(modelPath({ ...address, version: "@my best" })).toBe("/v1/models/a%2Fb/labels/my%20best");
  expect(readTarget("2", address)).toEqual({ ...address, version: "2" });
  expect(readTarget("@old", address)).toEqual({ ...address, version: "@old" });
  expect(readTarget("m", address)).toEqual({ ...address, model: "m" });
  expect(readTarget("m/@old", address)).toEqual({ ...address, model: "m", version: "@old" });
  for (const text of ["", "m/x", "/3"]) expect(() => readTarget(text, address)).toThrow(RangeError);
});

test("numbers as JSON and back", () => {
  const data = f32([1, 2, 1, 2, 0.1, 3, 1, 2]);
  expect(
    JSON.parse(floats(data, [2, 2, 2]))
      .flat(2)
      .map(Math.fround),
  ).toEqual([...data]);
  expect(toFloats(JSON.parse(floats(data, [2, 2, 2])), 8)).toEqual(data);
  const odd = f32([0, 1e-45, -3.4e38, 1 / 3, 16777217, 0.1, 123456.789, -7e-20]); // float32 survives as text
  expect(toFloats(JSON.parse(floats(odd, [2, 4])), 8)).toEqual(odd);
  expect(() => toFloats([1, [2, "<b>"]], 3)).toThrow("numbers in the answer");
  expect(() => toFloats(JSON.parse("[1, 1e999]"), 2)).toThrow("numbers in the answer");
  expect(() => toFloats([1, 2], 3)).toThrow("2 numbers instead of 3");
  expect(toBytes([{ b64: "AQI=" }], 1)).toEqual([Uint8Array.of(1, 2)]);
  expect(() => toBytes([{ b64: "AQI=" }], 2)).toThrow("1 pictures instead of 2");
});

test("answers that are late, broken or refusals become words", async () => {
  const listed = ["10", "9", "3"].map((version) => ({ version, state: version === "3" ? "END" : "AVAILABLE" }));
  const answers: Record<string, [number, string]> = {
    "/v1/models/m": [404, '{"error": "<b>no such model</b>"}'],
    "/v1/models/m/metadata": [200, "<html>"],
    "/v1/models/m:predict": [200, '{"outputs": [1]}'],
    "/v1/models/newest-first/metadata": [
      200,
      '{"model_spec": {"version": "10"}, "metadata": {"signature_def": {"signature_def": {}}}}',
    ],
    "/v1/models/newest-first": [200, JSON.stringify({ model_version_status: listed })],
  };
  const heard: string[] = [];
  const http = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      heard.push(
        `${request.method} ${request.headers["content-type"] ?? ""} ${request.headers["x-api-key"] ?? ""} ${body}`,
      );
      const [status, text] = answers[request.url!] ?? [200, ""];
      if (text) response.writeHead(status).end(text);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(http.address() as { port: number }).port}`;
  const model = { server: url, model: "m", version: null };
  const [server, hasty] = [new Server(url), new Server(url, 0.3)];
  await expect(server.versions(model)).rejects.toMatchObject({
    message: "<b>no such model</b>",
    status: 404,
    isLost: false,
  });
  // TensorFlow Serving lists the newest version first, the embedded server last.
  expect(await server.versions({ ...model, model: "newest-first" })).toEqual(["9", "10"]);
  expect((await server.metadata({ ...model, model: "newest-first" })).version).toBe("10");
  await expect(server.metadata(model)).rejects.toThrow("did not answer with JSON");
  server.key = "secret";
  expect(await server.predict(model, "map", { psi: "[1]" })).toEqual([1]);
  // No type of its own but text: a simple request.
  expect(heard.at(-1)).toBe('POST text/plain;charset=UTF-8 secret {"signature_name":"map","inputs":{"psi":[1]}}');
  await expect(hasty.predict({ ...model, model: "silent" }, "map", {})).rejects.toThrow("No answer within 0.3 seconds");
  const abort = new AbortController();
  const aborted = server.predict({ ...model, model: "silent" }, "map", {}, abort.signal);
  abort.abort();
  await expect(aborted).rejects.toThrow();
  expect(server.count).toEqual({ sent: 2, answered: 1, aborted: 1 });
  http.closeAllConnections();
  await new Promise((resolve) => http.close(resolve));
  await expect(server.versions(model)).rejects.toMatchObject({ isLost: true });
});
