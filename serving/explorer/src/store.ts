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
  /** the model to compare with: MODEL, MODEL/VERSION or MODEL/@LABEL */
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

/** @param before the state that the listener received last; null the first time */
type Listener = (state: State, before: State | null) => void;

const MOST_STEPS = 200;
const LEAST_MS = 100; // between the `live` states that all controls receive
const MOST_MS = 300;

/**
 * Holds the state; `live` changes belong to one step until `commit`.
 *
 * Dragging a picture changes the state with every movement. If all controls followed each change, laying out and
 * drawing the page would take CPU time from the pictures.
 */
export class Store {
  private past: State[] = [];
  private future: State[] = [];
  private committed: State;
  private told: State;
  private toldAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners: Listener[] = [];
  private readonly liveListeners: Listener[] = [];

  constructor(public state: State) {
    this.committed = this.told = state;
  }

  /** Call `listener` now, after every change, and occasionally during `live` changes (see `follow`). */
  listen(listener: Listener): void {
    this.listeners.push(listener);
    listener(this.state, null);
  }

  /** Call `listener` now and after every change, including each `live` one. */
  listenLive(listener: Listener): void {
    this.liveListeners.push(listener);
    listener(this.state, null);
  }

  /** Change the state while a control is being moved. */
  live(change: Partial<State>): void {
    this.set({ ...this.state, ...change });
    this.timer ??= setTimeout(() => this.tell(), MOST_MS);
  }

  /** A picture of the `live` state is drawn: update the controls too, so that the page is drawn once for both. */
  follow(): void {
    if (this.timer !== undefined && performance.now() - this.toldAt >= LEAST_MS) this.tell();
  }

  /** Change the state, as one step of the history. */
  change(change: Partial<State>): void {
    this.set({ ...this.state, ...change });
    this.commit();
  }

  /** Change the state without a step in the history, such as the view. */
  replace(change: Partial<State>): void {
    this.committed = { ...this.committed, ...change };
    this.show({ ...this.state, ...change });
  }

  /** End the step that `live` started. */
  commit(): void {
    if (this.state === this.committed) return;
    this.past = [...this.past, this.committed].slice(-MOST_STEPS);
    this.future = [];
    this.committed = this.state;
    this.tell();
  }

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  get canRedo(): boolean {
    return this.future.length > 0;
  }

  undo(): void {
    this.commit();
    const target = this.past.pop();
    if (!target) return;
    this.future.push(this.committed);
    this.committed = target;
    this.show(target);
  }

  redo(): void {
    this.commit();
    const target = this.future.pop();
    if (!target) return;
    this.past.push(this.committed);
    this.committed = target;
    this.show(target);
  }

  private show(next: State): void {
    this.set(next);
    this.tell();
  }

  private set(next: State): void {
    const before = this.state;
    this.state = next;
    for (const listener of this.liveListeners) listener(next, before);
  }

  private tell(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.toldAt = performance.now();
    const before = this.told;
    this.told = this.state;
    for (const listener of this.listeners) listener(this.state, before);
  }
}
