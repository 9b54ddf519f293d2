import { expect, test } from "vitest";

import { Generator, readFacts } from "../../src/generator";
import { writePoints } from "../../src/files";
import { readNpz } from "../../src/npz";
import { seedPoint, type Point } from "../../src/point";
import { latentFromSeed } from "../../src/random";
import { Server, ServerError, type Signature } from "../../src/server";

function signatures(
  sizes: Partial<Record<"z" | "ws" | "label" | "images" | "width", number>>,
  canSteer = true,
): Map<string, Signature> {
  const { z = 6, ws = 3, label, images = 8, width = images } = sizes;
  return new Map<string, Signature>([
    [
      "map",
      {
        inputs: { z: [null, z], psi: null, ...(label === undefined ? {} : { label: [null, label] }) },
        outputs: { ws: [null, ws, 4] },
      },
    ],
    ["synthesize", { inputs: {}, outputs: { images: [null, images, width, 3] } }],
    ...(canSteer
      ? [
          [
            "synthesize_png",
            { inputs: { ws: [null, ws, 4], scale: null, transform: [null, 3, 3] }, outputs: {} },
          ] as const,
        ]
      : []),
  ]);
}

test("sizes of a model, and what is none of ours", () => {
  expect(readFacts(signatures({ label: 2 }))).toEqual({
    zDim: 6,
    numWs: 3,
    wDim: 4,
    labelDim: 2,
    width: 8,
    height: 8,
    canSteer: true,
    canTransform: true,
    hasNames: false,
    isStandardized: false,
  });
  expect(readFacts(signatures({ images: 32, width: 64 }))).toMatchObject({ width: 64, height: 32 });
  expect(readFacts(signatures({}, false))).toMatchObject({ labelDim: 0, canSteer: false, canTransform: false });
  expect(() => readFacts(new Map())).toThrow("not a generator exported by sg3tf");
  for (const hostile of [{ z: 1e12 }, { ws: 1e9 }, { label: 1e7 }, { images: 1e6 }]) {
    expect(() => readFacts(signatures(hostile))).toThrow(/the explorer takes up to/);
  }
  for (const hostile of [{ z: NaN }, { z: 0.5 }, { ws: -1 }])
    expect(() => readFacts(signatures(hostile))).toThrow(/has no/);
});

/** A generator of which every prediction is answered by a function. */
async function answering(predict: (signature: string, inputs: any) => unknown): Promise<Generator> {
  const server = new Server("http://host");
  const named = { inputs: { number: [null] }, outputs: { class_name: [null] } };
  server.metadata = async () => ({ version: "7", signatures: signatures({ label: 14 }).set("class_name", named) });
  server.predict = async ({ version }, signature, inputs) => {
    expect(version).toBe("7"); // a newer one does not fit what the page has kept
    const read = Object.fromEntries(Object.entries(inputs).map(([name, json]) => [name, JSON.parse(json)]));
    return predict(signature, read);
  };
  return Generator.connect(server, { server: "http://host", model: "m", version: null });
}

test("names of classes are asked for in few rows, and hostile ones stay text of limited length", async () => {
  const sizes: number[] = [];
  const generator = await answering((signature, { number }) => {
    expect(signature).toBe("class_name");
    sizes.push(number.length);
    return number.map((i: number) => (i === 3 ? `<b>${"x".repeat(1e5)}` : `name ${i}`));
  });
  expect(generator.facts.hasNames).toBe(true);
  const names = await generator.classNames();
  await generator.classNames(); // they are kept
  expect(sizes).toEqual([6, 6, 2]);
  expect([names.length, names[13], names[3]!.length]).toEqual([14, "name 13", 100]);
  for (const answer of [["a"], [1, 2], null, { b64: "" }]) {
    await expect((await answering(() => answer)).classNames()).rejects.toThrow("texts in the answer");
  }
});

test("scales of standardized labels are pairs of finite numbers", async () => {
  const generator = await answering((signature, { number }) => {
    expect(signature).toBe("label_scale");
    return number.map((i: number) => [20200101.5 + i, 10]);
  });
  const scales = await generator.labelScales(8);
  expect([scales.length, scales[7]]).toEqual([8, [20200108.5, 10]]); // not rounded to float32
  for (const answer of [[[1]], [[1, "2"]], [[1, null]], [1, 2], null]) {
    await expect((await answering(() => answer)).labelScales(1)).rejects.toThrow("pairs of numbers in the answer");
  }
});

const WORDS = [
  (limit: number) => `'z' has 6 rows; send at most ${limit} in one request`,
  (limit: number) => `assertion failed: [too many images in one request: this model takes at most ${limit}]`,
  (limit: number) => `Task size 6 is larger than maximum input batch size ${limit}`, // TensorFlow Serving's batching
];

/** A generator of a server with a limit of rows, whose pictures are of the seed or of the first style vector. */
async function limited(
  limit: number,
  words: (limit: number) => string,
): Promise<[Generator, Record<string, number[]>]> {
  const sizes: Record<string, number[]> = {};
  const generator = await answering((signature, inputs) => {
    const counts = new Set(Object.values<unknown[]>(inputs).map((rows) => rows.length));
    expect(counts.size).toBe(1); // a server that batches takes inputs with rows only
    const [size] = counts as Set<number>;
    (sizes[signature] ??= []).push(size!);
    if (size! > limit) throw new ServerError(words(limit), false, 400);
    const { seed, number, z, ws } = inputs;
    if (signature === "map") return z.map(([first]: number[]) => new Array(3).fill([first, 0, 0, 0]));
    if (signature === "class_name") return number.map((i: number) => `name ${i}`);
    return (seed ?? ws.map((each: number[][]) => each[0]![0])).map((value: number) => ({ b64: btoa(String(value)) }));
  });
  return [generator, sizes];
}

