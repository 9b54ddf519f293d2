/**
 * Pictures of docs/explorer.md: SERVER=http://127.0.0.1:8501 FILES=folder node tests/docs_pictures.mjs OUT
 * The server has portraits-64 as version 1, the same with bf16 as version 2, and portraits-32-conditional as version 3;
 * FILES has pca.npz of sg3tf edit and favorites.npz of sg3tf generate, of portraits-64.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { SERVER, FILES } = process.env;
const out = process.argv[2];
const browser = await chromium.launch({
  executablePath: process.env.EXPLORER_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage({ viewport: { width: 1120, height: 700 }, colorScheme: "dark" });
page.on("pageerror", (error) => console.log(String(error)));

async function settled() {
  await page.waitForTimeout(400);
  await page.waitForFunction(() => window.explorer.app.health === "ready" && !window.explorer.view.stage.latest.isBusy);
}

async function open(fragment, ...panels) {
  await openVersion(1, fragment, ...panels);
}

async function openVersion(version, fragment, ...panels) {
  await page.goto("about:blank");
  await page.goto(`${SERVER}/explorer/?model=sg3&version=${version}#${fragment}`);
  await page.waitForFunction(() => window.explorer?.app.health === "ready");
  await page.evaluate((titles) => {
    for (const details of document.querySelectorAll("details")) {
      details.open = titles.includes(details.querySelector("summary").textContent);
    }
  }, panels);
  await settled();
}

async function drop(name) {
  const text = readFileSync(join(FILES, name)).toString("base64");
  await page.evaluate(
    ([name, text]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    },
    [name, text],
  );
  await settled();
}

const shoot = (name) => page.screenshot({ path: join(out, `explorer-${name}.png`) });

const began = Date.now();
await page.goto(`${SERVER}/explorer/?model=sg3&version=1`);
await page.waitForFunction(() => document.querySelectorAll(".cell.drawn").length >= 35);
console.log("milliseconds to the sheet:", Date.now() - began);
await settled();
await shoot("sheet");
await open("view=picture&look=difference&p=seed:11;psi:0.7;rotate:12;x:0.15;y:0.05", "Transform");
await shoot("difference");
await open("view=picture&look=undone&p=seed:11;psi:0.7;rotate:12;x:0.15;y:0.05", "Seed and truncation", "Transform");
await shoot("undone");
await open("view=picture&p=seed:5;psi:0.7;plane:11,19,0.35,0.4", "Plane of latents");
await shoot("plane");
await open("view=picture&p=seed:5;psi:0.7;mix:19@0-4;mix:33@13-15", "Style mixing");
await shoot("mixing");
await open("view=mixing&p=seed:0;psi:0.7&mixing=1-4~6,11,19,31,33~coarse");
await page.waitForFunction(() =>
  [...document.querySelectorAll(".mixing-grid canvas")].every((canvas) => canvas.width > 1),
);
await settled();
await shoot("mixing-sheet");
await open("view=picture&p=seed:11;psi:0.7", "Directions");
await drop("pca.npz");
await page.getByLabel("pc0 σ", { exact: true }).fill("2.5");
await page.getByLabel("pc1 σ", { exact: true }).fill("-1.5");
await settled();
await shoot("directions");
await open(
  "view=picture&p=seed:5;psi:0.7&f=seed:5;psi:0.7&f=seed:11;psi:0.7;rotate:15&f=seed:19;psi:0.7" +
    "&f=seed:33;psi:0.7;x:0.1",
  "Timeline",
);
await page.waitForTimeout(1000);
await page.getByRole("button", { name: "Save MP4" }).scrollIntoViewIfNeeded();
await shoot("time-line");
await open("view=picture&p=seed:6;psi:0.7;rotate:20&compare=2", "Compare");
await shoot("compare");
await open("view=picture&p=seed:5;psi:0.7", "Favorites and files");
await drop("favorites.npz");
await page.waitForTimeout(800);
await shoot("files");
await openVersion(3, "view=picture&p=seed:5;psi:0.7", "Seed and truncation", "Label vector");
await page.waitForFunction(() => document.querySelector("option:nth-child(2)")?.textContent.includes("·"));
await page.getByLabel("Class").last().selectOption("3");
await settled();
await shoot("labels");
await page.emulateMedia({ colorScheme: "light" });
await page.setViewportSize({ width: 390, height: 700 });
await open("view=picture&p=seed:19;psi:0.7", "Seed and truncation");
await shoot("phone");
await page.setViewportSize({ width: 1120, height: 700 });
await page.goto(`${SERVER}/explorer/?model=none`);
await page.waitForSelector(".connection:not([hidden])");
await page.screenshot({ path: join(out, "connection.png") });
await browser.close();
