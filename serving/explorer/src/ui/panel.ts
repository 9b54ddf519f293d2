/** Shared by the panels next to the picture. */

import type { App } from "../app";
import type { Point } from "../point";
import { h } from "./dom";

/** A collapsible section of the sidebar. */
export function panel(title: string, isOpen: boolean, ...content: Node[]): HTMLDetailsElement {
  return h(
    "details",
    { class: "panel", open: isOpen },
    h("summary", {}, title),
    h("div", { class: "panel-body" }, ...content),
  );
}

/** Change the point of the state. */
export function changer(app: App) {
  const { store } = app;
  return {
    live: (change: Partial<Point>) => store.live({ point: { ...store.state.point, ...change } }),
    commit: () => store.commit(),
    change: (change: Partial<Point>) => store.change({ point: { ...store.state.point, ...change } }),
  };
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
