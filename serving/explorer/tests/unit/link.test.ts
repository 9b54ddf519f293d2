import { expect, test } from "vitest";

import { command, fileName, flagsOf, metadata, networkName } from "../../src/command";
import { fromFragment, toFragment } from "../../src/link";
import { seedPoint, type Point, type Source } from "../../src/point";
import { START, Store, type State } from "../../src/store";
import { f32 } from "./reference";

const projected: Source = {
  kind: "styles",
  name: "found & <b>!~.x",
  ws: f32([1, 2, 0.1, -3, 1, 2]),
  wDim: 2,
  transform: f32([1, 0, 0.25, 0, 1, 0, 0, 0, 1]),
};
const steered: Point = {
  source: projected,
  label: [0, 0.5],
  psi: -0.3,
  cutoff: 0,
  rotate: -12.5,
  x: 0.1,
  y: -0.25,
  plane: { b: { kind: "seed", seed: 7 }, c: projected, u: 0.123, v: -0.2 },
  mixes: [
    { source: { kind: "seed", seed: 2 ** 32 - 1 }, layers: [0, 1, 2] },
    { source: projected, layers: [1] },
  ],
  strengths: { "a=b;c": 1.5, other: -2 },
};
const full: State = {
  view: "picture",
  look: "difference",
  firstSeed: 123456,
  point: steered,
  directions: [
    { name: "a=b;c", vector: f32([0.6, 0.8]), deviation: 0.37, layers: [0, 2] },
    { name: "other", vector: f32([1, 0]), deviation: 1, layers: [1] },
  ],
  kept: [
    { name: "a ~ b|c", point: seedPoint(4) },
    { name: "", point: steered },
  ],
  keyframes: [seedPoint(1, 1), steered],
  path: { frames: 12, fps: 24, curve: "lerp", loop: false },
  mixing: { rows: "1-3", columns: "4,5", layers: "0-6,9" },
  compare: "sg3/@stable",
};

test("a link restores everything", () => {
  expect(fromFragment(toFragment(full))).toEqual(full);
  expect(fromFragment(`#${toFragment(START)}`)).toEqual(START);
  expect(toFragment(START)).toBe("");
  expect(fromFragment("p=seed:5;psi:0.7").point).toEqual(seedPoint(5));
});

test("a link has only characters that a fragment may hold", () => {
  expect(toFragment(full)).toMatch(/^[\w=&:;,!~@%.-]+$/);
});

test("directions that move nothing are left out", () => {
  const unused = { ...full, point: seedPoint(0), kept: [], keyframes: [] };
  expect(fromFragment(toFragment(unused)).directions).toEqual([]);
});

test.each([
  "view=cellar",
  "p=seed:-1",
  "p=seed:1e99",
  "p=seed:5;psi:9",
  "p=seed:5;psi:",
  "p=seed:5;x:NaN",
  "p=seed:5;cut:99999999",
  "from=4294967296",
  "q=1",
  "p=ws:a!AAA!0!",
  "p=ws:a!AADAfw!0!",
  "p=ws:a!!0!",
  "p=seed:1;mix:3@frog",
  "path=0,1,cubic,loop",
  "p=seed:1;plane:1",
  "d=x!1!0!",
])("what is no link is refused: %s", (fragment) => {
  expect(() => fromFragment(fragment)).toThrow();
});

test("undo and redo by steps", () => {
  const store = new Store(START);
  store.live({ firstSeed: 1 });
  store.live({ firstSeed: 2 });
  store.commit();
  store.replace({ view: "picture" });
  store.change({ firstSeed: 3 });
  expect([store.canUndo, store.canRedo]).toEqual([true, false]);
  store.undo();
  expect(store.state).toMatchObject({ firstSeed: 2, view: "picture" });
  store.undo();
  expect([store.state.firstSeed, store.canUndo, store.canRedo]).toEqual([0, false, true]);
  store.redo();
  store.redo();
  store.redo();
  expect(store.state.firstSeed).toBe(3);
  store.undo();
  store.change({ firstSeed: 9 }); // forgets what was undone
  expect(store.canRedo).toBe(false);
  store.commit(); // nothing has changed since
  store.undo();
  expect(store.state.firstSeed).toBe(2);
});

