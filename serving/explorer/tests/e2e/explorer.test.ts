/** Every feature of the page, in one browser against the server that pytest has started. */

import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import type { Server as HttpServer } from "node:http";
import { join } from "node:path";
import type { Browser, Download, Page, Request } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { complaints, newPage, openBrowser, SERVER } from "./browser";
import { problemOf } from "./protocol";
import { serverByNumber, staticHost, stockServer, undocumented } from "./stock";

const FILES = process.env.EXPLORER_REFERENCE ?? "";
const OUT = process.env.EXPLORER_OUT ?? "";
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const requests: Request[] = [];

let browser: Browser;
let page: Page;
/** Address of the page, to which a query is added; with EXPLORER_STOCK=1 on a static host, before a stock server. */
let base = `${SERVER}/explorer/?`;
let api = SERVER;
const isStock = Boolean(process.env.EXPLORER_STOCK);
const helpers: HttpServer[] = [];

beforeAll(async () => {
  if (isStock) {
    const [host, files] = await staticHost();
    const [stock, passing] = await stockServer(SERVER);
    helpers.push(files, passing);
    [api, base] = [stock, `${host}/?server=${stock}&`];
  }
  browser = await openBrowser();
  page = await newPage(browser);
  page.on("request", (request) => requests.push(request));
});

afterAll(async () => {
  await browser.close();
  for (const helper of helpers) (helper.closeAllConnections(), helper.close());
});

afterEach(() => {
  expect(complaints.splice(0)).toEqual([]);
});

const stage = () => page.locator(".stage").first();
const panel = (title: string) => page.locator("details", { has: page.locator(`summary:text-is("${title}")`) });
const point = () => page.evaluate(() => (window as any).explorer.app.store.state.point);
const button = (name: string) => page.getByRole("button", { name, exact: true });

/** Wait until the server has answered everything, and return the picture's bytes. */
async function settled(): Promise<string> {
  await page.waitForTimeout(30);
  await page.waitForFunction(() => {
    const { app, view } = (window as any).explorer;
    return app.health === "ready" && !view.stage.latest.isBusy && view.stage.shown();
  });
  return picture();
}

/**
 * The greatest difference of two pictures, in levels of 255. A page maps seeds together or one by one, and on some
 * processors the last bits of styles depend on that.
 */
async function difference(one: string, other: string): Promise<number> {
  return page.evaluate(async (urls) => {
    const [a, b] = await Promise.all(
      urls.map(async (url) => {
        const bytes = Uint8Array.from(atob(url.split(",")[1]!), (each) => each.charCodeAt(0)); // fetch is not permitted
        const image = await createImageBitmap(new Blob([bytes]));
        const context = new OffscreenCanvas(image.width, image.height).getContext("2d")!;
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, image.width, image.height).data;
      }),
    );
    return a!.length === b!.length ? a!.reduce((most, value, i) => Math.max(most, Math.abs(value - b![i]!)), 0) : 255;
  }, [one, other]);
}

const picture = () => page.evaluate(() => document.querySelector<HTMLCanvasElement>(".stage canvas")!.toDataURL());

async function openPanel(title: string): Promise<void> {
  if ((await panel(title).getAttribute("open")) === null) await panel(title).locator("summary").click();
}

