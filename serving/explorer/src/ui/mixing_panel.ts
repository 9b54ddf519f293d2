/** The panel of style mixing: layers from other seeds. */

import type { App } from "../app";
import { formatLayers, parseLayers } from "../latents";
import { sourceName, type Mix } from "../point";
import { button, field, h } from "./dom";
import { changer, panel } from "./panel";
import { randomSeed, readSeed } from "./seeds";

export function mixingPanel(app: App): HTMLElement {
  const { store } = app;
  const { change } = changer(app);
  const rows = h("div", {});
  let numWs = 16;
  const replace = (index: number, mix: Mix | null) => {
    const mixes = [...store.state.point.mixes];
    mixes.splice(index, 1, ...(mix ? [mix] : []));
    change({ mixes });
  };
  const add = (layers: readonly number[]) =>
    change({ mixes: [...store.state.point.mixes, { source: { kind: "seed", seed: randomSeed() }, layers }] });
  const show = () => {
    rows.replaceChildren(
      ...store.state.point.mixes.map((mix, i) => {
        const seed = field(
          "Seed",
          { inputmode: "numeric", value: sourceName(mix.source).replace(/^seed /, "") },
          (text) => replace(i, { ...mix, source: { kind: "seed", seed: readSeed(text) } }),
        );
        const layers = field(
          "Layers",
          { value: formatLayers(mix.layers), title: "coarse, middle, fine, or numbers: 0-6,9" },
          (text) => replace(i, { ...mix, layers: parseLayers(text, numWs) }),
        );
        const roll = button("Random", () => replace(i, { ...mix, source: { kind: "seed", seed: randomSeed() } }));
        return h(
          "div",
          { class: "row mix" },
          seed.element,
          layers.element,
          roll,
          button("×", () => replace(i, null), { "aria-label": "Remove this mix" }),
        );
      }),
    );
  };
  const adders = (["coarse", "middle", "fine"] as const).map((range) =>
    button(`+ ${range}`, () => add(parseLayers(range, numWs))),
  );
  const single = field("Single layers", { placeholder: "0-2,9" }, (text) => {
    if (!text) return;
    add(parseLayers(text, numWs));
    single.input.value = "";
  });
  const controls = h(
    "fieldset",
    { class: "plain" },
    rows,
    h("div", { class: "row" }, ...adders),
    single.element,
    button("Sheet of two sets of seeds", () => store.replace({ view: "mixing" })),
  );
  app.whenReady(({ facts }) => {
    numWs = facts.numWs;
    controls.disabled = !facts.canSteer;
  });
  store.listen(({ point }, before) => {
    if (point.mixes !== before?.point.mixes) show();
  });
  return panel(
    "Style mixing",
    false,
    h("p", { class: "muted" }, "Take some layers' style vectors from other seeds."),
    controls,
  );
}