test("files are named by their picture, in any script", () => {
  const named = (name: string): Point => ({ ...seedPoint(0), source: { ...projected, name } as Source });
  expect([seedPoint(5), named("seed 12, points"), named("портрет é 1/2"), named("a<b>.x")].map(fileName)).toEqual([
    "seed0005.png",
    "seed0012-points.png",
    "портрет-é-1-2.png",
    "a-b-.x.png",
  ]);
});

test("the command line of a point", () => {
  const address = { server: "http://localhost:8501", model: "sg3", version: null };
  expect(networkName("", address)).toBe("grpc://localhost:8500/sg3");
  const point: Point = { ...seedPoint(5, 0.7, [0, 1]), cutoff: 8, rotate: 30, x: 0.25 };
  expect(command(point, "my net's.keras")).toBe(
    "sg3tf generate images --network='my net'\\''s.keras' --seeds=5 --trunc=0.7 --trunc_cutoff=8 --class=1 " +
      "--rotate=30 --translate=0.25,0 --outdir=out",
  );
  // Of networks with labels of one number, --class takes the label and not a class.
  expect(flagsOf(seedPoint(5, 1, [1]))).toContainEqual(["class", "1"]);
  expect(flagsOf(seedPoint(5, 1, [0]))).toContainEqual(["class", "0"]);
  // A number may be the name of another class.
  const classFlag = (label: number[], names: string[]) =>
    Object.fromEntries(flagsOf(seedPoint(5, 1, label), false, names)).class;
  expect(classFlag([0, 1, 0], ["1", "2", "3"])).toBe("2");
  expect(classFlag([0, 1, 0], ["2", "x".repeat(100), "1"])).toBe("0.0,1.0,0.0"); // the name may have been cut
  expect(classFlag([0, 0.5, 0], ["1", "2", "3"])).toBe("0.0,0.5,0.0");
  expect([[1], [0]].map((label) => classFlag(label, ["cat"]))).toEqual(["cat", "0.0"]);
  expect(command(seedPoint(5, 1, [0, 1]), "n", false, ["a", "it's"])).toContain("--class='it'\\''s'");
  expect(metadata(seedPoint(5, 1, [0, 1]), "n", true, false, ["1", "2"])).toMatchObject({ class: "2" });
  // Standardized labels are other numbers for --class.
  expect(command(seedPoint(5, 1, [-1]), "n", true)).toContain("--latents=explorer.npz");
  expect(metadata(seedPoint(5, 1, [-1]), "n", true, true)).not.toHaveProperty("class");
  expect(flagsOf(seedPoint(5), true)).toContainEqual(["seeds", "5"]);
  expect(command(steered, "n")).toBe("sg3tf generate images --network=n --latents=explorer.npz --outdir=out");
  expect(metadata({ ...seedPoint(5, 0.5), x: 0.5 }, "n", true)).toEqual({
    seeds: "5",
    seed: "5",
    trunc: "0.5",
    psi: "0.5",
    translate: "0.5,0",
    Software: "sg3tf explorer",
    network: "n",
    transform: "[[1.0, 0.0, -0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]",
  });
  // Latents are stored truncated, and with a cutoff no single number describes them.
  for (const point of [steered, { ...seedPoint(5, 0.5), source: projected }]) {
    const label = point.label ? ["label"] : [];
    expect(Object.keys(metadata(point, "n", false)).sort()).toEqual(["Software", ...label, "latents", "network"]);
  }
  expect(metadata({ ...seedPoint(5, 0.5), cutoff: 2 }, "n", true)).not.toHaveProperty("psi");
});
