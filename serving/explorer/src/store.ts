/** The page's state: immutable, with undo and redo. */

import type { Curve, Direction } from "./latents";
import { seedPoint, type Point } from "./point";

export type View = "sheet" | "picture" | "mixing";
export type Look = "picture" | "undone" | "difference";

/** A picture kept in the tray: a favorite, or a point from a file. */
export interface Kept {
  readonly name: string;
  readonly point: Point;
}

export interface Path {
  readonly frames: number;
  readonly fps: number;
  readonly curve: Curve;
  readonly loop: boolean;
}

export interface MixingSheet {
  readonly rows: string;
  readonly columns: string;
  readonly layers: string;
}

export interface State {
  readonly view: View;
  readonly look: Look;
  readonly firstSeed: number;
  readonly point: Point;
  readonly directions: readonly Direction[];
  readonly kept: readonly Kept[];
  readonly keyframes: readonly Point[];
  readonly path: Path;
  readonly mixing: MixingSheet;
  /** what to compare with: MODEL, MODEL/VERSION or MODEL/@LABEL */
  readonly compare: string;
}

export const START: State = {
  view: "sheet",
  look: "picture",
  firstSeed: 0,
  point: seedPoint(0),
  directions: [],
  kept: [],
  keyframes: [],
  path: { frames: 30, fps: 15, curve: "cubic", loop: true },
  mixing: { rows: "0-3", columns: "8-12", layers: "coarse" },
  compare: "",
};

type Listener = (state: State, before: State) => void;
const MOST_STEPS = 200;

/** Holds the state; `live` changes are part of one step until `commit`. */
export class Store {
  private past: State[] = [];
  private future: State[] = [];
  private committed: State;
  private readonly listeners: Listener[] = [];

  constructor(public state: State) {
    this.committed = state;
  }

  /** Call `listener` after every change, and once now. */
  listen(listener: Listener): void {
    this.listeners.push(listener);
    listener(this.state, this.state);
  }

  /** Change the state while a control is being moved. */
  live(change: Partial<State>): void {
    this.show({ ...this.state, ...change });
  }

  /** Change the state, as one step of the history. */
  change(change: Partial<State>): void {
    this.live(change);
    this.commit();
  }

  /** Change what is no step of the history, such as the view. */
  replace(change: Partial<State>): void {
    this.committed = { ...this.committed, ...change };
    this.live(change);
  }

  /** End the step that `live` has begun. */
  commit(): void {
    if (this.state === this.committed) return;
    this.past = [...this.past, this.committed].slice(-MOST_STEPS);
    this.future = [];
    this.committed = this.state;
    this.show(this.state);
  }

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  get canRedo(): boolean {
    return this.future.length > 0;
  }

  undo(): void {
    const target = this.past.pop();
    if (!target) return;
    this.future.push(this.committed);
    this.committed = target;
    this.show(target);
  }

  redo(): void {
    const target = this.future.pop();
    if (!target) return;
    this.past.push(this.committed);
    this.committed = target;
    this.show(target);
  }

  private show(next: State): void {
    const before = this.state;
    this.state = next;
    for (const listener of this.listeners) listener(next, before);
  }
}
