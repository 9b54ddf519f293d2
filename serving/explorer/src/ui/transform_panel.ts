/** The panel of the transform: sliders, the look, and sweeps. */

import type { App } from "../app";
import { button, choices, h, slider } from "./dom";
import { changer, panel } from "./panel";
import type { Stage } from "./stage";

export function transformPanel(app: App, main: Stage): HTMLElement {
  const { store } = app;
  const { live, commit, change } = changer(app);
  const rotate = slider(
    { label: "Rotate", unit: "°", min: -180, max: 180, step: 1, rest: 0 },
    (value) => live({ rotate: value }),
    commit,
  );
  const x = slider(
    { label: "Right", unit: "widths", min: -0.5, max: 0.5, step: 0.01, rest: 0 },
    (value) => live({ x: value }),
    commit,
  );
  const y = slider(
    { label: "Down", unit: "widths", min: -0.5, max: 0.5, step: 0.01, rest: 0 },
    (value) => live({ y: value }),
    commit,
  );
  const look = choices(
    "Look",
    [
      ["picture", "Picture"],
      ["undone", "Transform undone"],
      ["difference", "Difference"],
    ],
    (value) => store.replace({ look: value }),
  );
  let sweeping: "" | "turn" | "circle" = "";
  let began = 0;
  const turn = button("Sweep: turn", () => toggle("turn"), { "aria-pressed": "false" });
  const circle = button("Sweep: circle", () => toggle("circle"), { "aria-pressed": "false" });
  const toggle = (kind: "turn" | "circle") => {
    sweeping = sweeping === kind ? "" : kind;
    began = performance.now();
    turn.setAttribute("aria-pressed", String(sweeping === "turn"));
    circle.setAttribute("aria-pressed", String(sweeping === "circle"));
    if (sweeping) requestAnimationFrame(frame);
    else main.override(null);
  };
  const frame = () => {
    if (!sweeping) return;
    if (store.state.view !== "picture") return toggle(sweeping);
    const phase = ((performance.now() - began) / 6000) % 1;
    const { point } = store.state;
    const angle = 2 * Math.PI * phase;
    const moved =
      sweeping === "turn"
        ? { rotate: point.rotate + 360 * phase }
        : { x: point.x + 0.125 * Math.sin(angle), y: point.y + 0.125 * (1 - Math.cos(angle)) };
    if (!main.latest.hasNewer) main.override({ ...point, ...moved });
    requestAnimationFrame(frame);
  };
  const reset = button("Reset", () => change({ rotate: 0, x: 0, y: 0 }), { title: "0 on the picture" });
  const unable = h("p", { class: "muted" });
  const controls = h(
    "fieldset",
    { class: "plain" },
    rotate.element,
    x.element,
    y.element,
    look.element,
    h("div", { class: "row" }, turn, circle, reset),
  );
  app.whenReady(({ facts }) => {
    controls.disabled = !facts.canTransform;
    unable.textContent = facts.canTransform
      ? ""
      : facts.canSteer
        ? "The input of this model cannot be transformed, unlike that of StyleGAN3."
        : "This version was exported without synthesize_png: export it again to move its pictures.";
  });
  store.listen(({ point, look: now }) => {
    rotate.set(point.rotate);
    x.set(point.x);
    y.set(point.y);
    look.set(now);
  });
  return panel(
    "Transform",
    true,
    h("p", { class: "muted" }, "Drag the picture to move it; rotate it with the wheel or two fingers."),
    unable,
    controls,
  );
}
