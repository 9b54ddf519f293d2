/** Truncation and label, for the sheet and for one picture. */

import type { App } from "../app";
import { h, slider } from "./dom";
import { firstLabel, labelControl, type LabelControl } from "./label_control";
import { changer, clamp } from "./panel";

export function truncation(app: App): HTMLElement {
  const { store } = app;
  const { live, commit } = changer(app);
  const psi = slider(
    { label: "Truncation psi", min: -1, max: 2, step: 0.05, rest: 1 },
    (value) => live({ psi: clamp(value, -2, 2) }),
    commit,
  );
  const cutoff = slider(
    { label: "Cutoff", unit: "style vectors", min: 0, max: 16, step: 1 },
    (value) => live({ cutoff: value >= numWs ? null : clamp(Math.round(value), 0, numWs) }),
    commit,
  );
  let numWs = 16;
  let label: LabelControl | null = null;
  const labelArea = h("div", {});
  app.whenReady((generator) => {
    const { facts } = generator;
    numWs = facts.numWs;
    cutoff.setMost(numWs);
    cutoff.enable(facts.canSteer);
    label = facts.labelDim ? labelControl(app, generator) : null;
    labelArea.replaceChildren(...(label ? [label.element] : []));
    const { point } = store.state;
    // A link may come from another network, or from one without labels.
    if ((point.label?.length ?? 0) !== facts.labelDim) {
      store.replace({ point: { ...point, label: label ? firstLabel(facts) : null } });
    }
    show();
  });
  const show = () => {
    const { point } = store.state;
    psi.set(point.psi);
    cutoff.set(point.cutoff ?? numWs);
    label?.set(point);
  };
  store.listen(show);
  return h("div", { class: "truncation" }, psi.element, cutoff.element, labelArea);
}