async function go(fragment: string, query = ""): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${base}model=fake&version=1${query}${fragment}`);
}

async function saved(start: () => Promise<void>): Promise<{ name: string; data: Buffer }> {
  const [download] = await Promise.all([page.waitForEvent("download") as Promise<Download>, start()]);
  const file = join(OUT, download.suggestedFilename());
  await download.saveAs(file);
  return { name: download.suggestedFilename(), data: readFileSync(file) };
}

async function drop(...names: string[]): Promise<void> {
  const files = names.map((name) => ({ name, text: readFileSync(join(FILES, name)).toString("base64") }));
  await page.evaluate((given) => {
    const transfer = new DataTransfer();
    for (const { name, text } of given) {
      transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
    }
    for (const type of ["dragover", "drop"]) {
      document
        .querySelector("main")!
        .dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }
  }, files);
}

async function audit(what: string): Promise<void> {
  await page.evaluate(`window.axe ?? (() => { ${readFileSync(AXE, "utf8")} })()`).catch(() => undefined);
  const found: any = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
  const lines = found.violations.map(
    (each: any) =>
      `${each.id}: ${each.nodes
        .map((node: any) => node.html)
        .join(" ")
        .slice(0, 300)}`,
  );
  expect(lines, what).toEqual([]);
}

// --- Sheet -----------------------------------------------------------------------------------------------------------

test("a sheet of pictures is the first screen, and scrolls without end", async () => {
  await page.goto(`${base}model=fake&version=1`);
  await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 30);
  await expect.poll(() => page.locator(".status").textContent()).toMatch(/ms/);
  await audit("sheet");
  // Again and again, as the sheet grows only after it was scrolled, but not before there are pictures in view: those
  // of cells that have left it are canceled.
  const lastSeed = () =>
    page.locator(".sheet").evaluate((sheet) => {
      const drawn = [...sheet.querySelectorAll<HTMLElement>(".cell.drawn")];
      if (drawn.length) sheet.scrollBy(0, 3000);
      return Math.max(...drawn.map((cell) => Number(cell.dataset.seed)));
    });
  await expect.poll(lastSeed, { timeout: 30000 }).toBeGreaterThan(300);
  expect(await page.locator(".cell").count()).toBeLessThan(200); // those out of view do not stay
});

test("another first seed, another truncation", async () => {
  await page.getByLabel("First seed").fill("4000000000");
  await page.getByLabel("First seed").press("Enter");
  await page.waitForSelector('.cell.drawn[data-seed="4000000000"]');
  await page.getByLabel("First seed").fill("4294967296");
  await page.getByLabel("First seed").press("Enter");
  expect(await page.locator(".sheet-bar .error").textContent()).toContain("0 to 4294967295");
  await page.getByLabel("First seed").fill("0");
  await page.getByLabel("First seed").press("Enter");
  await page.waitForSelector('.cell.drawn[data-seed="0"]');
  const shown = () =>
    page.locator('[data-seed="0"] canvas').evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
  const before = await shown();
  await page.locator(".sheet-bar").getByLabel("Truncation psi", { exact: true }).fill("-1");
  await expect.poll(shown).not.toBe(before);
  const full = await shown();
  await page.locator(".sheet-bar").getByLabel("Cutoff style vectors", { exact: true }).fill("3");
  await expect.poll(shown).not.toBe(full);
  await page.locator(".sheet-bar").getByLabel("Cutoff style vectors", { exact: true }).fill("16");
  await page.locator(".sheet-bar").getByLabel("Truncation psi", { exact: true }).fill("0.7");
});

test("Tab stops at one cell of the sheet, which stays while it is focused", async () => {
  await page.goto("about:blank");
  await page.goto(`${base}model=fake&version=1`);
  await page.waitForSelector('.cell.drawn[data-seed="9"]');
  const sheet = page.locator(".sheet");
  const focused = () => page.evaluate(() => (document.activeElement as HTMLElement).dataset.seed ?? "none");
  await sheet.focus();
  await page.keyboard.press("Tab");
  expect(await focused()).toBe("0");
  await page.keyboard.press("Tab");
  expect(await focused()).toBe("none"); // and not the next of 2^32 cells
  await sheet.focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight");
  await sheet.evaluate((element) => element.scrollBy(0, 2000));
  await page.waitForSelector('[data-seed="0"]', { state: "detached" });
  expect(await focused()).toBe("1");
  await page.keyboard.press("ArrowRight");
  expect(await focused()).toBe("2");
  expect(await sheet.evaluate((element) => element.scrollTop)).toBeLessThan(50);
  const seeds = await page.locator(".cell").evaluateAll((cells) => cells.map((cell) => Number((cell as any).dataset.seed)));
  expect(seeds).toEqual(seeds.map((_, i) => i)); // in the order of the page, too
});

test("arrow keys walk through the sheet, and Enter opens a seed", async () => {
  await page.waitForSelector('.cell.drawn[data-seed="11"]');
  await page.locator('[data-seed="9"]').focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await settled();
  expect((await point()).source).toEqual({ kind: "seed", seed: 11 });
  expect(await stage().evaluate((element) => element === document.activeElement)).toBe(true);
});

// --- One picture -----------------------------------------------------------------------------------------------------

test("dragging moves the picture, the wheel turns it, a double click brings it back", async () => {
  const before = await settled();
  const count = () => page.evaluate(() => ({ ...(window as any).explorer.app.server.count }));
  const earlier = await count();
  const box = (await stage().boundingBox())!;
  await page.mouse.move(box.x + 100, box.y + 100);
  await page.mouse.down();
  await page.mouse.move(box.x + 100 + box.width / 4, box.y + 100, { steps: 8 });
  await page.mouse.up();
  await page.mouse.wheel(0, 300);
  expect(await settled()).not.toBe(before);
  const { x, y, rotate } = await point();
  expect([x, y, rotate]).toEqual([expect.closeTo(0.25, 2), expect.closeTo(0, 2), 30]);
  const { sent, answered } = await count();
  expect(sent - earlier.sent).toBe(answered - earlier.answered); // nothing was asked for in vain
  await page.mouse.dblclick(box.x + 50, box.y + 50);
  expect(await settled()).toBe(before);
});

test("two fingers move and turn it", async () => {
  await stage().evaluate((element) => {
    element.setPointerCapture = () => undefined; // which made-up pointers do not have
    const box = element.getBoundingClientRect();
    const send = (type: string, pointerId: number, x: number, y: number) =>
      element.dispatchEvent(
        new PointerEvent(type, { pointerId, button: 0, clientX: box.x + x, clientY: box.y + y, bubbles: true }),
      );
    send("pointerdown", 1, 100, 100);
    send("pointerdown", 2, 200, 100);
    send("pointermove", 2, 100, 200);
    send("pointerup", 1, 100, 100);
    send("pointerup", 2, 100, 200);
  });
  expect((await point()).rotate).toBeCloseTo(90);
  await button("Undo").click();
  expect((await point()).rotate).toBe(0);
});

test("the undone transform and the difference show equivariance", async () => {
  await stage().focus();
  for (let i = 0; i < 3; i++) await page.keyboard.press("Shift+ArrowRight");
  for (let i = 0; i < 2; i++) await page.keyboard.press("]");
  expect(await point()).toMatchObject({ x: 0.3, rotate: 2 });
  const moved = await settled();
  await page.getByRole("radio", { name: "Transform undone" }).check();
  const undone = await settled();
  await page.getByRole("radio", { name: "Difference" }).check();
  const different = await settled();
  expect(new Set([moved, undone, different]).size).toBe(3);
  await audit("difference");
  const decibels = Number(/([\d.]+) dB/.exec((await page.locator(".stage-note").first().textContent()) ?? "")![1]);
  expect(decibels).toBeGreaterThan(15); // the example follows even 12 degrees to 19.5 dB
  await page.getByRole("radio", { name: "Picture", exact: true }).nth(1).check();
  await page.keyboard.press("0");
});

test("a sweep moves the picture by itself", async () => {
  const still = await settled();
  await button("Sweep: circle").click();
  await expect.poll(picture).not.toBe(still);
  await button("Sweep: circle").click();
  await expect.poll(settled).toBe(still);
});

test("undo, redo, and the keys of seeds", async () => {
  await page.locator("body").click({ position: { x: 300, y: 5 } });
  await page.keyboard.press(".");
  await page.keyboard.press(".");
  expect((await point()).source.seed).toBe(13);
  await page.keyboard.press("Control+z");
  expect((await point()).source.seed).toBe(12);
  await page.keyboard.press("Control+Shift+Z");
  expect((await point()).source.seed).toBe(13);
  await page.keyboard.press("r");
  expect((await point()).source.seed).not.toBe(13);
  await panel("Seed and truncation").getByLabel("Seed", { exact: true }).fill("24");
  await panel("Seed and truncation").getByLabel("Seed", { exact: true }).press("Enter");
  expect((await point()).source.seed).toBe(24);
});

test("a plane of latents, by pointer and keys", async () => {
  const before = await settled();
  await openPanel("Plane of latents");
  const pad = page.locator(".pad");
  await pad.scrollIntoViewIfNeeded();
  const box = (await pad.boundingBox())!;
  await page.mouse.move(box.x + box.width / 6, box.y + (5 * box.height) / 6);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + (5 * box.height) / 6, { steps: 4 });
  await page.mouse.up();
  expect((await point()).plane).toMatchObject({
    u: expect.closeTo(0.5, 1),
    v: expect.closeTo(0, 1),
    b: { seed: 25 },
    c: { seed: 26 },
  });
  expect(await settled()).not.toBe(before);
  await pad.focus();
  await page.keyboard.press("ArrowUp");
  expect((await point()).plane.v).toBeCloseTo(0.02, 2);
  await panel("Plane of latents").getByLabel("B", { exact: true }).fill("3");
  await panel("Plane of latents").getByLabel("B", { exact: true }).press("Enter");
  expect((await point()).plane.b.seed).toBe(3);
  await button("Back to A").click();
  expect(await settled()).toBe(before);
});

test("style mixing of ranges and single layers", async () => {
  const before = await settled();
  await openPanel("Style mixing");
  await button("+ coarse").click();
  await panel("Style mixing").getByLabel("Seed").fill("8");
  await panel("Style mixing").getByLabel("Seed").press("Enter");
  const coarse = await settled();
  await panel("Style mixing").getByLabel("Single layers").fill("14,15");
  await panel("Style mixing").getByLabel("Single layers").press("Enter");
  expect((await point()).mixes).toMatchObject([{ source: { seed: 8 }, layers: [0, 1, 2, 3, 4] }, { layers: [14, 15] }]);
  await panel("Style mixing").getByLabel("Layers", { exact: true }).nth(1).fill("99");
  await panel("Style mixing").getByLabel("Layers", { exact: true }).nth(1).press("Enter");
  expect(await panel("Style mixing").locator(".error:not(:empty)").textContent()).toContain("0 to 15");
  expect(coarse).not.toBe(before);
  await button("Remove this mix").nth(1).click();
  expect(await settled()).toBe(coarse);
});

test("the sheet of style mixing", async () => {
  await button("Sheet of two sets of seeds").click();
  await page.getByLabel("Rows: seeds").fill("0-1");
  await page.getByLabel("Rows: seeds").press("Enter");
  await page.getByLabel("Columns: seeds").fill("5,6,8");
  await page.getByLabel("Columns: seeds").press("Enter");
  await page.waitForFunction(
    () =>
      [...document.querySelectorAll<HTMLCanvasElement>(".mixing-grid canvas")].filter((canvas) => canvas.width > 1)
        .length ===
      3 + 2 * 4,
  );
  await audit("mixing");
  await page.getByRole("button", { name: "Open 1 with 8" }).click();
  await settled();
  expect((await point()).mixes[0]).toMatchObject({ source: { seed: 8 }, layers: [0, 1, 2, 3, 4] });
});

test("directions from a dropped file", async () => {
  const before = await settled();
  await drop("steer.npz");
  await openPanel("Directions");
  const first = panel("Directions").getByLabel("pc0 σ", { exact: true });
  await first.fill("3");
  expect((await point()).strengths).toEqual({ pc0: 3 });
  expect(await settled()).not.toBe(before);
  await openPanel("Plane of latents");
  await panel("Plane of latents").getByLabel("Spanned by").selectOption({ label: "pc0 and pc1" });
  await page.locator(".pad").focus();
  await page.keyboard.press("Shift+ArrowUp");
  expect((await point()).strengths).toEqual({ pc0: 3, pc1: 1 });
});

test("a link restores everything, in another page", async () => {
  await button("Keep this picture").click();
  await stage().focus();
  await page.keyboard.press("}");
  await expect.poll(() => page.url()).toContain("rotate:10"); // written a moment later
  const link = page.url();
  const here = await settled();
  await page.goto("about:blank");
  await page.goto(link);
  await expect.poll(async () => difference(await settled(), here), { timeout: 30000 }).toBeLessThanOrEqual(2);
  expect(await page.locator(".cards .card").count()).toBe(1);
  expect((await point()).strengths).toEqual({ pc0: 3, pc1: 1 });
});

// --- Files -----------------------------------------------------------------------------------------------------------

test("the picture and its latents are saved, for pytest to compare", async () => {
  const png = await saved(() => page.keyboard.press("d"));
  expect(png.name).toBe("seed0001.png");
  expect(png.data.includes("explorer.npz")).toBe(true);
  await saved(() => button("Save this as .npz").click());
  await go("#view=picture&p=seed:3;psi:0.7;rotate:30;x:0.25");
  await settled();
  await saved(() => page.keyboard.press("d"));
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await button("Copy command").click();
  await expect.poll(() => page.getByRole("button", { name: "Copied" }).count()).toBe(1);
  writeFileSync(join(OUT, "command.txt"), await page.evaluate(() => navigator.clipboard.readText()));
  expect(await page.locator(".notice").textContent()).toContain("uses version 6, the server's newest");
  await button("Close this notice").click();
});

test("latents of a file are opened, and files of other networks are refused in words", async () => {
  await drop("points.npz");
  await page.waitForFunction(() => document.querySelectorAll(".cards .card").length === 2);
  expect(await settled()).toBeTruthy();
  expect((await point()).source.name).toBe("seed 3, points");
  await drop("latents.npz");
  await page.waitForSelector(".notice");
  expect(await page.locator(".notice").textContent()).toContain(
    "latents.npz: ws of shape (2, 5, 4): this network takes (2, 16, 512)",
  );
  await button("Close this notice").click();
});

// --- Timeline -------------------------------------------------------------------------------------------------------

test("keyframes are played and saved as a film", async () => {
  await go("#view=picture&p=seed:1;psi:0.7&path=4,20,cubic,loop&f=seed:1;psi:0.7&f=seed:2;psi:0.7;x:0.1");
  await settled();
  await openPanel("Timeline");
  await page.locator("body").click({ position: { x: 300, y: 5 } });
  await page.keyboard.press("k");
  expect(await page.getByLabel("Keyframes").locator("li").count()).toBe(3);
  expect(await panel("Timeline").textContent()).toContain("12 frames, 0.6 seconds");
  const before = await picture();
  await page.keyboard.press(" ");
  await expect.poll(picture).not.toBe(before);
  await page.keyboard.press(" ");
  await button("Back to the picture").click();
  await expect.poll(settled).toBe(before);
  await saved(() => button("Save PNG frames").click());
  for (const kind of ["MP4", "WebM"]) {
    const film = await saved(() => button(`Save ${kind}`).click());
    expect(film.name).toBe(`path.${kind.toLowerCase()}`);
  }
  // A long film can be canceled, and leaves nothing.
  await panel("Timeline").getByLabel("Frames from one to the next").fill("600");
  await panel("Timeline").getByLabel("Frames from one to the next").press("Enter");
  let downloads = 0;
  page.on("download", () => downloads++);
  await button("Save MP4").click();
  await audit("timeline");
  await button("Cancel").click();
  await expect.poll(() => button("Cancel").isVisible()).toBe(false);
  expect(downloads).toBe(0);
  await panel("Timeline").getByLabel("Frames from one to the next").fill("4");
  await panel("Timeline").getByLabel("Frames from one to the next").press("Enter");
  await button("Remove keyframe 2").click();
  await button("Move keyframe 1 to the front").click();
  expect(await page.getByLabel("Keyframes").textContent()).toMatch(/seed 2.*seed 1/);
});

// --- Other versions, and servers -------------------------------------------------------------------------------------

test("two versions side by side", async () => {
  await openPanel("Compare");
  await page.getByLabel("Compare with").fill("@stable");
  await page.getByLabel("Compare with").press("Enter");
  const sides = () =>
    page.evaluate(() =>
      [...document.querySelectorAll<HTMLCanvasElement>(".stage canvas")].map((canvas) => canvas.toDataURL()),
    );
  await expect.poll(async () => new Set(await sides()).size).toBe(1); // the same version under its label
  await page.getByLabel("Compare with").fill("4");
  await page.getByLabel("Compare with").press("Enter");
  await expect.poll(async () => new Set(await sides()).size).toBe(2);
  await expect.poll(() => page.locator("figcaption").nth(1).textContent()).toContain("version 4 · 16 × 16");
  await page.getByLabel("Compare with").fill("99");
  await page.getByLabel("Compare with").press("Enter");
  await page.waitForSelector(".notice");
  // The picture of another version does not stay beside it.
  await expect.poll(() => page.locator("figcaption").nth(1).textContent()).toBe("No connection to 99");
  expect(await page.locator(".stage").nth(1).isVisible()).toBe(false);
  complaints.length = 0; // the browser reports the refusal too
  await button("Close this notice").click();
});

test("labels: classes by name, and vectors by sliders", async () => {
  await page.goto(`${base}model=fake&version=2#view=picture`);
  const first = await settled();
  const controls = panel("Seed and truncation").first();
  // Names are the server's, and show as text whatever they are.
  await expect.poll(() => controls.getByLabel("Class").textContent()).toBe("vector0 · <b>tabby</b>1 · manx");
  expect(await controls.locator("b").count()).toBe(0);
  await controls.getByLabel("Class").selectOption("1 · manx");
  const second = await settled();
  expect((await point()).label).toEqual([0, 1]);
  await controls.locator("summary", { hasText: "Label vector" }).click();
  await controls.getByLabel("<b>tabby</b>", { exact: true }).fill("0.5");
  const between = await settled();
  expect((await point()).label).toEqual([0.5, 1]);
  expect(await controls.getByLabel("Class").inputValue()).toBe(""); // it is no class
  await controls.getByLabel("manx, number", { exact: true }).fill("-2");
  await controls.getByLabel("manx, number", { exact: true }).press("Enter");
  const beyond = await settled();
  expect((await point()).label).toEqual([0.5, -2]);
  expect(new Set([first, second, between, beyond]).size).toBe(4);
  await audit("labels");
  await expect.poll(() => page.url()).toContain("label:0.5,-2");
  await page.getByRole("radio", { name: "Sheet" }).check();
  await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 30);
  await page.locator(".sheet-bar").getByLabel("Class").selectOption("0");
  expect((await point()).label).toEqual([1, 0]);
});

