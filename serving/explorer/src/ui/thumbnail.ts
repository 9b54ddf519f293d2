/** Small pictures of points, drawn once the server has answered. */

import type { App } from "../app";
import { decode, enlarge } from "../image";
import type { Point } from "../point";
import { h } from "./dom";

const SIDE = 96;

/** Return a canvas that the point's picture appears on. */
export function thumbnail(app: App, point: Point): HTMLCanvasElement {
  const canvas = h("canvas", { width: SIDE, height: SIDE, class: "thumbnail", "aria-hidden": "true" });
  app.whenConnected(() => {
    void app.attempt(async (generator) => {
      const scale = Math.max(1, Math.floor(generator.facts.resolution / SIDE));
      const picture = await decode(await generator.picture(point, app.store.state.directions, { scale }));
      const { width, height, data } = enlarge(picture, Math.max(1, Math.floor(SIDE / picture.width)));
      canvas.width = width;
      canvas.height = height;
      canvas.getContext("2d")!.putImageData(new ImageData(data, width, height), 0, 0);
    });
  });
  return canvas;
}
