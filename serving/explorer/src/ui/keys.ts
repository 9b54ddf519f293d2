/** Keys that work everywhere except in text fields. */

import type { App } from "../app";
import type { PictureView } from "./picture_view";
import { randomSeed, stepSeed } from "./seeds";

const REPEATED = ["r", ",", "."]; // while held down; repeating others would add or save a picture each time

export function handleKeys(app: App, view: PictureView): void {
  const { store } = app;
  const seedBy = (by: number) => store.change({ point: stepSeed(store.state.point, by) });
  const actions: Record<string, () => void> = {
    s: () => store.replace({ view: "sheet" }),
    p: () => store.replace({ view: "picture" }),
    m: () => store.replace({ view: "mixing" }),
    r: () => store.change({ point: { ...store.state.point, source: { kind: "seed", seed: randomSeed() } } }),
    ",": () => seedBy(-1),
    ".": () => seedBy(1),
    f: () => view.keep(),
    k: () => view.addKeyframe(),
    d: () => view.downloadPicture(),
    " ": () => view.play(),
    "?": () => document.getElementById("help")?.click(),
  };
  window.addEventListener("keydown", (event) => {
    const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    const target = event.target as HTMLElement;
    const isText = target.matches("input:not([type=range], [type=radio], [type=checkbox]), select, textarea");
    if (isUndo && !isText) {
      event.preventDefault();
      if (event.shiftKey) store.redo();
      else store.undo();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isText || document.querySelector("dialog[open]")) return;
    if (event.key === " " && target.matches("button, summary, input")) return; // activates it
    const action = actions[event.key];
    if (!action || (event.repeat && !REPEATED.includes(event.key))) return;
    event.preventDefault();
    action();
  });
}
