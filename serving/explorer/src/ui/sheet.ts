/** The endless sheet of seeds; only the pictures in view exist. */

import type { App } from "../app";
import { MOST_ROWS } from "../generator";
import { decode, type Pixels } from "../image";
import { isPlain, seedPoint, type Point } from "../point";
import { LAST_SEED } from "../random";
import { h } from "./dom";
import { paint } from "./paint";

const CONCURRENT = 2; // a server with default settings runs about this many at a time
const REQUEST_MS = 5000; // rough upper limit for a request of several pictures
const MARGIN_ROWS = 2;
const GAP = 6;
const SIDE = 128; // of a cell, before the browser enlarges it

interface Cell {
  readonly element: HTMLButtonElement;
  readonly canvas: HTMLCanvasElement;
  drawn: string;
}

/** Return how many pictures to request next, after a request for `size` of them. */
export function nextSize(size: number, milliseconds: number): number {
  return Math.max(1, Math.min(MOST_ROWS, Math.floor((size * REQUEST_MS) / milliseconds)));
}

export function sheet(app: App): HTMLElement {
  const { store } = app;
  const cells = new Map<number, Cell>();
  const running = new Map<AbortController, readonly number[]>();
  const area = h("div", { class: "sheet-area" });
  const label = "Sheet of seeds: arrow keys move through it";
  const scroller = h("div", { class: "sheet", role: "region", "aria-label": label, tabindex: 0 }, area);
  let columns = 1;
  let ratio = 1; // of width to height
  let rowsShown = 0;
  let requestSize = 1; // until the time per picture is known
  let current = 0; // seed of the only cell that Tab stops at

  const first = () => store.state.firstSeed;
  /** Everything besides seeds that the sheet's pictures depend on. */
  const setting = () => {
    const { psi, cutoff, label } = store.state.point;
    return [psi, cutoff, label?.join()].join(";");
  };

  function place(): void {
    const width = scroller.clientWidth;
    if (!width || store.state.view !== "sheet") return;
    columns = Math.max(2, Math.round(width / 150));
    const cellWidth = (width - GAP * (columns + 1)) / columns;
    const cellHeight = cellWidth / ratio;
    const pitch = cellHeight + GAP;
    const top = Math.max(0, Math.floor(scroller.scrollTop / pitch) - MARGIN_ROWS);
    const bottom = Math.ceil((scroller.scrollTop + scroller.clientHeight) / pitch) + MARGIN_ROWS;
    rowsShown = Math.max(rowsShown, bottom + 4);
    area.style.height = `${rowsShown * pitch}px`;
    const wanted = new Set<number>();
    for (let i = top * columns; i < bottom * columns && first() + i <= LAST_SEED; i++) wanted.add(first() + i);
    const isFocused = cells.get(current)?.element === document.activeElement;
    if (isFocused) wanted.add(current); // wherever the sheet has been scrolled
    else if (!wanted.has(current)) current = first() + columns * Math.floor(scroller.scrollTop / pitch);
    for (const [seed, cell] of cells) {
      if (wanted.has(seed)) continue;
      cell.element.remove();
      cells.delete(seed);
    }
    for (const [abort, seeds] of running) if (!seeds.some((seed) => wanted.has(seed))) abort.abort();
    let next = area.firstElementChild;
    for (const seed of [...wanted].sort((a, b) => a - b)) {
      const index = seed - first();
      const known = cells.get(seed);
      const { element } = known ?? add(seed);
      if (known) next = element.nextElementSibling;
      else area.insertBefore(element, next); // screen readers read in this order
      element.tabIndex = seed === current ? 0 : -1;
      const { style } = element;
      style.width = `${cellWidth}px`;
      style.height = `${cellHeight}px`;
      const [x, y] = [GAP + (index % columns) * (cellWidth + GAP), GAP + Math.floor(index / columns) * pitch];
      style.transform = `translate(${x}px, ${y}px)`;
    }
    fill();
  }

  function add(seed: number): Cell {
    const canvas = h("canvas", { width: 1, height: 1 });
    const element = h(
      "button",
      {
        type: "button",
        class: "cell",
        "aria-label": `Open seed ${seed}`,
        "data-seed": seed,
        onclick: () => open(seed),
        onkeydown: move,
        onfocus: () => setCurrent(seed),
      },
      canvas,
      h("span", { class: "caption" }, String(seed)),
    );
    const cell = { element, canvas, drawn: "" };
    cells.set(seed, cell);
    return cell;
  }

  function open(seed: number): void {
    const { psi, cutoff, label } = store.state.point;
    store.change({ view: "picture", point: { ...seedPoint(seed, psi, label), cutoff } });
  }

  function setCurrent(seed: number): void {
    const before = cells.get(current);
    if (before) before.element.tabIndex = -1;
    current = seed;
    cells.get(seed)!.element.tabIndex = 0;
  }

  /** Arrow keys move between the cells. */
  function move(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const seed = current + step;
    if (seed < first()) return;
    (event.currentTarget as HTMLElement).scrollIntoView({ block: "nearest" });
    place(); // its neighbors too may have been out of view
    const next = cells.get(seed)?.element;
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  /** Request the missing pictures, first ones first. */
  function fill(): void {
    if (!app.generator || store.state.view !== "sheet") return;
    const now = setting();
    const pending = new Set([...running.values()].flat());
    const missing = [...cells].filter(([seed, cell]) => cell.drawn !== now && !pending.has(seed)).map(([seed]) => seed);
    missing.sort((a, b) => a - b);
    const size = Math.min(requestSize, app.generator.mostRows);
    while (running.size < CONCURRENT && missing.length) void load(missing.splice(0, size), now);
  }

  async function load(seeds: readonly number[], now: string): Promise<void> {
    const abort = new AbortController();
    running.set(abort, seeds);
    const began = performance.now();
    const done = await app.attempt(async (generator) => {
      const { point } = store.state;
      const plain: Point = { ...seedPoint(0, point.psi, point.label), cutoff: point.cutoff };
      const files = isPlain(plain)
        ? await generator.seedPictures(seeds, point.psi, point.label, abort.signal)
        : await generator.pictures(
            seeds.map((seed) => ({ ...plain, source: { kind: "seed", seed } })),
            [],
            abort.signal,
          );
      const pictures = await Promise.all(files.map(decode));
      seeds.forEach((seed, i) => {
        const cell = cells.get(seed);
        if (cell && now === setting() && generator === app.generator) draw(cell, pictures[i]!, now);
      });
      return true;
    }, fill);
    running.delete(abort);
    const milliseconds = performance.now() - began;
    if (done) requestSize = nextSize(seeds.length, milliseconds);
    else if (!abort.signal.aborted) requestSize = 1; // it may have been late
    if (done && !store.state.point.cutoff) app.measure(milliseconds / seeds.length);
    if (done || abort.signal.aborted) fill();
  }

  function draw(cell: Cell, picture: Pixels, now: string): void {
    paint(cell.canvas, picture, SIDE);
    cell.drawn = now;
    cell.element.classList.add("drawn");
  }

  scroller.addEventListener("scroll", place, { passive: true });
  new ResizeObserver(place).observe(scroller);
  app.whenReady(({ facts }) => {
    ratio = facts.width / facts.height;
    requestSize = 1;
    for (const cell of cells.values()) cell.drawn = ""; // a server that was lost may have another model
    place();
  });
  let shown = setting();
  store.listen((state, before) => {
    scroller.hidden = state.view !== "sheet";
    if (before && state.firstSeed !== before.firstSeed) {
      for (const cell of cells.values()) cell.element.remove();
      cells.clear();
      scroller.scrollTop = rowsShown = 0;
    }
    // Hidden pictures are not requested, especially while a picture is dragged.
    if (setting() !== shown || state.view !== "sheet") for (const abort of running.keys()) abort.abort();
    shown = setting();
    if (state.view === "sheet") place();
  });
  return scroller;
}
