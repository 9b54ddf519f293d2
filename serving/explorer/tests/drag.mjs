/**
 * Drags the picture of a page for a while, and prints the measurements for benchmarks/explorer_bench.py as JSON.
 * SERVER=http://127.0.0.1:8501 MODEL=bench SECONDS=600 node --experimental-websocket tests/drag.mjs
 *
 * It uses the DevTools protocol directly, because Playwright listens to the network, which makes Chromium copy every
 * request to another process.
 */

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { SERVER, SERVER_PID, MODEL, SECONDS } = process.env;
const MOVES_PER_SECOND = 60;
const HEAP_EVERY_SECONDS = 20;
const MS_PER_TICK = 10; // of /proc
const CHROMIUM = process.env.EXPLORER_CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1280,800"];

const folder = mkdtempSync(join(tmpdir(), "explorer-bench-"));
const chromium = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${folder}`, "--remote-debugging-port=0", "about:blank"]);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Connect to the browser's only page; return the function that sends commands. */
async function connect() {
  const port = await new Promise((resolve, reject) => {
    let text = "";
    chromium.on("exit", () => reject(new Error(`${CHROMIUM} has ended: ${text.slice(-500)}`)));
    chromium.stderr.on("data", (part) => {
      text += part;
      const found = /ws:\/\/[^:]+:(\d+)/.exec(text);
      if (found) resolve(found[1]);
    });
  });
  const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
  const socket = new WebSocket(targets.find(({ type }) => type === "page").webSocketDebuggerUrl);
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  const waiting = new Map();
  socket.addEventListener("message", ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    if (!waiting.has(id)) return;
    const [resolve, reject] = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  });
  let last = 0;
  return (method, params = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, [resolve, reject]);
      socket.send(JSON.stringify({ id: last, method, params }));
    });
}

/** CPU milliseconds used by each kind of browser process, and by the server. */
function cpuMilliseconds() {
  const found = { page: 0, compositing: 0, network: 0, browser: 0, server: 0 };
  const kinds = { renderer: "page", "gpu-process": "compositing", utility: "network" };
  const stats = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [, parent, ...rest] = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
      stats.set(pid, { parent, ticks: Number(rest[9]) + Number(rest[10]) });
    } catch {} // it has ended
  }
  const isOurs = (pid) => pid === String(chromium.pid) || (stats.has(pid) && isOurs(stats.get(pid).parent));
  for (const [pid, { ticks }] of stats) {
    if (pid === SERVER_PID) found.server += ticks * MS_PER_TICK;
    if (!isOurs(pid)) continue;
    const type = /--type=([\w-]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, "utf8"))?.[1];
    found[kinds[type] ?? "browser"] += ticks * MS_PER_TICK;
  }
  return found;
}

async function run(send) {
  const evaluate = async (expression) => {
    const answer = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception.description);
    return answer.result.value;
  };
  const until = async (condition, seconds = 120) => {
    for (const end = Date.now() + seconds * 1000; !(await evaluate(condition)); await pause(20)) {
      if (Date.now() > end) throw new Error(`not within ${seconds} seconds: ${condition}`);
    }
  };
  const mouse = (type, x, y) =>
    send("Input.dispatchMouseEvent", { type, x, y, button: "left", buttons: 1, clickCount: 1 });
  const heapMb = async () => {
    await send("HeapProfiler.collectGarbage");
    return (await send("Runtime.getHeapUsage")).usedSize / 1e6;
  };

  const began = Date.now();
  await send("Page.navigate", { url: `${SERVER}/explorer/?model=${MODEL}` });
  await until(`document.querySelectorAll(".cell.drawn").length >= 35`);
  const sheetMs = Date.now() - began;
  await evaluate(`document.querySelector('[data-seed="5"]').click()`);
  await until(`window.explorer.view.stage.shown()`);
  await pause(1000);

  // The server's latency for one image: the page's request for a picture, repeated from this process.
  const request = await evaluate(`new Promise((resolve) => {
    const { fetch } = window;
    window.fetch = (url, options) => {
      if (options?.body?.includes("synthesize_png")) {
        window.fetch = fetch;
        resolve([url, options.body]);
      }
      return fetch(url, options);
    };
    explorer.view.stage.refresh();
  })`);
  await pause(500);
  const serverMs = await serverTimes(...request);
  await evaluate(`{
    const { app, view } = explorer;
    const moved = new WeakMap(); // point -> time of the pointer's movement
    window.delays = [];
    app.store.listenLive(({ point }) => moved.has(point) || moved.set(point, performance.now()));
    view.stage.element.addEventListener("drawn", ({ detail }) => delays.push(performance.now() - moved.get(detail)));
  }`);
  const count = () => evaluate(`({ ...explorer.app.server.count, replaced: explorer.view.stage.latest.replaced })`);
  const before = await count();
  const box = await evaluate(`document.querySelector(".stage").getBoundingClientRect().toJSON()`);
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const heap = [];
  const cpuBefore = cpuMilliseconds();
  const start = Date.now();
  await mouse("mousePressed", x, y);
  for (let i = 0; Date.now() - start < Number(SECONDS) * 1000; i++) {
    await mouse("mouseMoved", x + 80 * Math.sin(i / 40), y + 60 * Math.cos(i / 53));
    if (Date.now() - start > heap.length * HEAP_EVERY_SECONDS * 1000 + 1000) heap.push(await heapMb());
    const ahead = start + (i * 1000) / MOVES_PER_SECOND - Date.now();
    if (ahead > 0) await pause(ahead);
  }
  const cpuAfter = cpuMilliseconds();
  await mouse("mouseReleased", x, y);
  await pause(1500);
  heap.push(await heapMb());
  const after = await count();
  // Again, as the load of the machine may have changed.
  serverMs.push(...(await serverTimes(...request)));
  return {
    sheetMs,
    serverMs,
    delays: await evaluate("delays"),
    heap,
    cpuMs: Object.fromEntries(Object.entries(cpuAfter).map(([kind, value]) => [kind, value - cpuBefore[kind]])),
    sent: after.sent - before.sent,
    aborted: after.aborted - before.aborted,
    replaced: after.replaced - before.replaced,
  };
}

async function serverTimes(url, body) {
  const times = [];
  for (let i = 0; i < 30; i++) {
    const start = performance.now();
    await (await fetch(url, { method: "POST", body })).text();
    if (i >= 5) times.push(performance.now() - start);
  }
  return times;
}

try {
  console.log(JSON.stringify(await run(await connect())));
} finally {
  chromium.removeAllListeners("exit");
  const ended = new Promise((resolve) => chromium.on("exit", resolve));
  chromium.kill();
  await ended;
  rmSync(folder, { recursive: true, force: true, maxRetries: 10 }); // its processes may write until they end
}
process.exit();
