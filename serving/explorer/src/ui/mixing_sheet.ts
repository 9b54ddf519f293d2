/** The sheet of style mixing (arXiv 1812.04948, figure 3): rows have styles, columns replace those of some layers. */

import type { App } from "../app";
import { decode } from "../image";
import { parseLayers, parseSeeds } from "../latents";
import { seedPoint, type Point } from "../point";
import { field, h } from "./dom";
import { paint } from "./paint";

const MOST_SEEDS = 16;
const CONCURRENT = 2;
const SIDE = 160; // of a cell

export function mixingSheet(app: App): HTMLElement {
  const { store } = app;
  const grid = h("div", { class: "mixing-grid", role: "grid", "aria-label": "Style mixing" });
  const rows = field("Rows: seeds", {}, (text) => (parseSeeds(text, MOST_SEEDS), change({ rows: text })));
  const columns = field("Columns: seeds", {}, (text) => (parseSeeds(text, MOST_SEEDS), change({ columns: text })));
  const layers = field("Layers from the columns", { title: "coarse, middle, fine, or numbers: 0-6,9" }, (text) => {
    parseLayers(text, app.generator?.facts.numWs ?? 1024);
    change({ layers: text });
  });
  const change = (part: object) => store.change({ mixing: { ...store.state.mixing, ...part } });
  const bar = h("div", { class: "row" }, rows.element, columns.element, layers.element);
  const view = h("section", { class: "mixing", "aria-label": "Sheet of style mixing" }, bar, grid);
  let drawn = "";
  let jobs: [HTMLCanvasElement, Point][] = [];
  let running = 0;

  function draw(): void {
    const { generator } = app;
    const { mixing, point, view: shown } = store.state;
    const setting = JSON.stringify([mixing, point.psi, point.cutoff, point.label]);
    if (!generator || shown !== "mixing") return;
    if (setting === drawn) return fill();
    drawn = setting;
    jobs = [];
    try {
      jobs = build(generator.facts.numWs);
    } catch (error) {
      return app.notify(error instanceof Error ? error.message : String(error));
    }
    fill();
  }

  /** Request the missing pictures, as long as they are visible. */
  function fill(): void {
    while (running < CONCURRENT && jobs.length && store.state.view === "mixing" && app.health !== "lost") {
      const [canvas, point] = jobs.shift()!;
      running++;
      const done = app.attempt(
        async (generator) => {
          const scale = Math.max(1, Math.floor(generator.facts.width / SIDE));
          paint(canvas, await decode(await generator.picture(point, [], { scale })), SIDE);
        },
        () => ((drawn = ""), draw()),
      );
      void done.then(() => {
        running--;
        fill();
      });
    }
  }

  function build(numWs: number): [HTMLCanvasElement, Point][] {
    const { mixing, point } = store.state;
    const [down, across] = [parseSeeds(mixing.rows, MOST_SEEDS), parseSeeds(mixing.columns, MOST_SEEDS)];
    const mixed = parseLayers(mixing.layers, numWs);
    const plain = (seed: number): Point => ({ ...seedPoint(seed, point.psi, point.label), cutoff: point.cutoff });
    const made: [HTMLCanvasElement, Point][] = [];
    const cell = (each: Point, name: string, kind: "head" | "mixed") => {
      const canvas = h("canvas", { width: 1, height: 1 });
      made.push([canvas, each]);
      const open = h(
        "button",
        {
          type: "button",
          class: `cell ${kind}`,
          "aria-label": `Open ${name}`,
          onclick: () => store.change({ point: each, view: "picture" }),
        },
        canvas,
        kind === "head" ? h("span", { class: "caption" }, name) : null,
      );
      return h("div", { role: "gridcell" }, open);
    };
    const head = h(
      "div",
      { role: "row" },
      h("div", { role: "gridcell" }),
      ...across.map((seed) => cell(plain(seed), String(seed), "head")),
    );
    const lines = down.map((seed) =>
      h(
        "div",
        { role: "row" },
        cell(plain(seed), String(seed), "head"),
        ...across.map((other) =>
          cell(
            { ...plain(seed), mixes: [{ source: { kind: "seed", seed: other }, layers: mixed }] },
            `${seed} with ${other}`,
            "mixed",
          ),
        ),
      ),
    );
    grid.style.setProperty("--columns", String(across.length + 1));
    grid.replaceChildren(head, ...lines);
    return made;
  }

  app.whenReady(({ facts }) => {
    drawn = "";
    grid.textContent = facts.canSteer
      ? ""
      : "This version was exported without synthesize_png: export it again to mix styles.";
    if (facts.canSteer) draw();
  });
  store.listen((state) => {
    view.hidden = state.view !== "mixing";
    rows.set(state.mixing.rows);
    columns.set(state.mixing.columns);
    layers.set(state.mixing.layers);
    if (app.generator?.facts.canSteer) draw();
  });
  return view;
}
