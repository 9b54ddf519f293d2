/**
 * The label of a picture: a class, by name if the model has names, or a vector with a slider per number. Numbers that
 * the data set standardized are shown in their original unit, as --class takes them.
 */

import type { App } from "../app";
import { MOST_NAMES, type Facts, type Generator } from "../generator";
import { classOf, type Point } from "../point";
import { freshId, h, slider, type Slider } from "./dom";
import { changer } from "./panel";

const MOST_SLIDERS = 64;
const MOST_DEVIATIONS = 3;

export interface LabelControl {
  readonly element: HTMLElement;
  set(point: Point): void;
}

/** Range of a slider, and the scale of its values: label = (value - mean) / std. */
interface Scale {
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly mean: number;
  readonly std: number;
}

const PLAIN: Scale = { min: 0, max: 1, step: 0.05, mean: 0, std: 1 };

/** Return the scale of a standardized number: its mean plus or minus three deviations, in decimal steps. */
export function originalScale(mean: number, std: number): Scale {
  const size = std > 0 ? std : 1; // as in the data set, where a constant number becomes 0
  const step = Number(`1e${Math.floor(Math.log10(size)) - 1}`); // a power is not exact
  const nearest = (value: number) => Number((Math.round(value / step) * step).toPrecision(15));
  return {
    min: nearest(mean - MOST_DEVIATIONS * size),
    max: nearest(mean + MOST_DEVIATIONS * size),
    step,
    mean,
    std: size,
  };
}

export function labelControl(app: App, generator: Generator): LabelControl {
  const { live, commit, change } = changer(app);
  const { labelDim, hasNames, isStandardized } = generator.facts;
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
  const area = h("div", { class: "sliders" });
  const count = Math.min(labelDim, MOST_SLIDERS);
  let scales: readonly Scale[] = [];
  let sliders: readonly Slider[] = [];

  function build(given: readonly Scale[]): void {
    scales = given;
    sliders = given.map(({ mean, std, ...range }, i) =>
      slider(
        { label: `Label ${i}`, ...range },
        (value) => {
          const number = (value - mean) / std;
          live({ label: vectorOf(app.store.state.point).map((each, k) => (k === i ? number : each)) });
        },
        commit,
      ),
    );
    area.replaceChildren(...sliders.map((each) => each.element));
    show(app.store.state.point);
  }

  function show(point: Point): void {
    const label = vectorOf(point);
    select.value = String(classOf(label) ?? "");
    sliders.forEach((each, i) => each.set(scales[i]!.mean + scales[i]!.std * label[i]!));
  }

  if (isStandardized) {
    void app.attempt(async () => {
      build((await generator.labelScales(count)).map(([mean, std]) => originalScale(mean, std)));
    });
  } else build(new Array<Scale>(count).fill(PLAIN));
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
    { class: "vector", open: isStandardized },
    h("summary", {}, isStandardized ? "Label" : "Label vector"),
    area,
  );
  const classes = h("div", { class: "field" }, h("label", { for: id }, "Class"), select);
  return {
    element: h("div", { class: "label" }, isStandardized ? null : classes, vector), // such numbers are no classes
    set: show,
  };
}

/** Return the label of a new point: the first class, or the means of standardized numbers. */
export function firstLabel({ labelDim, isStandardized }: Facts): number[] {
  return oneHot(isStandardized ? -1 : 0, labelDim);
}

/** Return the label vector of a class; all zeros for -1. */
function oneHot(number: number, labelDim: number): number[] {
  return Array.from({ length: labelDim }, (_, i) => (i === number ? 1 : 0));
}
