/** The panels beside the picture that steer one point: seed, truncation, label, motion, plane, mixing, directions. */

import type { App } from "../app";
import { formatLayers, parseLayers } from "../latents";
import { sourceName, type Mix, type Point, type Source } from "../point";
import { checkSeed } from "../random";
import { button, choices, field, freshId, h, slider } from "./dom";
import type { Stage } from "./stage";

const MOST_LABEL_SLIDERS = 64;

/** A part of the side bar that can be folded. */
export function panel(title: string, isOpen: boolean, ...content: Node[]): HTMLDetailsElement {
  return h(
    "details",
    { class: "panel", open: isOpen },
    h("summary", {}, title),
    h("div", { class: "panel-body" }, ...content),
  );
}

/** Read a seed; RangeError for what is none. */
export function readSeed(text: string): number {
  const seed = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isNaN(seed)) throw new RangeError(`${text || "nothing"}: give a whole number`);
  checkSeed(seed);
  return seed;
}

/** Return a seed that is easy to read and write. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 1e6);
}

/** Change the point of the state. */
function changer(app: App) {
  const { store } = app;
  return {
    live: (change: Partial<Point>) => store.live({ point: { ...store.state.point, ...change } }),
    commit: () => store.commit(),
    change: (change: Partial<Point>) => store.change({ point: { ...store.state.point, ...change } }),
  };
}

/** Truncation and label, for the sheet and for one picture. */
export function truncation(app: App): HTMLElement {
  const { live, commit, change } = changer(app);
  const psi = slider(
    { label: "Truncation psi", min: -1, max: 2, step: 0.05, rest: 1 },
    (value) => live({ psi: clamp(value, -2, 2) }),
    commit,
  );
  const cutoff = slider(
    { label: "Cutoff", unit: "style vectors", min: 0, max: 16, step: 1 },
    (value) => live({ cutoff: value >= numWs ? null : clamp(Math.round(value), 0, numWs) }),
    commit,
  );
  let numWs = 16;
  const label = h("div", {});
  app.whenReady(({ facts }) => {
    numWs = facts.numWs;
    cutoff.element.querySelector("input")!.max = String(numWs);
    cutoff.enable(facts.canSteer);
    cutoff.set(app.store.state.point.cutoff ?? numWs);
    label.replaceChildren(...(facts.labelDim ? [labelControl(app, facts.labelDim, live, commit, change)] : []));
  });
  app.store.listen(({ point }) => {
    psi.set(point.psi);
    cutoff.set(point.cutoff ?? numWs);
  });
  return h("div", { class: "truncation" }, psi.element, cutoff.element, label);
}

/** A class by number, and a slider for each number of the label vector. */
function labelControl(
  app: App,
  dim: number,
  live: (change: Partial<Point>) => void,
  commit: () => void,
  change: (change: Partial<Point>) => void,
): HTMLElement {
  const vectorOf = (point: Point) => (point.label?.length === dim ? point.label : new Array<number>(dim).fill(0));
  const oneHot = (number: number) => Array.from({ length: dim }, (_, i) => (i === number ? 1 : 0));
  const id = freshId();
  const options = [
    h("option", { value: "" }, "vector"),
    ...Array.from({ length: Math.min(dim, 1000) }, (_, i) => h("option", { value: i }, `class ${i}`)),
  ];
  const select = h(
    "select",
    { id, onchange: () => select.value && change({ label: oneHot(Number(select.value)) }) },
    ...options,
  );
  const sliders = Array.from({ length: Math.min(dim, MOST_LABEL_SLIDERS) }, (_, i) =>
    slider(
      { label: `Label ${i}`, min: 0, max: 1, step: 0.05 },
      (value) => {
        live({ label: vectorOf(app.store.state.point).map((each, k) => (k === i ? value : each)) });
      },
      commit,
    ),
  );
  app.store.listen(({ point }) => {
    const vector = vectorOf(point);
    const isOneHot =
      vector.filter((each) => each === 1).length === 1 && vector.every((each) => each === 0 || each === 1);
    select.value = isOneHot ? String(vector.indexOf(1)) : "";
    sliders.forEach((each, i) => each.set(vector[i]!));
  });
  if (!app.store.state.point.label) app.store.replace({ point: { ...app.store.state.point, label: oneHot(0) } });
  return h(
    "div",
    {},
    h("div", { class: "field" }, h("label", { for: id }, "Class"), select),
    ...sliders.map((each) => each.element),
  );
}