test("standardized labels have sliders in the unit of the data", async () => {
  await page.goto(`${base}model=fake&version=6#view=picture`);
  const first = await settled();
  expect((await point()).label).toEqual([0, 0]); // the means
  const controls = panel("Seed and truncation").first();
  const age = controls.getByLabel("Label 0", { exact: true });
  expect(await age.evaluate((input: HTMLInputElement) => [input.min, input.max, input.step, input.value])).toEqual(
    ["10", "70", "1", "40"], // of mean 40 and deviation 10
  );
  await age.fill("30");
  expect((await point()).label).toEqual([-1, 0]);
  const small = controls.getByLabel("Label 1, number", { exact: true });
  expect(await small.inputValue()).toBe("0.5");
  await small.fill("0.5035");
  await small.press("Enter");
  expect((await point()).label).toEqual([-1, expect.closeTo(1.75, 6)]); // of mean 0.5 and deviation 0.002
  expect(await small.inputValue()).toBe("0.5035");
  expect(await settled()).not.toBe(first);
  expect(await controls.getByLabel("Class").count()).toBe(0); // such numbers are no classes
  await audit("standardized labels");
});

test("a server that takes few rows in a request shows the sheet and names of classes", async () => {
  for (const limit of [1, 4, 6]) {
    await page.goto("about:blank"); // requests of the page before are over
    const sizes: number[] = [];
    await page.route("**/v1/**:predict", async (route) => {
      const { signature_name: signature, inputs } = route.request().postDataJSON();
      const [rows] = Object.values<unknown[]>(inputs);
      if (signature === "generate_png") sizes.push(rows!.length);
      if (rows!.length <= limit) return route.continue();
      const error = `too many images in one request: this model takes at most ${limit}`;
      return route.fulfill({ status: 400, headers: { "Access-Control-Allow-Origin": "*" }, json: { error } });
    });
    await page.goto(`${base}model=fake&version=2`);
    await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 30);
    await expect.poll(() => page.locator(".sheet-bar").getByLabel("Class").textContent()).toContain("1 · manx");
    expect(await page.locator(".notice").count()).toBe(0);
    expect(sizes[0]).toBe(1); // something of large networks shows soon
    if (limit > 1) expect(Math.max(...sizes)).toBeGreaterThan(1);
    expect(sizes.filter((size) => size > limit).length).toBeLessThanOrEqual(2); // requests that were under way
    await page.unrouteAll({ behavior: "wait" });
  }
  complaints.length = 0; // the status 400
});

