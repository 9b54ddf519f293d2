/** Small pictures of points, drawn once the server has answered. */

import type { App } from "../app";
import { decode } from "../image";
import type { Point } from "../point";
import { h } from "./dom";
import { paint } from "./paint";

const SIDE = 96;

/** Return a canvas that the point's picture appears on. */
export function thumbnail(app: App, point: Point): HTMLCanvasElement {
  const canvas = h("canvas", { width: SIDE, height: SIDE, class: "thumbnail", "aria-hidden": "true" });
  app.whenConnected(() => {
    void app.attempt(async (generator) => {
      const scale = Math.max(1, Math.floor(generator.facts.width / SIDE));
      paint(canvas, await decode(await generator.picture(point, app.store.state.directions, { scale })), SIDE);
    });
  });
  return canvas;
}
