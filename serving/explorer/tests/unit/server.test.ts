import { createServer } from "node:http";
import { expect, test } from "vitest";

import { readFacts } from "../../src/generator";
import { difference, enlarge, undoTransform, type Pixels } from "../../src/image";
import { Latest } from "../../src/latest";
import { transformMatrix } from "../../src/latents";
import { Preview } from "../../src/preview";
import { compose, seedPoint } from "../../src/point";
import { floats, modelPath, Server, toBytes, toFloats, type Signature } from "../../src/server";
import { readTarget } from "../../src/ui/compare";
import { f32 } from "./reference";

const address = { server: "", model: "a/b", version: null };

test("paths of models, versions and labels", () => {
  expect(modelPath(address)).toBe("/v1/models/a%2Fb");
  expect(modelPath({ ...address, version: "3" })).toBe("/v1/models/a%2Fb/versions/3");
  expect(modelPath({ ...address, version: "@stable" })).toBe("/v1/models/a%2Fb/labels/stable");
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
  expect(() => toFloats([1, [2, "<b>"]], 3)).toThrow("other numbers");
  expect(() => toFloats(JSON.parse("[1, 1e999]"), 2)).toThrow("other numbers");
  expect(() => toFloats([1, 2], 3)).toThrow("2 numbers instead of 3");
  expect(toBytes([{ b64: "AQI=" }])).toEqual([Uint8Array.of(1, 2)]);
});

