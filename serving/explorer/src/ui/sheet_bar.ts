/** Controls above the sheet of seeds. */

import type { App } from "../app";
import { button, field, h } from "./dom";
import { randomSeed, readSeed } from "./seeds";
import { truncation } from "./truncation";

export function sheetBar(app: App): HTMLElement {
  const { store } = app;
  const from = field("First seed", { inputmode: "numeric" }, (text) => store.change({ firstSeed: readSeed(text) }));
  const random = button("Random", () => store.change({ firstSeed: randomSeed() }));
  const bar = h(
    "section",
    { class: "sheet-bar", "aria-label": "Seeds" },
    h("div", { class: "row" }, from.element, random),
    truncation(app),
  );
  store.listen((state) => {
    from.set(String(state.firstSeed));
    bar.hidden = state.view !== "sheet";
  });
  return bar;
}