const text = (files: readonly Uint8Array[]) => files.map((file) => Number(new TextDecoder().decode(file)));

test.each(WORDS)("the limit of rows is learned from each kind of server: %s", async (words) => {
  const expected = { 1: [6, 1, 1, 1, 1, 1, 1], 4: [6, 4, 2], 6: [6] };
  for (const [limit, requests] of Object.entries(expected)) {
    const [generator, sizes] = await limited(Number(limit), words);
    const seeds = [5, 4, 3, 2, 1, 0];
    expect(text(await generator.seedPictures(seeds, 0.7, null))).toEqual(seeds);
    expect(sizes).toEqual({ generate_png: requests });
    expect(generator.mostRows).toBe(Number(limit));
    expect(text(await generator.seedPictures(seeds, 0.7, null))).toEqual(seeds);
    const again = Number(limit) < 6 ? requests.slice(1) : requests; // the limit is kept
    expect(sizes.generate_png).toEqual([...requests, ...again]);
  }
});

test("a sheet with a truncation cutoff and names of classes come from a server with a limit of rows, too", async () => {
  const signal = new AbortController().signal;
  const expected = { 1: [6, 1, 1], 4: [6, 4, 4, 4, 2], 6: [6, 6, 2] };
  for (const [limit, requests] of Object.entries(expected)) {
    const [generator, sizes] = await limited(Number(limit), WORDS[0]!);
    expect(await generator.classNames()).toEqual(Array.from({ length: 14 }, (_, i) => `name ${i}`));
    expect(sizes.class_name!.slice(0, requests.length)).toEqual(requests);
    const [other] = await limited(Number(limit), WORDS[1]!);
    const points = [3, 1, 4, 0, 5, 9].map((seed) => seedPoint(seed, 1));
    const firsts = points.map(({ source }) => latentFromSeed((source as { seed: number }).seed, 6)[0]!);
    const found = text(await other.pictures(points, [], signal));
    found.forEach((value, i) => expect(value).toBeCloseTo(firsts[i]!, 5));
    expect(other.mostRows).toBe(Number(limit));
  }
});

test("refusals that name no smaller limit are told of", async () => {
  const messages = ["this model takes at most 0", "this model takes at most 2", "psi is missing"];
  for (const [status, message] of [...messages.map((each) => [400, each]), [500, "send at most 1"]] as const) {
    let count = 0;
    const refuse = () => Promise.reject((count++, new ServerError(String(message), false, Number(status))));
    await expect((await answering(refuse)).seedPictures([1, 2], 1, null)).rejects.toThrow(String(message));
    expect(count).toBe(1);
  }
});

test("an answer with fewer pictures than were asked for shows none under the seed of another", async () => {
  const generator = await answering((_, { seed }) => seed.slice(1).map(() => ({ b64: "AQI=" })));
  await expect(generator.seedPictures([1, 2], 1, null)).rejects.toThrow("The answer has 1 pictures instead of 2.");
});

/** Style vectors of zeros for whatever `map` is asked. */
const zeros = (_: string, { z }: { z: number[][] }) => z.map(() => new Array(3).fill([0, 0, 0, 0]));

test("mixed layers of a larger network are refused in words", async () => {
  const generator = await answering(zeros);
  const mixes: Point["mixes"] = [{ source: { kind: "seed", seed: 1 }, layers: [1, 2, 3] }];
  await expect(generator.wsOf({ ...seedPoint(0), mixes }, [])).rejects.toThrow(
    "Mixed layers 1-3: this network has style vectors 0 to 2.",
  );
});

test("a version that the server has replaced is connected to anew", async () => {
  const gone = () => Promise.reject(new ServerError("version 7 is not there", false, 404));
  await expect((await answering(gone)).average()).rejects.toMatchObject({ isLost: true, status: 404 });
  const full = () => Promise.reject(new ServerError("the server is full", false, 429));
  await expect((await answering(full)).average()).rejects.toMatchObject({ isLost: false, status: 429 });
});

test("truncation that one number does not describe is not saved", async () => {
  const files = [null, 2].map(async (cutoff) => {
    const points = [seedPoint(1, 0.5), { ...seedPoint(2, 0.5), cutoff }];
    return [...(await readNpz(await writePoints(points, [], await answering(zeros)))).keys()];
  });
  expect(await Promise.all(files)).toEqual([
    ["ws", "seeds", "psi", "label"],
    ["ws", "seeds", "label"],
  ]);
});

test("points with labels of another network are saved with those of this one", async () => {
  const points = [seedPoint(1, 1, [0, 1]), seedPoint(2, 1, new Array(14).fill(0.5))];
  const arrays = await readNpz(await writePoints(points, [], await answering(zeros)));
  const label = arrays.get("label")!;
  expect([label.shape, [...new Set(label.data.slice(0, 14))], label.data[14]]).toEqual([[2, 14], [0], 0.5]);
});
