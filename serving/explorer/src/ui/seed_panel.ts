/** The panel of seed, truncation and label. */

import type { App } from "../app";
import { button, field, h } from "./dom";
import { changer, panel } from "./panel";
import { randomSeed, readSeed, stepSeed } from "./seeds";
import { truncation } from "./truncation";

export function seedPanel(app: App): HTMLElement {
  const { store } = app;
  const { change } = changer(app);
  const seed = field("Seed", { inputmode: "numeric" }, (text) =>
    change({ source: { kind: "seed", seed: readSeed(text) } }),
  );
  const step = (by: number) => () => store.change({ point: stepSeed(store.state.point, by) });
  const origin = h("p", { class: "muted" });
  store.listen(({ point }) => {
    seed.set(point.source.kind === "seed" ? String(point.source.seed) : "");
    origin.textContent = point.source.kind === "seed" ? "" : `From a file: ${point.source.name}`;
  });
  const row = h(
    "div",
    { class: "row" },
    seed.element,
    button("−", step(-1), { "aria-label": "Previous seed" }),
    button("+", step(1), { "aria-label": "Next seed" }),
    button("Random", () => change({ source: { kind: "seed", seed: randomSeed() } }), { title: "r" }),
  );
  return panel("Seed and truncation", true, row, origin, truncation(app));
}
