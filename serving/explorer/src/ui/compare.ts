/** The same latents in another version, label or model of the server, side by side. */

import type { App } from "../app";
import { Generator } from "../generator";
import { titleOf, type Address } from "../server";
import { field, freshId, h } from "./dom";
import { panel } from "./panel";
import { stage, type Stage } from "./stage";

/** Read MODEL, MODEL/VERSION, MODEL/@LABEL, or a version alone. */
export function readTarget(text: string, address: Address): Address {
  const [first = "", second] = text.split("/");
  const isVersion = second === undefined && /^(\d+|@.+)$/.test(first);
  const model = isVersion ? address.model : first;
  const version = isVersion ? first : second || null;
  if (!model || (version !== null && !/^(\d+|@[^/]+)$/.test(version))) {
    throw new RangeError(`${text}: give a version, @label, MODEL or MODEL/VERSION`);
  }
  return { ...address, model, version };
}

export function compare(app: App): { panel: HTMLElement; side: HTMLElement; stage: Stage } {
  const { store } = app;
  let other: Generator | null = null;
  let wanted = "";
  const second = stage(app, "Compared picture", () => other);
  const caption = h("figcaption", {});
  const side = h("figure", { class: "side", hidden: true }, second.element, caption);
  const id = freshId();
  const versions = h("datalist", { id });
  const target = field("Compare with", { list: id, placeholder: "version, @label, MODEL/VERSION" }, (text) => {
    if (text) readTarget(text, app.address);
    store.change({ compare: text });
  });

  function connect(): void {
    const text = store.state.compare;
    if (text === wanted && (other || !text)) return;
    wanted = text;
    other = null;
    side.hidden = !text;
    target.set(text);
    if (!text) return;
    second.element.hidden = true; // it still shows the previous model
    caption.textContent = `Connecting to ${text}`;
    const done = app.attempt(
      async ({ server }) => {
        const found = await Generator.connect(server, readTarget(text, app.address));
        if (wanted !== text) return;
        other = found;
        caption.textContent = titleOf(found.address, found.facts);
        second.refresh();
      },
      () => ((wanted = ""), connect()),
    );
    void done.then(() => {
      if (wanted === text && !other) caption.textContent = `No connection to ${text}`;
    });
  }

  second.element.addEventListener("drawn", () => (second.element.hidden = false));
  app.whenReady(() => {
    versions.replaceChildren(...app.versions.map((version) => h("option", { value: version })));
    wanted = "";
    connect();
  });
  store.listen((state, before) => {
    if (state.compare !== before?.compare) connect();
  });
  const words = h("p", { class: "muted" }, "The same latents in another version, label or model of this server.");
  return { panel: panel("Compare", false, words, target.element, versions), side, stage: second };
}
