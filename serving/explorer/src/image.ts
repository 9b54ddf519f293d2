/** Pixels of a picture: decoding, smooth enlargement, undoing a transform, and differences. */

/** A picture as a canvas stores it: RGBA, 8 bits each. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

let scratch: OffscreenCanvasRenderingContext2D | null = null; // to read pixels from

/** Decode a PNG file in the browser. */
export async function decode(png: Uint8Array<ArrayBuffer>): Promise<Pixels> {
  const image = await decoded(png);
  const width = "width" in image ? image.width : image.displayWidth;
  const height = "height" in image ? image.height : image.displayHeight;
  scratch ??= new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  if (scratch.canvas.width !== width || scratch.canvas.height !== height) {
    scratch.canvas.width = width;
    scratch.canvas.height = height;
  }
  scratch.clearRect(0, 0, width, height);
  scratch.drawImage(image, 0, 0);
  image.close();
  return scratch.getImageData(0, 0, width, height);
}

/**
 * Decode with ImageDecoder if available (on this machine, or over HTTPS): a Blob lives in another process, which makes
 * decoding three times as slow.
 */
async function decoded(png: Uint8Array<ArrayBuffer>): Promise<ImageBitmap | VideoFrame> {
  if (!("ImageDecoder" in globalThis)) {
    return createImageBitmap(new Blob([png], { type: "image/png" }), { colorSpaceConversion: "none" });
  }
  const decoder = new ImageDecoder({ data: png, type: "image/png", colorSpaceConversion: "none" });
  try {
    return (await decoder.decode()).image;
  } finally {
    decoder.close();
  }
}

/** Enlarge by an integer factor with a three-lobed Lanczos filter, which keeps small pictures smooth and sharp. */
export function enlarge(image: Pixels, factor: number): Pixels {
  if (factor === 1) return image;
  const { width, height } = image;
  // Pixels of a row lie 4 numbers apart, those of a column a row's length.
  const wide = lanczos(image.data, { length: width, step: 4, lines: height, stride: 4 * width }, factor);
  const columns = { length: height, step: 4 * width * factor, lines: width * factor, stride: 4 };
  const data = new Uint8ClampedArray(lanczos(wide, columns, factor));
  return { width: width * factor, height: height * factor, data };
}

interface Axis {
  readonly length: number;
  readonly step: number;
  readonly lines: number;
  readonly stride: number;
}

const TAPS = 6;

/** Enlarge along one axis. */
function lanczos(
  data: Uint8ClampedArray | Float32Array,
  { length, step, lines, stride }: Axis,
  factor: number,
): Float32Array {
  const result = new Float32Array(4 * length * factor * lines);
  const outStride = step === 4 ? stride * factor : stride;
  const places = new Int32Array(TAPS);
  const weights = new Float64Array(TAPS);
  for (let out = 0; out < length * factor; out++) {
    const center = (out + 0.5) / factor - 0.5;
    const first = Math.floor(center) - 2;
    let total = 0;
    for (let tap = 0; tap < TAPS; tap++) total += weights[tap] = kernel(center - first - tap);
    for (let tap = 0; tap < TAPS; tap++) {
      weights[tap]! /= total;
      places[tap] = Math.min(Math.max(first + tap, 0), length - 1) * step;
    }
    for (let line = 0; line < lines; line++) {
      const [source, target] = [line * stride, out * step + line * outStride];
      for (let channel = 0; channel < 4; channel++) {
        let sum = 0;
        for (let tap = 0; tap < TAPS; tap++) sum += weights[tap]! * data[source + places[tap]! + channel]!;
        result[target + channel] = sum;
      }
    }
  }
  return result;
}

function kernel(x: number): number {
  if (x === 0) return 1;
  if (Math.abs(x) >= 3) return 0;
  const angle = Math.PI * x;
  return (3 * Math.sin(angle) * Math.sin(angle / 3)) / (angle * angle);
}

/**
 * Undo a picture's transform, by cubic interpolation; the result is transparent where the picture was cut off.
 *
 * @param transform float32 [3, 3], the inverse motion in image widths: the transformed picture shows at p what the
 *     untransformed one shows at `transform` p
 */
export function undoTransform(image: Pixels, transform: Float32Array): Pixels {
  const { width, height, data } = image;
  const result = new Uint8ClampedArray(data.length);
  const [a, b, c, d, e, f] = invert(transform);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const x = (column + 0.5) / width - 0.5;
      const y = (row + 0.5 - height / 2) / width;
      const fromX = (a * x + b * y + c + 0.5) * width - 0.5;
      const fromY = (d * x + e * y + f) * width + height / 2 - 0.5;
      if (fromX < 0 || fromY < 0 || fromX > width - 1 || fromY > height - 1) continue;
      sample(image, fromX, fromY, result, (row * width + column) * 4);
    }
  }
  return { width, height, data: result };
}

/** Return the first two rows of an affine matrix's inverse. */
function invert(m: Float32Array): [number, number, number, number, number, number] {
  const [a, b, c, d, e, f] = m as unknown as [number, number, number, number, number, number];
  const scale = 1 / (a * e - b * d);
  return [e * scale, -b * scale, (b * f - c * e) * scale, -d * scale, a * scale, (c * d - a * f) * scale];
}

function sample({ width, height, data }: Pixels, x: number, y: number, result: Uint8ClampedArray, at: number): void {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [across, down] = [cubicWeights(x - left), cubicWeights(y - top)];
  for (let channel = 0; channel < 3; channel++) {
    let sum = 0;
    for (let j = 0; j < 4; j++) {
      const row = Math.min(Math.max(top + j - 1, 0), height - 1) * width;
      for (let i = 0; i < 4; i++) {
        const column = Math.min(Math.max(left + i - 1, 0), width - 1);
        sum += down[j]! * across[i]! * data[(row + column) * 4 + channel]!;
      }
    }
    result[at + channel] = sum;
  }
  result[at + 3] = 255;
}

/** Weights of four neighbors (Catmull and Rom 1974). */
function cubicWeights(t: number): [number, number, number, number] {
  const square = t * t;
  const cube = square * t;
  return [
    (-cube + 2 * square - t) / 2,
    (3 * cube - 5 * square + 2) / 2,
    (-3 * cube + 4 * square + t) / 2,
    (cube - square) / 2,
  ];
}

export interface Difference {
  readonly image: Pixels;
  /** 10 log10(4 / mean squared difference) of pixels from -1 to 1, as EQ-T (arXiv 2106.12423, appendix E) */
  readonly decibels: number;
}

/** Compare two pictures where both are opaque; differences are drawn amplified by four. */
export function difference(a: Pixels, b: Pixels): Difference {
  const data = new Uint8ClampedArray(a.data.length);
  let sum = 0;
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (a.data[at + 3] !== 255 || b.data[at + 3] !== 255) continue;
    for (let channel = 0; channel < 3; channel++) {
      const step = a.data[at + channel]! - b.data[at + channel]!;
      data[at + channel] = 4 * Math.abs(step);
      sum += (step / 127.5) ** 2;
      count++;
    }
    data[at + 3] = 255;
  }
  return { image: { width: a.width, height: a.height, data }, decibels: 10 * Math.log10((4 * count) / sum) };
}
