/** Favorites and points from files; the file dialog, and files dropped anywhere on the page. */

import type { App } from "../app";
import { LATENTS_FILE } from "../command";
import { readFile, writePoints } from "../files";
import { nameOf, type Point } from "../point";
import { button, download, h } from "./dom";
import { panel } from "./panel";
import type { Thumbnail } from "./thumbnail";

export interface Tray {
  readonly element: HTMLElement;
  /** Open the file dialog. */
  open(): void;
  keep(): void;
}

export function tray(app: App, thumbnail: Thumbnail): Tray {
  const { store } = app;
  const list = h("ul", { class: "cards", "aria-label": "Kept pictures" });
  const input = h("input", {
    type: "file",
    accept: ".npz",
    multiple: true,
    hidden: true,
    "aria-label": "Files of latents or directions",
    onchange: () => void load([...(input.files ?? [])]).then(() => (input.value = "")),
  });
  const empty = h(
    "p",
    { class: "muted" },
    "Favorites, projections and other .npz files of sg3tf appear here: drop them on the page.",
  );

  async function load(files: readonly File[]): Promise<void> {
    for (const file of files) {
      const content = await app.attempt(
        (generator) => readFile(file, generator),
        () => void load([file]),
        `${file.name} was not opened`,
      );
      if (!content) continue;
      const { state } = store;
      if (content.kind === "directions") {
        const known = new Set(state.directions.map(({ name }) => name));
        const stem = file.name.replace(/\.npz$/, "");
        const added = content.directions.map((each) =>
          known.has(each.name) ? { ...each, name: `${stem} ${each.name}` } : each,
        );
        const kept = state.directions.filter(({ name }) => !added.some((each) => each.name === name));
        store.change({ directions: [...kept, ...added], view: "picture" });
      } else {
        store.change({ kept: [...state.kept, ...content.points], point: content.points[0]!.point, view: "picture" });
      }
    }
  }

  const keep = () => {
    const { kept, point } = store.state;
    store.change({ kept: [...kept, { name: nameOf(point), point }] });
  };
  const save = (points: readonly Point[]): void =>
    void app.attempt(
      async (generator) => {
        download(LATENTS_FILE, await writePoints(points, store.state.directions, generator), "application/zip");
      },
      () => save(points),
      `${LATENTS_FILE} was not saved`,
    );
  const saveAll = button("Save kept as .npz", () => save(store.state.kept.map((each) => each.point)));

  store.listen((state, before) => {
    if (state.kept === before?.kept) return;
    list.replaceChildren(
      ...state.kept.map(({ name, point }, i) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "card",
              "aria-label": `Open ${name}`,
              title: name,
              onclick: () => store.change({ point, view: "picture" }),
            },
            thumbnail(point),
            h("span", {}, name),
          ),
          button("×", () => store.change({ kept: store.state.kept.filter((_, k) => k !== i) }), {
            "aria-label": `Remove ${name}`,
            class: "remove",
          }),
        ),
      ),
    );
    empty.hidden = state.kept.length > 0;
    saveAll.disabled = state.kept.length === 0;
  });
  acceptDrops(load);
  const row = h(
    "div",
    { class: "row" },
    button("Keep this picture", keep, { title: "f" }),
    button("Open .npz", () => input.click()),
    button("Save this as .npz", () => save([store.state.point])),
    saveAll,
    input,
  );
  const controls = h("fieldset", { class: "plain" }, row);
  app.whenReady(({ facts }) => (controls.disabled = !facts.canSteer));
  return { element: panel("Favorites and files", true, empty, list, controls), open: () => input.click(), keep };
}

function acceptDrops(load: (files: readonly File[]) => Promise<void>): void {
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  window.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    void load([...(event.dataTransfer?.files ?? [])]);
  });
}
