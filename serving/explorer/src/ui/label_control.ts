/** The label of a picture: a class, by name if the model has names, or a vector with a slider per number. */

import type { App } from "../app";
import { MOST_NAMES, type Generator } from "../generator";
import { classOf, type Point } from "../point";
import { freshId, h, slider } from "./dom";
import { changer } from "./panel";

const MOST_SLIDERS = 64;

export interface LabelControl {
  readonly element: HTMLElement;
  set(point: Point): void;
}

export function labelControl(app: App, generator: Generator): LabelControl {
  const { live, commit, change } = changer(app);
  const { labelDim, hasNames } = generator.facts;
  const vectorOf = (point: Point) => (point.label?.length === labelDim ? point.label : oneHot(-1, labelDim));
  const id = freshId();
  const options = Array.from({ length: Math.min(labelDim, MOST_NAMES) }, (_, i) =>
    h("option", { value: i }, `class ${i}`),
  );
  const select = h(
    "select",
    { id, onchange: () => select.value && change({ label: oneHot(Number(select.value), labelDim) }) },
    h("option", { value: "" }, "vector"),
    ...options,
  );
  const sliders = Array.from({ length: Math.min(labelDim, MOST_SLIDERS) }, (_, i) =>
    slider(
      { label: `Label ${i}`, min: 0, max: 1, step: 0.05 },
      (value) => live({ label: vectorOf(app.store.state.point).map((each, k) => (k === i ? value : each)) }),
      commit,
    ),
  );
  if (hasNames) {
    void app.attempt(async () => {
      const names = await generator.classNames();
      names.forEach((name, i) => {
        options[i]!.textContent = `${i} · ${name}`;
        sliders[i]?.rename(name);
      });
    });
  }
  const vector = h(
    "details",
    { class: "vector" },
    h("summary", {}, "Label vector"),
    h("div", { class: "sliders" }, ...sliders.map((each) => each.element)),
  );
  return {
    element: h(
      "div",
      { class: "label" },
      h("div", { class: "field" }, h("label", { for: id }, "Class"), select),
      vector,
    ),
    set(point) {
      const label = vectorOf(point);
      select.value = String(classOf(label) ?? "");
      sliders.forEach((each, i) => each.set(label[i]!));
    },
  };
}

/** Return the label vector of a class; all zeros for -1. */
export function oneHot(number: number, labelDim: number): number[] {
  return Array.from({ length: labelDim }, (_, i) => (i === number ? 1 : 0));
}
