/** Pictures on canvases. */

import { enlarge, type Pixels } from "../image";

/** Draw a picture. Small ones are enlarged by an integer factor to about `side` pixels; the browser scales the rest. */
export function paint(canvas: HTMLCanvasElement, picture: Pixels, side: number): void {
  const { width, height, data } = enlarge(picture, Math.max(1, Math.floor(side / picture.width)));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas.getContext("2d")!.putImageData(new ImageData(data, width, height), 0, 0);
}
