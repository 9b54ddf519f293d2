/** The panel with a plane of latents, through three seeds or along two directions. */

import type { App } from "../app";
import type { Point, Source } from "../point";
import { button, field, freshId, h } from "./dom";
import { changer, clamp, panel } from "./panel";
import { randomSeed, readSeed, seedAfter } from "./seeds";

const PAD_MARGIN = 0.25; // the pad shows the plane from -0.25 to 1.25
const PAD_SPAN = 1 + 2 * PAD_MARGIN;
const MOST_DEVIATIONS = 5;

export function planePanel(app: App): HTMLElement {
  const { store } = app;
  const { live, commit, change } = changer(app);
  let axes: readonly [string, string] | null = null; // names of two directions, instead of seeds
  const knob = h("div", { class: "knob" });
  const corners = ["A", "B", "C"].map((name) => h("span", { class: `corner corner-${name}` }, name));
  const pad = h(
    "div",
    { class: "pad", tabindex: 0, role: "application", "aria-label": "Plane of latents: arrow keys move through it" },
    ...corners,
    knob,
  );
  const b = field("B", { inputmode: "numeric" }, (text) => span({ b: readSource(text) }));
  const c = field("C", { inputmode: "numeric" }, (text) => span({ c: readSource(text) }));
  const readSource = (text: string): Source => ({ kind: "seed", seed: readSeed(text) });
  const span = (part: Partial<Point["plane"] & object>) => change({ plane: { ...current(), ...part } });
  const current = () => {
    const { plane, source } = store.state.point;
    const seed = source.kind === "seed" ? source.seed : 0;
    return (
      plane ?? {
        b: { kind: "seed", seed: seedAfter(seed, 1) } as Source,
        c: { kind: "seed", seed: seedAfter(seed, 2) } as Source,
        u: 0,
        v: 0,
      }
    );
  };
  const place = (): [number, number] => {
    const { point } = store.state;
    if (axes)
      return [
        0.5 + (point.strengths[axes[0]] ?? 0) / (2 * MOST_DEVIATIONS),
        0.5 + (point.strengths[axes[1]] ?? 0) / (2 * MOST_DEVIATIONS),
      ];
    return [current().u, current().v];
  };
  const move = (u: number, v: number) => {
    const snap = (value: number) => Math.round(clamp(value, -PAD_MARGIN, 1 + PAD_MARGIN) * 1000) / 1000;
    const [x, y] = [snap(u), snap(v)];
    if (axes) {
      const strength = (value: number) => Math.round((value - 0.5) * 2 * MOST_DEVIATIONS * 1000) / 1000;
      live({ strengths: { ...store.state.point.strengths, [axes[0]]: strength(x), [axes[1]]: strength(y) } });
    } else live({ plane: { ...current(), u: x, v: y } });
    show(); // the knob stays under the pointer
  };
  const toPlane = (event: PointerEvent): [number, number] => {
    const box = pad.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * PAD_SPAN - PAD_MARGIN,
      (1 - (event.clientY - box.top) / box.height) * PAD_SPAN - PAD_MARGIN,
    ];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (!app.generator?.facts.canSteer) return;
    pad.setPointerCapture(event.pointerId);
    move(...toPlane(event));
  });
  pad.addEventListener("pointermove", (event) => {
    if (pad.hasPointerCapture(event.pointerId)) move(...toPlane(event));
  });
  pad.addEventListener("pointerup", commit);
  pad.addEventListener("keydown", (event) => {
    const size = event.shiftKey ? 0.1 : 0.02;
    const steps: Record<string, [number, number]> = {
      ArrowLeft: [-size, 0],
      ArrowRight: [size, 0],
      ArrowUp: [0, size],
      ArrowDown: [0, -size],
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    move(place()[0] + step[0], place()[1] + step[1]);
    commit();
  });
  const id = freshId();
  const select = h("select", {
    id,
    onchange: () => {
      const [first, second] = select.value.split("\n");
      axes = first !== undefined && second !== undefined ? [first, second] : null;
      show();
    },
  });
  const show = () => {
    const [u, v] = place();
    knob.style.left = `${((u + PAD_MARGIN) / PAD_SPAN) * 100}%`;
    knob.style.top = `${(1 - (v + PAD_MARGIN) / PAD_SPAN) * 100}%`;
    for (const corner of corners) corner.hidden = axes !== null;
    const { plane } = store.state.point;
    for (const [each, source] of [
      [b, current().b],
      [c, current().c],
    ] as const) {
      if (document.activeElement !== each.input)
        each.set(source.kind === "seed" ? String(source.seed) : source.name);
      each.input.disabled = axes !== null;
    }
    leave.disabled = plane === null;
  };
  const leave = button("Back to A", () => change({ plane: null }));
  const roll = button("Random B and C", () =>
    change({
      plane: { ...current(), b: { kind: "seed", seed: randomSeed() }, c: { kind: "seed", seed: randomSeed() } },
    }),
  );
  store.listen(({ directions }, before) => {
    if (directions !== before?.directions) {
      const names = directions.map(({ name }) => name);
      const pairs = names
        .slice(0, 12)
        .flatMap((first, i) => names.slice(i + 1, 12).map((second) => [first, second] as const));
      select.replaceChildren(
        h("option", { value: "" }, "seeds A, B and C"),
        ...pairs.map((pair) => h("option", { value: pair.join("\n") }, `${pair[0]} and ${pair[1]}`)),
      );
      axes = null;
    }
    show();
  });
  const controls = h(
    "fieldset",
    { class: "plain" },
    h("div", { class: "field" }, h("label", { for: id }, "Spanned by"), select),
    pad,
    h("div", { class: "row" }, b.element, c.element),
    h("div", { class: "row" }, roll, leave),
  );
  app.whenReady(({ facts }) => (controls.disabled = !facts.canSteer));
  return panel(
    "Plane of latents",
    false,
    h("p", { class: "muted" }, "Drag through the plane. A is the seed above."),
    controls,
  );
}
