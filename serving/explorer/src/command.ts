/** The command line that generates the same picture, and the metadata that it writes. */

import { pythonNumber } from "./png";
import { classOf, isUnsteered, nameOf, psiDescribes, transformOf, type Point } from "./point";
import { MOST_CHARACTERS, type Address } from "./server";

/** The file that a command reads if seeds alone do not define the picture. */
export const LATENTS_FILE = "explorer.npz";

/** Return the network for commands: that of `sg3tf explore`, or else the server's default gRPC address. */
export function networkName(network: string, { server, model }: Address): string {
  return network || `grpc://${new URL(server).hostname}:8500/${model}`;
}

/** Return true if flags cannot express the point: --class takes standardized labels in their original units. */
export function needsLatents(point: Point, isStandardized: boolean): boolean {
  return !isUnsteered(point) || point.source.kind !== "seed" || (isStandardized && point.label !== null);
}

/** Names of the network's classes; null if they have none. */
export type Names = readonly string[] | null;

/** Return the flags that express the point, in the order of `sg3tf generate images --help`. */
export function flagsOf(point: Point, isStandardized = false, names: Names = null): [string, string][] {
  if (needsLatents(point, isStandardized) || point.source.kind !== "seed") return [["latents", LATENTS_FILE]];
  const flags: [string, string][] = [
    ["seeds", String(point.source.seed)],
    ["trunc", String(point.psi)],
  ];
  if (point.cutoff !== null) flags.push(["trunc_cutoff", String(point.cutoff)]);
  if (point.label) flags.push(["class", classText(point.label, names)]);
  if (point.rotate) flags.push(["rotate", String(point.rotate)]);
  if (point.x || point.y) flags.push(["translate", `${point.x},${point.y}`]);
  return flags;
}

/**
 * Return a label as --class reads it. If classes have names, a number may be the name of another class; if they have
 * none and the label is one number, a number is the label itself.
 */
function classText(label: readonly number[], names: Names): string {
  const number = classOf(label);
  if (!names) return String(label.length === 1 ? label[0] : (number ?? label));
  const name = number === null ? undefined : names[number];
  const isWhole = name !== undefined && name.length < MOST_CHARACTERS; // longer ones are cut
  return isWhole ? name : label.map(pythonNumber).join();
}

/** Return `sg3tf generate images ...`. */
export function command(point: Point, network: string, isStandardized = false, names: Names = null): string {
  const own = flagsOf(point, isStandardized, names);
  const flags: [string, string][] = [["network", network], ...own, ["outdir", "out"]];
  return ["sg3tf generate images", ...flags.map(([name, value]) => `--${name}=${quoted(value)}`)].join(" ");
}

/** Return a picture's file name: seed0005.png, or the name of its source, in any script. */
export function fileName(point: Point): string {
  const name = nameOf(point).replace(/^seed (\d+)/, (_, seed: string) => `seed${seed.padStart(4, "0")}`);
  return `${name.replace(/[^\p{L}\p{M}\p{N}_.-]+/gu, "-")}.png`;
}

/** Return the texts that `sg3tf generate images` writes into its PNG files. */
export function metadata(
  point: Point,
  network: string,
  canTransform: boolean,
  isStandardized = false,
  names: Names = null,
): Record<string, string> {
  const flags = Object.fromEntries(flagsOf(point, isStandardized, names));
  const text: Record<string, string> = { ...flags, Software: "sg3tf explorer", network };
  if (isUnsteered(point) && point.source.kind === "seed") text.seed = String(point.source.seed);
  if (psiDescribes(point)) text.psi = pythonNumber(Math.fround(point.psi));
  if (point.label) text.label = `[${point.label.map((value) => pythonNumber(Math.fround(value))).join(", ")}]`;
  if (canTransform && (point.rotate || point.x || point.y)) {
    const values = [...transformOf(point)].map(pythonNumber);
    text.transform = `[${[0, 3, 6].map((row) => `[${values.slice(row, row + 3).join(", ")}]`).join(", ")}]`;
  }
  return text;
}

/** Quote for a POSIX shell, if needed. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
