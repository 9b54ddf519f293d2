/** The panel of directions, with a slider for each. */

import type { App } from "../app";
import { button, h, slider } from "./dom";
import { changer, panel } from "./panel";

export function directionsPanel(app: App, open: () => void): HTMLElement {
  const { store } = app;
  const { live, commit, change } = changer(app);
  const list = h("div", {});
  let sliders: { name: string; set: (value: number) => void }[] = [];
  store.listen((state, before) => {
    if (state.directions !== before?.directions) {
      const made = state.directions.map(({ name }) => ({
        name,
        ...slider(
          { label: name, unit: "σ", min: -6, max: 6, step: 0.1, rest: 0 },
          (value) => live({ strengths: { ...store.state.point.strengths, [name]: value } }),
          commit,
        ),
      }));
      list.replaceChildren(...made.map((each) => each.element));
      sliders = made;
    }
    for (const each of sliders) each.set(state.point.strengths[each.name] ?? 0);
  });
  const controls = h(
    "fieldset",
    { class: "plain" },
    list,
    h(
      "div",
      { class: "row" },
      button("Open a file", open),
      button("All to 0", () => change({ strengths: {} })),
    ),
  );
  app.whenReady(({ facts }) => (controls.disabled = !facts.canSteer));
  return panel(
    "Directions",
    false,
    h("p", { class: "muted" }, "Drop a file here that was written by sg3tf edit --save_directions."),
    controls,
  );
}
