/** One large picture of the state's point: dragged, turned, compared with itself. */

import type { App } from "../app";
import type { Generator } from "../generator";
import { decode, difference, undoTransform, type Pixels } from "../image";
import { Latest } from "../latest";
import { transformMatrix, type Direction, type Motion } from "../latents";
import { nameOf, type Point } from "../point";
import { Preview } from "../preview";
import type { State } from "../store";
import { h } from "./dom";
import { paint } from "./paint";

// Smaller pictures are enlarged to about this, or half of it while newer ones wait; the browser scales the rest.
const SMOOTH_SIDE = 256;
const REST_MS = 120; // after a preview, before the full picture is requested
const DEGREES_PER_WHEEL = 0.1;

export interface Stage {
  readonly element: HTMLElement;
  readonly latest: Latest;
  /** the PNG file that is shown, in full size and without the look; null before the first */
  shown(): { png: Uint8Array<ArrayBuffer>; point: Point } | null;
  /** Show another point than the state's until `null`, such as one of a sweep; resolves when it is drawn. */
  override(point: Point | null): void;
  /** Show a PNG file, such as a frame of a film, instead of the point until `null`. */
  film(png: Uint8Array<ArrayBuffer> | null): Promise<void>;
  /** Request the picture again. */
  refresh(): void;
}

/**
 * @param label for screen readers
 * @param generatorOf the model to ask; null while there is none
 */
export function stage(app: App, label: string, generatorOf: () => Generator | null): Stage {
  const { store } = app;
  const latest = new Latest();
  const canvas = h("canvas", { width: 1, height: 1 });
  const note = h("p", { class: "stage-note", "aria-live": "polite" });
  const description = h("span", { class: "hidden", "aria-live": "polite" });
  const element = h(
    "div",
    {
      class: "stage",
      tabindex: 0,
      role: "application",
      "aria-label": `${label}: arrow keys move it, brackets turn it`,
    },
    canvas,
    note,
    description,
  );
  let shown: { png: Uint8Array<ArrayBuffer>; point: Point } | null = null;
  let still: { generator: Generator; key: Point; directions: readonly Direction[]; pixels: Pixels } | null = null;
  let preview: { generator: Generator; times: Preview } | null = null;
  let special: Point | null = null;
  let isFilm = false;

  function request(): void {
    latest.request(async () => {
      const { state } = store;
      const generator = generatorOf();
      const point = special ?? state.point;
      if (!generator || isFilm || state.view !== "picture") return;
      await app.attempt(() => drawPoint(generator, point, state), request);
    });
  }

  async function drawPoint(generator: Generator, point: Point, state: State): Promise<void> {
    const scale = generator.facts.canSteer ? previewOf(generator).scale() : 1;
    const png = await timed(generator, point, state, scale);
    if (generatorOf() !== generator) return; // another model was chosen in the meantime
    await draw(generator, png, point, state);
    element.dispatchEvent(new CustomEvent("drawn", { detail: point })); // for measurements
    if (scale === 1) shown = { png, point };
    else {
      if (await latest.isInterrupted(REST_MS)) return;
      const whole = await timed(generator, point, state, 1);
      if (generatorOf() !== generator) return;
      shown = { png: whole, point };
      await draw(generator, whole, point, state);
    }
    if (!latest.hasNewer) description.textContent = describe(point);
  }

  /** Request a picture, and record how long it took. */
  async function timed(
    generator: Generator,
    point: Point,
    state: State,
    scale: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const began = performance.now();
    const png = await generator.picture(point, state.directions, { scale });
    const milliseconds = performance.now() - began;
    previewOf(generator).note(scale, milliseconds);
    app.measure(milliseconds);
    return png;
  }

  function previewOf(generator: Generator): Preview {
    if (preview?.generator !== generator)
      preview = { generator, times: new Preview(Math.max(generator.facts.width, generator.facts.height)) };
    return preview.times;
  }

  async function draw(generator: Generator, png: Uint8Array<ArrayBuffer>, point: Point, state: State): Promise<void> {
    if (isFilm) return;
    let pixels: Pixels = await decode(png);
    let text = "";
    if (state.look !== "picture" && generator.facts.canTransform) {
      pixels = undoTransform(pixels, transformMatrix(point));
      const reference = await stillPicture(generator, point, state, pixels.width);
      const { image, decibels } = difference(pixels, reference);
      if (state.look === "difference") pixels = image;
      if (Number.isNaN(decibels)) text = "moved out of view: nothing to compare";
      else text = decibels === Infinity ? "equal" : `equivariance ${decibels.toFixed(1)} dB`;
    }
    if (!isFilm) show(pixels, text);
  }

  function show(pixels: Pixels, text: string): void {
    element.style.aspectRatio = `${pixels.width} / ${pixels.height}`;
    paint(canvas, pixels, latest.hasNewer ? SMOOTH_SIDE / 2 : SMOOTH_SIDE);
    if (note.textContent !== text) note.textContent = text;
    store.follow();
  }

  /** The same point without its motion, kept while only the motion changes. */
  async function stillPicture(generator: Generator, point: Point, state: State, side: number): Promise<Pixels> {
    const key: Point = { ...point, rotate: 0, x: 0, y: 0 };
    if (
      still?.generator === generator &&
      still.pixels.width === side &&
      still.directions === state.directions &&
      sameBesidesMotion(still.key, key)
    ) {
      return still.pixels;
    }
    const scale = Math.round(generator.facts.width / side);
    const pixels = await decode(await generator.picture(point, state.directions, { scale, still: true }));
    still = { generator, key, directions: state.directions, pixels };
    return pixels;
  }

  handlePointers(app, element);
  app.whenReady(request);
  store.listenLive((state, before) => {
    const isNew = state.point !== before?.point || state.directions !== before.directions;
    const isOther = state.look !== before?.look || state.view !== before.view;
    if (isNew || isOther || !shown) request();
  });
  return {
    element,
    latest,
    shown: () => shown,
    override(point) {
      special = point;
      request();
    },
    async film(png) {
      if (png === null && !isFilm) return;
      isFilm = png !== null;
      if (!png) return request();
      const pixels = await decode(png);
      if (isFilm) show(pixels, "");
    },
    refresh: request,
  };
}