test("pictures that are not square: cells, stage, transform and film", async () => {
  await page.goto(`${base}model=fake&version=5`);
  await page.waitForSelector('.cell.drawn[data-seed="3"]');
  const ratio = async (selector: string) => {
    const box = (await page.locator(selector).first().boundingBox())!;
    return box.width / box.height;
  };
  expect(await ratio(".cell.drawn")).toBeCloseTo(2, 1);
  await page.click('[data-seed="3"]');
  const before = await settled();
  expect(await page.locator(".model").textContent()).toContain("32 × 16");
  expect(await ratio(".stage")).toBeCloseTo(2, 1);
  const box = (await stage().boundingBox())!;
  await page.mouse.move(box.x + 100, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + 100, box.y + 20 + box.height / 2, { steps: 4 });
  await page.mouse.up();
  expect((await point()).y).toBeCloseTo(0.25, 2); // in widths
  expect(await settled()).not.toBe(before);
  await page.getByRole("radio", { name: "Transform undone" }).check();
  await settled();
  // Half of the picture was moved out of it.
  const alpha = await page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>(".stage canvas")!;
    const { data } = canvas.getContext("2d")!.getImageData(canvas.width / 2, 0, 1, canvas.height);
    return [0.25, 0.75].map((part) => data[4 * Math.floor(part * canvas.height) + 3]);
  });
  expect(alpha).toEqual([255, 0]);
  await page.getByRole("radio", { name: "Picture", exact: true }).nth(1).check();
  await openPanel("Timeline");
  await page.keyboard.press("k");
  await expect.poll(() => ratio(".cards .thumbnail")).toBeCloseTo(2, 1);
  await panel("Timeline").getByLabel("Frames from one to the next").fill("2");
  await panel("Timeline").getByLabel("Frames from one to the next").press("Enter");
  const [download] = await Promise.all([page.waitForEvent("download"), button("Save MP4").click()]);
  await download.saveAs(join(OUT, "wide.mp4"));
  await page.keyboard.press("m");
  await page.waitForFunction(() =>
    [...document.querySelectorAll<HTMLCanvasElement>(".mixing-grid canvas")].every(({ width }) => width > 1),
  );
  expect(await ratio(".mixing-grid .cell")).toBeCloseTo(2, 1);
});

