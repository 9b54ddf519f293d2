/** A browser and a page on the server that pytest started. */

import { chromium, type Browser, type Page } from "playwright-core";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const SERVER = process.env.EXPLORER_SERVER ?? "";

/** Messages of the console and errors of the page; tests expect none. */
export const complaints: string[] = [];

export async function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: process.env.EXPLORER_CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

export async function newPage(browser: Browser, options: Parameters<Browser["newPage"]>[0] = {}): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, acceptDownloads: true, ...options });
  page.setDefaultTimeout(90_000);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return page;
}
