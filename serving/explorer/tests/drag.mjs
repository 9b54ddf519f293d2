/**
 * Drags the picture of a page for a while, and prints what benchmarks/explorer_bench.py reports, as JSON.
 * SERVER=http://127.0.0.1:8501 MODEL=bench SECONDS=600 node tests/drag.mjs
 */

import { chromium } from "playwright-core";

const { SERVER, MODEL, SECONDS } = process.env;
const MOVES_PER_SECOND = 60;
const browser = await chromium.launch({
  executablePath: process.env.EXPLORER_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
const began = Date.now();
await page.goto(`${SERVER}/explorer/?model=${MODEL}`);
await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 35, undefined, {
  timeout: 120_000,
});
const sheetMs = Date.now() - began;
await page.click('[data-seed="5"]');
await page.waitForFunction(() => window.explorer.view.stage.shown(), undefined, { timeout: 60_000 });
await page.waitForTimeout(1000);

// The server's own latency for one image: the page's last request again, from this process.
const [request] = await Promise.all([
  page.waitForRequest((each) => each.url().endsWith(":predict") && each.postData().includes("synthesize_png")),
  page.evaluate(() => window.explorer.view.stage.refresh()),
]);
await page.waitForTimeout(500);
const serverMs = [];
for (let i = 0; i < 30; i++) {
  const start = performance.now();
  await (await fetch(request.url(), { method: "POST", body: request.postData() })).text();
  if (i >= 5) serverMs.push(performance.now() - start);
}

await page.evaluate(() => {
  const { app, view } = window.explorer;
  const moved = new WeakMap(); // point -> time of the pointer's movement
  window.delays = [];
  app.store.listen(({ point }) => moved.has(point) || moved.set(point, performance.now()));
  view.stage.element.addEventListener("drawn", ({ detail }) => {
    window.delays.push(performance.now() - moved.get(detail));
  });
});
const box = await page.locator(".stage").first().boundingBox();
const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
const session = await page.context().newCDPSession(page);
await session.send("Performance.enable");
async function heapMb() {
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "JSHeapUsedSize").value / 1e6;
}
const before = await page.evaluate(() => ({ ...window.explorer.app.server.count }));
const heap = [];
const start = Date.now();
await page.mouse.move(x, y);
await page.mouse.down();
for (let i = 0; Date.now() - start < Number(SECONDS) * 1000; i++) {
  await page.mouse.move(x + 80 * Math.sin(i / 40), y + 60 * Math.cos(i / 53));
  const ahead = start + (i * 1000) / MOVES_PER_SECOND - Date.now();
  if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead));
  if (i % (MOVES_PER_SECOND * 20) === MOVES_PER_SECOND) heap.push(await heapMb());
}
await page.mouse.up();
await page.waitForTimeout(1500);
heap.push(await heapMb());
const after = await page.evaluate(() => ({ ...window.explorer.app.server.count }));
const delays = await page.evaluate(() => window.delays);
console.log(
  JSON.stringify({
    sheetMs,
    serverMs,
    delays,
    heap,
    sent: after.sent - before.sent,
    aborted: after.aborted - before.aborted,
    replaced: await page.evaluate(() => window.explorer.view.stage.latest.replaced),
  }),
);
await browser.close();