function sameBesidesMotion(a: Point, b: Point): boolean {
  return (Object.keys(a) as (keyof Point)[]).every((key) => a[key] === b[key]);
}

function describe(point: Point): string {
  const parts = [nameOf(point), `truncation ${point.psi}`];
  if (point.rotate) parts.push(`rotated by ${point.rotate.toFixed(1)} degrees`);
  if (point.x || point.y) parts.push(`moved by ${point.x.toFixed(2)}, ${point.y.toFixed(2)} widths`);
  return parts.join(", ");
}

// --- Moving the picture by pointer, wheel, fingers and keys --------------------------------------------------------

function handlePointers(app: App, element: HTMLElement): void {
  const { store } = app;
  const pointers = new Map<number, { x: number; y: number }>();
  const canMove = () => app.generator?.facts.canTransform ?? false;
  const nudge = (change: Partial<Motion>) => {
    if (canMove()) store.live({ point: { ...store.state.point, ...rounded(change) } });
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !canMove()) return;
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    element.classList.add("dragged");
  });
  element.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const { point } = store.state;
    const width = element.clientWidth;
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    // Each of two fingers moves their midpoint by half of its own motion, and rotates the line between them.
    const share = 1 / (others.length + 1);
    const turn = others[0] ? degreesBetween(others[0], before, now) : 0;
    nudge({
      x: point.x + ((now.x - before.x) / width) * share,
      y: point.y + ((now.y - before.y) / width) * share,
      rotate: wrapDegrees(point.rotate + turn),
    });
    pointers.set(event.pointerId, now);
  });
  const release = (event: PointerEvent) => {
    if (!pointers.delete(event.pointerId) || pointers.size) return;
    element.classList.remove("dragged");
    store.commit();
  };
  element.addEventListener("pointerup", release);
  element.addEventListener("pointercancel", release);

  let settle = 0;
  const commitSoon = () => {
    clearTimeout(settle);
    settle = window.setTimeout(() => store.commit(), 400);
  };
  element.addEventListener(
    "wheel",
    (event) => {
      if (!canMove()) return;
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 40 : 1;
      nudge({ rotate: wrapDegrees(store.state.point.rotate + event.deltaY * lines * DEGREES_PER_WHEEL) });
      commitSoon();
    },
    { passive: false },
  );
  element.addEventListener("dblclick", () => {
    nudge({ rotate: 0, x: 0, y: 0 });
    store.commit();
  });
  element.addEventListener("keydown", (event) => {
    const { point } = store.state;
    const step = event.shiftKey ? 0.1 : 0.01;
    const changes: Record<string, Partial<Motion>> = {
      ArrowLeft: { x: point.x - step },
      ArrowRight: { x: point.x + step },
      ArrowUp: { y: point.y - step },
      ArrowDown: { y: point.y + step },
      "[": { rotate: wrapDegrees(point.rotate - 100 * step) },
      "]": { rotate: wrapDegrees(point.rotate + 100 * step) },
      "{": { rotate: wrapDegrees(point.rotate - 10) },
      "}": { rotate: wrapDegrees(point.rotate + 10) },
      "0": { rotate: 0, x: 0, y: 0 },
    };
    const change = changes[event.key];
    // On many keyboards, brackets need Alt, but Alt with arrow keys navigates the browser's history.
    const isBracket = "[]{}".includes(event.key);
    if (!change || event.ctrlKey || event.metaKey || (event.altKey && !isBracket)) return;
    event.preventDefault();
    nudge(change);
    commitSoon();
  });
}

function degreesBetween(
  center: { x: number; y: number },
  from: { x: number; y: number },
  to: { x: number; y: number },
): number {
  const angle = Math.atan2(to.y - center.y, to.x - center.x) - Math.atan2(from.y - center.y, from.x - center.x);
  return wrapDegrees((angle * 180) / Math.PI);
}

/** Return the same angle from -180 (excluded) to 180 degrees. */
export function wrapDegrees(degrees: number): number {
  const rest = ((degrees % 360) + 360) % 360;
  return rest > 180 ? rest - 360 : rest;
}

/** Round to values with few digits, for links. */
function rounded(motion: Partial<Motion>): Partial<Motion> {
  return Object.fromEntries(Object.entries(motion).map(([key, value]) => [key, Math.round(value * 1e4) / 1e4]));
}
