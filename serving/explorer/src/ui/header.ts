/** The bar at the top: the model, the two views, undo and redo, the link, light and dark. */

import type { App } from "../app";
import { titleOf } from "../server";
import { button, choices, h } from "./dom";
import type { PictureView } from "./picture_view";

const STATUS_MS = 500;

export function header(app: App, view: PictureView): HTMLElement {
  const { store, address } = app;
  const model = h("span", { class: "model" }, address.model);
  const status = h("span", { class: "status", role: "status" });
  const views = choices(
    "View",
    [
      ["sheet", "Sheet"],
      ["picture", "Picture"],
      ["mixing", "Mixing"],
    ],
    (value) => store.replace({ view: value }),
  );
  const undo = button("↶", () => store.undo(), { "aria-label": "Undo", title: "Undo (Ctrl Z)" });
  const redo = button("↷", () => store.redo(), { "aria-label": "Redo", title: "Redo (Ctrl Shift Z)" });
  const link = button("Copy link", () => void view.copyLink(link), { title: "The link restores everything" });
  const theme = button("◐", nextTheme, { "aria-label": "Light or dark", title: "Light or dark" });
  const help = button("?", () => dialog.showModal(), { "aria-label": "Keys", title: "Keys (?)", id: "help" });
  const dialog = keysDialog();
  app.whenReady(({ facts, version }) => {
    model.textContent = titleOf({ ...address, version: address.version ?? version }, facts);
  });
  let timer = 0;
  const showStatus = () => {
    timer = 0;
    const words = { connecting: "connecting", ready: "ready", busy: "working", lost: "server lost, trying again" };
    const latency = app.latency && app.health !== "lost" ? ` · ${Math.round(app.latency)} ms` : "";
    status.dataset.health = app.health;
    const text = words[app.health] + latency;
    if (status.textContent !== text) status.textContent = text;
  };
  // Not for every picture during dragging, because screen readers read it aloud.
  app.watch(() => (timer ||= window.setTimeout(showStatus, STATUS_MS)));
  store.listen((state) => {
    views.set(state.view);
    undo.disabled = !store.canUndo;
    redo.disabled = !store.canRedo;
  });
  applyTheme(storage()?.getItem("theme") ?? null);
  return h(
    "header",
    {},
    h("h1", {}, "sg3tf explorer"),
    model,
    views.element,
    h("span", { class: "space" }),
    status,
    h("div", { class: "row tools" }, undo, redo, link, theme, help),
    dialog,
  );
}

function nextTheme(): void {
  const isDark = getComputedStyle(document.documentElement).colorScheme !== "light";
  applyTheme(isDark ? "light" : "dark");
  storage()?.setItem("theme", isDark ? "light" : "dark");
}

/** Return the browser's storage; null if it is turned off. */
function storage(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

function applyTheme(theme: string | null): void {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

const KEYS: readonly (readonly [string, string])[] = [
  ["s, p, m", "sheet, picture, mixing"],
  ["r", "random seed"],
  [", and .", "previous and next seed"],
  ["Arrow keys on the picture", "move it; with Shift, ten times as far"],
  ["[ and ]", "rotate the picture; with Shift, by ten degrees"],
  ["0 on the picture", "undo its motion"],
  ["f", "keep as favorite"],
  ["k", "add as keyframe"],
  ["Space", "play or stop the path"],
  ["d", "download the picture"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
];

function keysDialog(): HTMLDialogElement {
  const rows = KEYS.map(([key, meaning]) => h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, meaning)));
  const dialog: HTMLDialogElement = h(
    "dialog",
    { "aria-label": "Keys" },
    h("h2", {}, "Keys"),
    h("table", {}, ...rows),
    button("Close", () => dialog.close(), { class: "primary" }),
  );
  return dialog;
}