test("a StyleGAN2 is not transformed, an old export is not steered", async () => {
  await page.goto(`${base}model=fake&version=4#view=picture`);
  await settled();
  expect(await panel("Transform").getByLabel("Rotate °", { exact: true }).isDisabled()).toBe(true);
  expect(await panel("Transform").textContent()).toContain("cannot be transformed");
  await page.goto(`${base}model=fake&version=@old#view=picture`);
  await settled();
  expect(await panel("Transform").textContent()).toContain("export it again");
  // What `synthesize_png` is needed for is gray; seeds, truncation and labels work.
  const gray = ["Transform", "Plane of latents", "Style mixing", "Directions", "Timeline", "Favorites and files"];
  for (const title of gray) {
    await openPanel(title);
    const controls = panel(title).locator("fieldset.plain");
    expect(await controls.evaluate((fieldset: HTMLFieldSetElement) => fieldset.disabled), title).toBe(true);
  }
  const controls = panel("Seed and truncation").first();
  expect(await controls.getByLabel("Cutoff style vectors", { exact: true }).isDisabled()).toBe(true);
  const before = await picture();
  await controls.getByLabel("Truncation psi", { exact: true }).fill("0.2");
  expect(await settled()).not.toBe(before);
  await page.keyboard.press("m");
  await expect.poll(() => page.locator(".mixing-grid").textContent()).toContain("export it again");
  await page.keyboard.press("s");
  await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 30);
  await audit("old export");
});

test("a lost server is noticed, and found again", async () => {
  await go("#view=picture");
  await settled();
  await page.route("**/v1/**", (route) => route.abort());
  await page.locator("body").click({ position: { x: 300, y: 5 } });
  await page.keyboard.press(".");
  await expect.poll(() => page.locator(".status").textContent()).toContain("server lost");
  await page.unroute("**/v1/**");
  await expect.poll(() => page.locator(".status").textContent(), { timeout: 30000 }).toContain("ready");
  await settled();
  expect(await page.evaluate(() => (window as any).explorer.view.stage.shown().point.source.seed)).toBe(1);
  complaints.length = 0; // the aborted requests
});

