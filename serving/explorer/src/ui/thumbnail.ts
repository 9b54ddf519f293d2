/** Small pictures of points; few are requested at a time, and each one once. */

import type { App } from "../app";
import { decode, type Pixels } from "../image";
import type { Point } from "../point";
import { Queue } from "../queue";
import { h } from "./dom";
import { paint } from "./paint";

const SIDE = 96;
const CONCURRENT = 2;

/** Returns a canvas that the point's picture appears on. */
export type Thumbnail = (point: Point) => HTMLCanvasElement;

export function thumbnails(app: App): Thumbnail {
  const queue = new Queue(CONCURRENT);
  const pointOf = new WeakMap<HTMLCanvasElement, Point>();
  let known = new WeakMap<Point, Pixels>(); // lists are recreated with each change

  const draw = (canvas: HTMLCanvasElement, point: Point) =>
    queue.add(async () => {
      if (!app.generator || !canvas.isConnected) return;
      const pictures = known;
      const pixels = pictures.get(point) ?? (await ask(point));
      if (!pixels) return;
      pictures.set(point, pixels);
      paint(canvas, pixels, SIDE);
    });
  const ask = (point: Point) =>
    app.attempt(async (generator) => {
      const scale = Math.max(1, Math.floor(generator.facts.width / SIDE));
      return decode(await generator.picture(point, app.store.state.directions, { scale }));
    });

  // After a new connection, the model may be another one, and requests sent when the old one was lost have failed.
  app.whenReady(() => {
    known = new WeakMap();
    for (const canvas of document.querySelectorAll<HTMLCanvasElement>("canvas.thumbnail")) {
      const point = pointOf.get(canvas);
      if (point) draw(canvas, point);
    }
  });
  return (point) => {
    const canvas = h("canvas", { width: SIDE, height: SIDE, class: "thumbnail", "aria-hidden": "true" });
    pointOf.set(canvas, point);
    // The caller adds it to the page first.
    queueMicrotask(() => draw(canvas, point));
    return canvas;
  };
}
