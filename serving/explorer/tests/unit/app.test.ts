import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { App } from "../../src/app";
import { Server, ServerError, type Signature } from "../../src/server";
import { START, Store } from "../../src/store";

const address = { server: "http://host", model: "m", version: null };
const SIGNATURES = new Map<string, Signature>([
  ["map", { inputs: { z: [null, 4] }, outputs: { ws: [null, 2, 4] } }],
  ["synthesize", { inputs: {}, outputs: { images: [null, 8, 8, 3] } }],
]);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** An app whose server answers the metadata as told. */
function appOf(signatures: () => Promise<Map<string, Signature>>): {
  app: App;
  notices: string[];
  retries: ((() => void) | undefined)[];
} {
  const server = new Server("http://host");
  server.versions = async () => ["1", "2"];
  server.metadata = async () => ({ version: "2", signatures: await signatures() });
  const notices: string[] = [];
  const retries: ((() => void) | undefined)[] = [];
  const notify = (message: string, retry?: () => void) => void (notices.push(message), retries.push(retry));
  return { app: new App(server, address, "", new Store(START), notify), notices, retries };
}

test("a server that does not answer is asked again; one without a generator is not", async () => {
  let count = 0;
  const { app } = appOf(async () => {
    if (++count < 3) throw new ServerError("no answer", true);
    return SIGNATURES;
  });
  let connected = 0;
  app.whenReady(() => connected++);
  const done = app.connect();
  await vi.advanceTimersByTimeAsync(100);
  expect([app.health, count]).toEqual(["lost", 1]);
  const again = app.connect(); // somebody presses the button
  await vi.advanceTimersByTimeAsync(5000);
  await Promise.all([done, again]);
  expect([app.health, app.versions, app.generator?.facts.width, connected]).toEqual(["ready", ["1", "2"], 8, 1]);
  await expect(appOf(async () => new Map()).app.connect()).rejects.toThrow("not a generator");
});

test("work that fails is told of, aborted work is not, and a lost server is found again", async () => {
  const { app, notices } = appOf(async () => SIGNATURES);
  await app.connect();
  const seen: string[] = [];
  app.watch(() => seen.push(app.health));
  expect(await app.attempt(async () => 5)).toBe(5);
  expect(seen).toEqual(["ready", "busy", "ready"]);
  expect(await app.attempt(() => Promise.reject(new DOMException("", "AbortError")))).toBe(undefined);
  expect(await app.attempt(() => Promise.reject(new ServerError("<b>wrong psi</b>")))).toBe(undefined);
  expect(notices).toEqual(["<b>wrong psi</b>"]);
  expect(await app.attempt(() => Promise.reject(new ServerError("gone", true)))).toBe(undefined);
  expect(app.health).toBe("lost");
  await vi.advanceTimersByTimeAsync(2500);
  expect([app.health, notices.length]).toEqual(["ready", 1]);
});

test("work that no listener repeats is told of when the server is lost, with a way to start it again", async () => {
  const { app, notices, retries } = appOf(async () => SIGNATURES);
  await app.connect();
  let again = 0;
  const lost = () => Promise.reject(new ServerError("no answer", true));
  await app.attempt(lost, () => again++, "path.zip was not saved");
  retries[0]!();
  expect([notices, again, app.health]).toEqual([["path.zip was not saved: no answer"], 1, "lost"]);
});

test("the same model is the same generator after a new connection, another one is not", async () => {
  const { app } = appOf(async () => SIGNATURES);
  let average = 0.5;
  app.server.predict = async () => [new Array(2).fill([average, 0, 0, 0])];
  await app.connect();
  const first = app.generator!;
  await app.connect();
  expect(app.generator).not.toBe(first); // no picture was requested: nothing is known of the model
  const second = app.generator!;
  await second.average();
  await app.connect();
  expect(app.generator).toBe(second);
  average = 0.25;
  await app.connect();
  expect(app.generator).not.toBe(second);
});

test("a network that draws the last picture differently is another one, although its average is equal", async () => {
  const steerable = new Map(SIGNATURES);
  steerable.set("synthesize_png", { inputs: { ws: [null, 2, 4], scale: [null] }, outputs: { png: [null] } });
  const { app } = appOf(async () => steerable);
  let picture = "first";
  app.server.predict = async (_, signature) =>
    signature === "map" ? [new Array(2).fill([0.5, 0, 0, 0])] : [{ b64: btoa(picture) }];
  await app.connect();
  const first = app.generator!;
  await first.average();
  await first.synthesize([new Float32Array(8)], [new Float32Array(9)]);
  await app.connect();
  expect(app.generator).toBe(first);
  picture = "tuned";
  await app.connect();
  expect(app.generator).not.toBe(first);
});

test("a server that has come back without the model can be asked again", async () => {
  let answer = async () => SIGNATURES;
  const { app, notices, retries } = appOf(() => answer());
  await app.connect();
  let connected = 0;
  app.whenReady(() => connected++);
  answer = () => Promise.reject(new ServerError("the model is loading", false, 404));
  await app.attempt(() => Promise.reject(new ServerError("gone", true)));
  await vi.advanceTimersByTimeAsync(2500);
  expect([app.health, notices, connected]).toEqual(["ready", ["the model is loading"], 1]); // nothing is tried any more
  answer = async () => SIGNATURES;
  retries[0]!();
  await vi.advanceTimersByTimeAsync(2500);
  expect([app.health, connected]).toEqual(["ready", 2]);
});