test("what a lost server left undone is told of, and a film continues with the frames that it has", async () => {
  await go("#view=picture&p=seed:1;psi:0.7&path=6,20,cubic,loop&f=seed:1;psi:0.7&f=seed:2;psi:0.7");
  await settled();
  await openPanel("Timeline");
  await sleep(300); // the list's own pictures
  let frames = 0;
  await page.route("**/v1/**", (route) => {
    if (route.request().postData()?.includes("synthesize_png")) frames++;
    return frames > 5 ? route.abort() : route.continue();
  });
  await button("Save PNG frames").click();
  const notice = (name: string) => page.locator(".notice", { hasText: `${name} was not saved: No answer from` });
  await notice("path.zip").waitFor();
  await page.keyboard.press("d");
  await notice("seed0001.png").waitFor();
  await page.unroute("**/v1/**");
  await expect.poll(() => page.locator(".status").textContent(), { timeout: 30000 }).toContain("ready");
  await settled();
  const before = requests.length;
  for (const name of ["path.zip", "seed0001.png"]) {
    const again = notice(name).getByRole("button", { name: "Try again" });
    const [download] = await Promise.all([page.waitForEvent("download"), again.click()]);
    expect(download.suggestedFilename()).toBe(name);
  }
  const sent = requests.slice(before).filter((each) => each.postData()?.includes("synthesize_png"));
  expect(sent.length).toBeLessThan(12); // 7 frames, a picture, and perhaps those of the list
  expect(await page.locator(".notice").count()).toBe(0);
  complaints.length = 0; // the aborted requests
});

test("an error of the server is shown as text, with a way to try again", async () => {
  const markup = "<img src=x onerror=alert(1)>";
  await page.route("**/v1/**", (route) => route.fulfill({ status: 500, json: { error: markup } }));
  await page.keyboard.press(".");
  await page.waitForSelector(".notice");
  expect(await page.locator(".notice").textContent()).toContain(markup);
  expect(await page.locator(".notice img").count()).toBe(0);
  await page.unroute("**/v1/**");
  await button("Try again").click();
  await settled();
  complaints.length = 0; // the status 500
});

test("hostile metadata shows as text", async () => {
  const markup = "<script>alert(1)</script>";
  await page.route("**/metadata", (route) =>
    route.fulfill({
      json: {
        metadata: {
          signature_def: {
            signature_def: {
              [markup]: {},
              map: { inputs: { z: { tensor_shape: { dim: [{ size: "-1" }, { size: "1e300" }] } } } },
            },
          },
        },
      },
    }),
  );
  await page.goto(`${base}model=fake&server=${encodeURIComponent(api)}`);
  await page.waitForSelector(".connection:not([hidden])");
  expect(await page.locator(".connection").textContent()).toMatch(/not a generator|takes up to/);
  await audit("connection");
  await page.unroute("**/metadata");
  await page.goto(`${base}model=${encodeURIComponent(markup)}`);
  await page.waitForSelector(".connection:not([hidden])");
  expect(await page.getByLabel("Model", { exact: true }).inputValue()).toBe(markup);
  complaints.length = 0; // the status 404
});

test("the browser refuses requests to anything else", async () => {
  await go("#view=picture");
  await settled();
  const other = api.replace("127.0.0.1", "localhost");
  expect(
    await page.evaluate(
      (url) =>
        fetch(url).then(
          () => "sent",
          () => "refused",
        ),
      other,
    ),
  ).toBe("refused");
  const inline = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.wasRun = true";
    document.head.append(script);
    return "wasRun" in window;
  });
  expect(inline).toBe(false);
  expect(complaints.splice(0).join()).toContain("Content Security Policy");
});

test.skipIf(isStock)("a static host, and a server that speaks TensorFlow Serving's REST forms alone", async () => {
  const [host, files] = await staticHost();
  const [stock, passing] = await stockServer(SERVER);
  await page.goto(`${host}/?server=${stock}&model=fake&version=1`);
  await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 30);
  await page.click('[data-seed="5"]');
  const before = await settled();
  await stage().focus();
  await page.keyboard.press("Shift+ArrowDown");
  expect(await settled()).not.toBe(before);
  await page.keyboard.press("m");
  await page.waitForFunction(() => document.querySelectorAll(".mixing-grid canvas").length === 4 + 5 * 5);
  await page.goto(`${host}/?server=${stock}&model=fake&version=2#view=picture`);
  await settled();
  complaints.length = 0;
  const elsewhere = (mode: RequestMode) =>
    page.evaluate(
      ([url, mode]) =>
        fetch(url!, { mode: mode as RequestMode }).then(
          () => "sent",
          () => "refused",
        ),
      [SERVER, mode],
    );
  expect(await elsewhere("no-cors")).toBe("refused"); // only the chosen server may be asked, by the page's own policy
  expect(complaints.splice(0).join()).toContain("Content Security Policy");
  await page.goto("about:blank");
  for (const server of [files, passing]) (server.closeAllConnections(), server.close());
  expect(undocumented).toEqual([]);
});

// --- Many requests, and mistakes ------------------------------------------------------------------------------------

/** Let pictures of style vectors take longer; returns how many were asked for, and the most at a time. */
async function slowPictures(milliseconds: number): Promise<{ sent: number; most: number }> {
  const count = { sent: 0, most: 0 };
  let running = 0;
  await page.route("**/*:predict", async (route) => {
    if (!route.request().postData()?.includes("synthesize_png")) return route.continue();
    count.sent++;
    count.most = Math.max(count.most, ++running);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    const response = await route.fetch();
    running--;
    await route.fulfill({ response });
  });
  return count;
}

const sleep = (milliseconds: number) => page.waitForTimeout(milliseconds);

test("pictures of a list are asked for two at a time, and each once", async () => {
  await page.goto("about:blank");
  const count = await slowPictures(50);
  const kept = Array.from({ length: 12 }, (_, i) => `k=${i}~seed:${i};psi:0.7`);
  await page.goto(`${base}model=fake&version=1#view=picture&${kept.join("&")}`);
  await expect.poll(() => count.sent).toBe(13);
  await settled();
  expect(count.most).toBeLessThanOrEqual(3); // and the picture itself
  await button("Keep this picture").click();
  await sleep(500);
  expect(count.sent).toBe(14);
  await page.unrouteAll({ behavior: "wait" });
});