export function seedPanel(app: App): HTMLElement {
  const { store } = app;
  const { change } = changer(app);
  const seed = field("Seed", { inputmode: "numeric" }, (text) =>
    change({ source: { kind: "seed", seed: readSeed(text) } }),
  );
  const step = (by: number) => () => {
    const { source } = store.state.point;
    change({ source: { kind: "seed", seed: Math.max(0, (source.kind === "seed" ? source.seed : 0) + by) } });
  };
  const origin = h("p", { class: "muted" });
  store.listen(({ point }) => {
    seed.input.value = point.source.kind === "seed" ? String(point.source.seed) : "";
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

export function motionPanel(app: App, main: Stage): HTMLElement {
  const { store } = app;
  const { live, commit, change } = changer(app);
  const rotate = slider(
    { label: "Rotate", unit: "°", min: -180, max: 180, step: 1, rest: 0 },
    (value) => live({ rotate: value }),
    commit,
  );
  const x = slider(
    { label: "Right", unit: "widths", min: -0.5, max: 0.5, step: 0.01, rest: 0 },
    (value) => live({ x: value }),
    commit,
  );
  const y = slider(
    { label: "Down", unit: "widths", min: -0.5, max: 0.5, step: 0.01, rest: 0 },
    (value) => live({ y: value }),
    commit,
  );
  const look = choices(
    "Look",
    [
      ["picture", "Picture"],
      ["undone", "Transform undone"],
      ["difference", "Difference"],
    ],
    (value) => store.replace({ look: value }),
  );
  let sweeping: "" | "turn" | "circle" = "";
  let began = 0;
  const turn = button("Sweep: turn", () => toggle("turn"), { "aria-pressed": "false" });
  const circle = button("Sweep: circle", () => toggle("circle"), { "aria-pressed": "false" });
  const toggle = (kind: "turn" | "circle") => {
    sweeping = sweeping === kind ? "" : kind;
    began = performance.now();
    turn.setAttribute("aria-pressed", String(sweeping === "turn"));
    circle.setAttribute("aria-pressed", String(sweeping === "circle"));
    if (sweeping) requestAnimationFrame(frame);
    else main.override(null);
  };
  const frame = () => {
    if (!sweeping) return;
    if (store.state.view !== "picture") return toggle(sweeping);
    const phase = ((performance.now() - began) / 6000) % 1;
    const { point } = store.state;
    const angle = 2 * Math.PI * phase;
    const moved =
      sweeping === "turn"
        ? { rotate: point.rotate + 360 * phase }
        : { x: point.x + 0.125 * Math.sin(angle), y: point.y + 0.125 * (1 - Math.cos(angle)) };
    if (!main.latest.hasNewer) main.override({ ...point, ...moved });
    requestAnimationFrame(frame);
  };
  const reset = button("Reset", () => change({ rotate: 0, x: 0, y: 0 }), { title: "0 on the picture" });
  const unable = h("p", { class: "muted" });
  const controls = h(
    "fieldset",
    { class: "plain" },
    rotate.element,
    x.element,
    y.element,
    look.element,
    h("div", { class: "row" }, turn, circle, reset),
  );
  app.whenReady(({ facts }) => {
    controls.disabled = !facts.canTransform;
    unable.textContent = facts.canTransform
      ? ""
      : facts.canSteer
        ? "The input of this model cannot be transformed, as that of StyleGAN3 can."
        : "This version was exported without synthesize_png: export it again to move its pictures.";
  });
  store.listen(({ point, look: now }) => {
    rotate.set(point.rotate);
    x.set(point.x);
    y.set(point.y);
    look.set(now);
  });
  return panel(
    "Transform",
    true,
    h("p", { class: "muted" }, "Drag the picture to move it; turn it by the wheel or with two fingers."),
    unable,
    controls,
  );
}

// --- Plane -------------------------------------------------------------------------------------------------------

const PAD_MARGIN = 0.25; // the pad shows the plane from -0.25 to 1.25
const PAD_SPAN = 1 + 2 * PAD_MARGIN;
const MOST_DEVIATIONS = 5;

export function planePanel(app: App): HTMLElement {
  const { store } = app;
  const { live, commit, change } = changer(app);
  let axes: readonly [string, string] | null = null; // names of two directions, in place of seeds
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
        b: { kind: "seed", seed: seed + 1 } as Source,
        c: { kind: "seed", seed: seed + 2 } as Source,
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
    const [x, y] = [u, v].map((value) => Math.round(clamp(value, -PAD_MARGIN, 1 + PAD_MARGIN) * 1000) / 1000) as [
      number,
      number,
    ];
    if (axes) {
      const strength = (value: number) => Math.round((value - 0.5) * 2 * MOST_DEVIATIONS * 1000) / 1000;
      live({ strengths: { ...store.state.point.strengths, [axes[0]]: strength(x), [axes[1]]: strength(y) } });
    } else live({ plane: { ...current(), u: x, v: y } });
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
        each.input.value = source.kind === "seed" ? String(source.seed) : source.name;
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
    if (directions !== before.directions || !select.options.length) {
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

// --- Style mixing ------------------------------------------------------------------------------------------------

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
  store.listen((state, before) => {
    if (state === before || state.point.mixes !== before.point.mixes) show();
  });
  return panel(
    "Style mixing",
    false,
    h("p", { class: "muted" }, "Take some layers' style vectors from other seeds."),
    controls,
  );
}

// --- Directions --------------------------------------------------------------------------------------------------

export function directionsPanel(app: App, open: () => void): HTMLElement {
  const { store } = app;
  const { live, commit, change } = changer(app);
  const list = h("div", {});
  let sliders: { name: string; set: (value: number) => void }[] = [];
  store.listen((state, before) => {
    if (state.directions !== before.directions || state === before) {
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
    h("p", { class: "muted" }, "Drop a file here that sg3tf edit has written with --save_directions."),
    controls,
  );
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