test("answers that are late, broken or refusals become words", async () => {
  const answers: Record<string, [number, string]> = {
    "/v1/models/m": [404, '{"error": "<b>no such model</b>"}'],
    "/v1/models/m/metadata": [200, "<html>"],
    "/v1/models/m:predict": [200, '{"outputs": [1]}'],
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
  await expect(server.signatures(model)).rejects.toThrow("something else than JSON");
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

function signatures(
  sizes: Partial<Record<"z" | "ws" | "label" | "images", number>>,
  canSteer = true,
): Map<string, Signature> {
  const { z = 6, ws = 3, label, images = 8 } = sizes;
  return new Map<string, Signature>([
    [
      "map",
      {
        inputs: { z: [null, z], psi: null, ...(label === undefined ? {} : { label: [null, label] }) },
        outputs: { ws: [null, ws, 4] },
      },
    ],
    ["synthesize", { inputs: {}, outputs: { images: [null, images, images, 3] } }],
    ...(canSteer
      ? [
          [
            "synthesize_png",
            { inputs: { ws: [null, ws, 4], scale: null, transform: [null, 3, 3] }, outputs: {} },
          ] as const,
        ]
      : []),
  ]);
}

test("sizes of a model, and what is none of ours", () => {
  expect(readFacts(signatures({ label: 2 }))).toEqual({
    zDim: 6,
    numWs: 3,
    wDim: 4,
    labelDim: 2,
    resolution: 8,
    canSteer: true,
    canTransform: true,
  });
  expect(readFacts(signatures({}, false))).toMatchObject({ labelDim: 0, canSteer: false, canTransform: false });
  expect(() => readFacts(new Map())).toThrow("no generator exported by sg3tf");
  for (const hostile of [{ z: 1e12 }, { ws: 1e9 }, { label: 1e7 }, { images: 1e6 }]) {
    expect(() => readFacts(signatures(hostile))).toThrow(/the explorer takes up to/);
  }
  for (const hostile of [{ z: NaN }, { z: 0.5 }, { ws: -1 }])
    expect(() => readFacts(signatures(hostile))).toThrow(/has no/);
});

test("a point is truncated, then mixed, then moved", () => {
  const [a, b] = [f32([1, 1, 1, 1]), f32([2, 2, 4, 4])];
  const average = f32([0, 0]);
  const direction = { name: "d", vector: f32([1, 0]), deviation: 2, layers: [0] };
  const point = {
    ...seedPoint(0, 0.5),
    mixes: [{ source: { kind: "seed", seed: 1 } as const, layers: [1] }],
    strengths: { d: 3 },
  };
  expect(compose(point, [a, b], average, [direction])).toEqual(f32([6.5, 0.5, 2, 2]));
  const both = { ...point, plane: { b: point.source, c: point.source, u: 1, v: 0 }, strengths: {} };
  expect(compose(both, [a, b, b, a], average, [])).toEqual(f32([1, 1, 0.5, 0.5]));
  const plane = { b: point.source, c: point.source, u: 0.5, v: 0 };
  expect(compose({ ...point, plane, mixes: [], strengths: {} }, [a, b, a], average, [])).toEqual(
    f32([0.75, 0.75, 1.25, 1.25]),
  );
});

test("only the newest work is done", async () => {
  const latest = new Latest();
  const done: number[] = [];
  let release = () => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  for (let i = 0; i < 5; i++) {
    latest.request(async () => {
      if (i === 0) await gate;
      done.push(i);
    });
  }
  expect([latest.isBusy, latest.hasNewer, latest.replaced]).toEqual([true, true, 3]);
  release();
  await new Promise((resolve) => setTimeout(resolve));
  expect(done).toEqual([0, 4]);
  expect(latest.isBusy).toBe(false);
});

test("waiting work is interrupted by newer work, at once", async () => {
  const latest = new Latest();
  const found: boolean[] = [];
  const wait = (milliseconds: number) => async () => void found.push(await latest.isInterrupted(milliseconds));
  latest.request(wait(60_000)); // the test would run into its own limit
  latest.request(wait(60_000));
  await new Promise((resolve) => setTimeout(resolve));
  latest.request(wait(1));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(found).toEqual([true, true, false]);
});

test("previews only where they are faster", () => {
  const scales = (resolution: number, whole: number, reduced?: number) => {
    const preview = new Preview(resolution);
    preview.note(1, whole);
    if (reduced !== undefined) preview.note(2, reduced);
    return preview.scale();
  };
  expect(new Preview(1024).scale()).toBe(1); // nothing was measured yet
  expect(scales(1024, 100)).toBe(1); // fast
  expect(scales(1024, 400)).toBe(8); // slow: tried once
  expect(scales(1024, 400, 200)).toBe(8);
  expect(scales(1024, 400, 380)).toBe(1); // the synthesis itself is slow
  expect(scales(128, 400)).toBe(1); // small already
});

// --- Pixels --------------------------------------------------------------------------------------------------------

function waves(side: number, shift = 0): Pixels {
  const data = new Uint8ClampedArray(side * side * 4);
  for (let i = 0; i < side * side; i++) {
    const x = ((i % side) + 0.5) / side - 0.5 - shift;
    data.set(
      [127 + 100 * Math.sin(2 * Math.PI * x), 127 + 100 * Math.cos((Math.PI * Math.floor(i / side)) / side), 127, 255],
      4 * i,
    );
  }
  return { width: side, height: side, data };
}

test("smooth pictures stay the same when enlarged", () => {
  const large = enlarge(waves(32), 4);
  expect(large.width).toBe(128);
  const expected = waves(128);
  for (let row = 16; row < 112; row++) {
    for (let column = 16; column < 112; column++) {
      const at = (row * 128 + column) * 4;
      expect(Math.abs(large.data[at]! - expected.data[at]!)).toBeLessThanOrEqual(2);
    }
  }
  expect([...large.data.slice(-1)]).toEqual([255]);
});

test("a dot becomes Lanczos' filter of three lobes", () => {
  const dot = { width: 16, height: 16, data: new Uint8ClampedArray(16 * 16 * 4) };
  dot.data[4 * (8 * 16 + 8)] = 255;
  const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const filter = (x: number) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0);
  // At four places to a pixel, the weights of a place are those of the pixels around it.
  const weight = (place: number) => {
    const x = (place + 0.5) / 4 - 0.5;
    const total = Array.from({ length: 16 }, (_, i) => filter(x - i)).reduce((sum, each) => sum + each, 0);
    return filter(x - 8) / total;
  };
  const large = enlarge(dot, 4);
  for (let column = 20; column < 50; column++) {
    const expected = Math.min(255, Math.max(0, 255 * weight(column) * weight(34)));
    const found = large.data[4 * (34 * 64 + column)]!; // rounded
    expect(Math.abs(found - expected), `column ${column}`).toBeLessThanOrEqual(0.51);
  }
});

test("black and white are 0 decibels apart", () => {
  const flat = (value: number) => ({ width: 1, height: 1, data: Uint8ClampedArray.of(value, value, value, 255) });
  expect(difference(flat(0), flat(255)).decibels).toBeCloseTo(0, 10);
});

test("an undone transform gives back the picture, where it was not cut off", () => {
  const shift = 0.125;
  const still = waves(64);
  const moved = waves(64, shift);
  const undone = undoTransform(moved, transformMatrix({ rotate: 0, x: shift, y: 0 }));
  expect(undone.data[4 * (32 * 64 + 60) + 3]).toBe(0); // the right end was moved out of the picture
  const { decibels } = difference(undone, still);
  expect(decibels).toBeGreaterThan(45); // 8 bits
  expect(
    difference(undoTransform(moved, transformMatrix({ rotate: 0, x: -shift, y: 0 })), still).decibels,
  ).toBeLessThan(15);
  expect(difference(still, still).decibels).toBe(Infinity);
});

test("a turned picture is turned back", () => {
  const side = 64;
  const [still, turned] = [waves(side), waves(side)];
  for (let i = 0; i < side * side; i++) {
    // A quarter clockwise: the top row becomes the right column.
    const [row, column] = [Math.floor(i / side), i % side];
    turned.data.set(
      still.data.subarray(4 * ((side - 1 - column) * side + row), 4 * ((side - 1 - column) * side + row) + 4),
      4 * i,
    );
  }
  const back = undoTransform(turned, transformMatrix({ rotate: 90, x: 0, y: 0 }));
  expect(difference(back, waves(side)).decibels).toBeGreaterThan(60);
});