test("the frames of a path are asked for one at a time while the slider moves, and not shown afterwards", async () => {
  await go("#view=picture&p=seed:1;psi:0.7&path=9,20,cubic,loop&f=seed:1;psi:0.7&f=seed:2;psi:0.7");
  const before = await settled();
  await openPanel("Timeline");
  await sleep(300); // the list's own pictures
  const count = await slowPictures(200);
  const frame = panel("Timeline").getByLabel("Frame", { exact: true });
  const seek = (numbers: number[]) =>
    frame.evaluate((input: HTMLInputElement, values) => {
      for (const value of values) {
        input.value = String(value);
        input.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }, numbers);
  await seek([1, 2, 3, 4, 5, 6, 7, 8]);
  await expect.poll(picture).not.toBe(before);
  await sleep(600);
  expect(count).toEqual({ sent: 2, most: 1 }); // the first one and the newest
  await button("Back to the picture").click();
  await expect.poll(picture).toBe(before);
  await seek([10]);
  await button("Back to the picture").click();
  await sleep(800);
  expect(await settled()).toBe(before);
  await page.unrouteAll({ behavior: "wait" });
});

test("up to eight frames ahead are requested while a path is played", async () => {
  await go("#view=picture&p=seed:1;psi:0.7&path=600,2,cubic,loop&f=seed:1;psi:0.7&f=seed:2;psi:0.7");
  await settled();
  await openPanel("Timeline");
  await sleep(300); // the list's own pictures
  const count = await slowPictures(0);
  await button("Play").click();
  const frame = panel("Timeline").getByLabel("Frame", { exact: true });
  await expect.poll(async () => count.sent - Number(await frame.inputValue())).toBe(9); // with the one that is shown
  await button("Stop").click();
  await page.unrouteAll({ behavior: "wait" });
});

test("a path is not played on while nobody sees the page", async () => {
  await go("#view=picture&p=seed:1;psi:0.7&path=600,60,cubic,loop&f=seed:1;psi:0.7&f=seed:2;psi:0.7");
  await settled();
  const count = await slowPictures(20);
  await page.keyboard.press(" ");
  await expect.poll(() => count.sent).toBeGreaterThan(5);
  const hide = (isHidden: boolean) =>
    page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
  await hide(true);
  await sleep(300);
  const { sent } = count;
  await sleep(500);
  expect(count.sent).toBe(sent);
  await hide(false);
  await expect.poll(() => count.sent).toBeGreaterThan(sent + 5);
  await page.keyboard.press(" ");
  await page.unrouteAll({ behavior: "wait" });
});

test("the sheet of style mixing waits while nobody sees it", async () => {
  await page.goto("about:blank");
  const count = await slowPictures(100);
  await page.goto(`${base}model=fake&version=1#view=mixing&mixing=0-3~4-9~coarse`);
  await expect.poll(() => count.sent).toBeGreaterThan(3);
  await page.keyboard.press("p");
  await sleep(800);
  const { sent } = count;
  expect(sent).toBeLessThan(4 + 7 * 5);
  await sleep(500);
  expect(count.sent).toBe(sent);
  await page.keyboard.press("m");
  await page.waitForFunction(() =>
    [...document.querySelectorAll<HTMLCanvasElement>(".mixing-grid canvas")].every(({ width }) => width > 1),
  );
  expect(count.sent).toBe(1 + 4 + 6 + 4 * 6); // each once, and the picture
  await page.unrouteAll({ behavior: "wait" });
});

test("pictures are asked for again after a new connection, as the model may be another one", async () => {
  await page.goto(`${base}model=fake&version=1`);
  await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 30);
  const sent = () => page.evaluate(() => (window as any).explorer.app.server.count.sent);
  await expect.poll(() => page.locator(".status").textContent()).toContain("ready");
  const before = await sent();
  await page.evaluate(() => (window as any).explorer.app.connect());
  await expect.poll(sent).toBeGreaterThan(before + 3);
});

test("numbers beyond the limits, and mistakes that are over, do not stay in sight", async () => {
  await go("");
  const psi = page.locator(".sheet-bar").getByLabel("Truncation psi, number");
  await psi.fill("5");
  await psi.press("Enter");
  expect([await psi.inputValue(), (await point()).psi]).toEqual(["2", 2]);
  await psi.fill("");
  await psi.press("Enter");
  expect(await psi.inputValue()).toBe("2");
  await page.getByLabel("First seed").fill("x");
  await page.getByLabel("First seed").press("Enter");
  expect(await page.locator(".sheet-bar .error:not(:empty)").count()).toBe(1);
  await page.locator(".sheet-bar").getByRole("button", { name: "Random" }).click();
  expect(await page.locator(".sheet-bar .error:not(:empty)").count()).toBe(0);
  expect(await page.getByLabel("First seed").getAttribute("aria-invalid")).toBe(null);
});

test("a link that cannot be read leaves everything as it is", async () => {
  await go("#view=picture&p=seed:12;psi:0.7");
  await settled();
  await page.evaluate(() => void (location.hash = "p=seed:-1"));
  await page.waitForSelector(".notice");
  expect((await point()).source.seed).toBe(12);
});

test("the last seed has none after it", async () => {
  await go("#view=picture&p=seed:4294967295;psi:0.7");
  await settled();
  await page.keyboard.press(".");
  await button("Next seed").click();
  expect((await point()).source.seed).toBe(4294967295);
  await openPanel("Plane of latents");
  expect(await panel("Plane of latents").getByLabel("C", { exact: true }).inputValue()).toBe("4294967295");
  await settled();
  expect(await page.locator(".notice").count()).toBe(0);
});

test("labels in links of other networks are replaced by those of this one", async () => {
  await go("#view=picture&p=seed:1;psi:0.7;label:0,1");
  await settled();
  expect((await point()).label).toBe(null);
  await page.goto("about:blank");
  await page.goto(`${base}model=fake&version=2#view=picture&p=seed:1;psi:0.7;label:0,0,1`);
  await settled();
  expect((await point()).label).toEqual([1, 0]);
});

test("a picture that is moved out of view has nothing to compare", async () => {
  await go("#view=picture&look=difference&p=seed:1;psi:0.7;x:2");
  await settled();
  expect(await page.locator(".stage-note").first().textContent()).toBe("moved out of view: nothing to compare");
});

test("brackets turn the picture on keyboards that have them behind Alt", async () => {
  await go("#view=picture");
  await settled();
  const press = (key: string) =>
    stage().evaluate(
      (element, name) =>
        element.dispatchEvent(new KeyboardEvent("keydown", { key: name, altKey: true, bubbles: true })),
      key,
    );
  await press("]");
  await press("ArrowLeft"); // the browser's
  expect(await point()).toMatchObject({ rotate: 1, x: 0 });
});

test("a key that is held down keeps one picture, and walks through many seeds", async () => {
  await go("#view=picture");
  await settled();
  for (const key of ["f", "."]) {
    await page.keyboard.down(key);
    await page.keyboard.down(key); // as the keyboard repeats it
    await page.keyboard.up(key);
  }
  expect(await page.getByLabel("Kept pictures").locator("li").count()).toBe(1);
  expect((await point()).source.seed).toBe(2);
  await openPanel("Timeline");
  await panel("Timeline").getByLabel("Frames per second").fill("61");
  await panel("Timeline").getByLabel("Frames per second").press("Enter");
  const error = panel("Timeline").locator(".error:not(:empty)");
  expect(await error.textContent()).toBe("61: give a whole number from 1 to 60");
});

test("a button that was clicked twice says again what it does", async () => {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await button("Copy link").click();
  await sleep(400);
  await button("Copied").click();
  await sleep(2000);
  expect(await button("Copy link").count()).toBe(1);
});

test("Enter connects", async () => {
  await page.goto(`${base}model=none`);
  await page.waitForSelector(".connection:not([hidden])");
  await page.getByLabel("Model", { exact: true }).fill("fake");
  await page.getByLabel("Version, or @label").fill("1");
  await page.getByLabel("Version, or @label").press("Enter");
  await page.waitForSelector(".cell.drawn");
  complaints.length = 0; // the status 404
});

test("a browser whose storage is turned off shows the page", async () => {
  const other = await newPage(browser);
  await other.addInitScript(() =>
    Object.defineProperty(window, "localStorage", {
      get() {
        throw new DOMException("Access is denied for this document.", "SecurityError");
      },
    }),
  );
  await other.goto(`${base}model=fake&version=1`);
  await other.waitForSelector(".cell.drawn");
  await other.getByRole("button", { name: "Light or dark" }).click();
  expect(await other.evaluate(() => document.documentElement.dataset.theme)).toBeTruthy();
  await other.close();
});

test("a link that is longer than browsers open is told of, once", async () => {
  await go("#view=picture");
  await settled();
  const keep = (count: number) =>
    page.evaluate((most) => {
      const { store } = (window as any).explorer.app;
      const styles = (seed: number) => Float32Array.from({ length: 16 * 512 }, (_, i) => Math.sin(i + seed));
      const source = (seed: number) => ({ kind: "styles", name: "w", ws: styles(seed), wDim: 512, transform: null });
      const pointOf = (seed: number) => ({ ...store.state.point, source: source(seed) });
      store.change({ kept: Array.from({ length: most }, (_, i) => ({ name: "w", point: pointOf(i) })) });
    }, count);
  await keep(40);
  await sleep(1000);
  expect(await page.locator(".notice").count()).toBe(0);
  await keep(50);
  const notice = () => page.locator(".notice").textContent();
  await expect.poll(notice).toContain("The link has 2.2 MB, more than browsers open");
  await button("Close this notice").click();
  await keep(51);
  await sleep(1000);
  expect(await page.locator(".notice").count()).toBe(0);
});

test("a page at an IPv6 address asks its own server; another one there is refused in words", async ({ skip }) => {
  const found = await serverByNumber(SERVER).catch(() => null);
  if (!found) return skip("this machine has no IPv6");
  const [host, server] = found;
  await page.goto(`${host}/?model=fake&version=1`);
  await page.waitForSelector(".cell.drawn");
  await page.goto(`${base}server=${encodeURIComponent(host)}`.replace(/server=http:[^&]*&(?=server)/, ""));
  await page.waitForSelector(".notice");
  expect(await page.locator(".notice").textContent()).toContain(`server=${host}: give the name of the server`);
  await page.goto("about:blank");
  (server.closeAllConnections(), server.close());
});

// --- Looks -----------------------------------------------------------------------------------------------------------

test("dark, light, phone: readable and without sideways scrolling", async () => {
  await go("#view=picture");
  await settled();
  for (const theme of ["dark", "light"]) {
    if ((await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme)) !== theme)
      await button("Light or dark").click();
    await audit(theme);
  }
  await button("Keys").click();
  await audit("keys");
  await button("Close").click();
  await page.setViewportSize({ width: 390, height: 780 });
  await settled();
  for (const view of ["picture", "sheet", "mixing"]) {
    await page.keyboard.press(view[0]!);
    await page.waitForTimeout(100);
    const size = await page.evaluate(() => [document.body.scrollWidth, document.documentElement.scrollHeight]);
    expect(size, view).toEqual([390, 780]); // the panels scroll, the page does not
  }
  await audit("phone");
});

test("every request was one of TensorFlow Serving's REST interface", () => {
  const others: string[] = [];
  let count = 0;
  for (const request of requests) {
    const { origin, pathname, search, protocol } = new URL(request.url());
    if (origin !== api || protocol === "blob:" || pathname.startsWith("/explorer/")) continue;
    count++;
    const call = { method: request.method(), path: pathname + search, body: request.postData() ?? "" };
    const problem = problemOf(call);
    if (problem) others.push(`${call.method} ${call.path}: ${problem}`);
    if (!call.body) continue;
    const body = JSON.parse(call.body);
    expect(["map", "synthesize_png", "generate_png", "class_name", "label_scale"]).toContain(body.signature_name);
    const rows = new Set(Object.values<unknown[]>(body.inputs).map((input) => input.length));
    expect(rows.size, body.signature_name).toBe(1); // a server that batches takes inputs with rows only
  }
  expect(others).toEqual([]);
  expect(undocumented).toEqual([]);
  expect(count).toBeGreaterThan(100);
});
