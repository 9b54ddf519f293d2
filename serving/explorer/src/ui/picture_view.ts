/** The view of one picture: the stage, its actions, and the panels that control it. */

import type { App } from "../app";
import { command, fileName, LATENTS_FILE, metadata, needsLatents, networkName, type Names } from "../command";
import type { Generator } from "../generator";
import { toFragment } from "../link";
import { withText } from "../png";
import { nameOf } from "../point";
import type { State } from "../store";
import { compare } from "./compare";
import { button, download, h } from "./dom";
import { directionsPanel } from "./directions_panel";
import { mixingPanel } from "./mixing_panel";
import { planePanel } from "./plane_panel";
import { seedPanel } from "./seed_panel";
import { stage, type Stage } from "./stage";
import { thumbnails } from "./thumbnail";
import { timeline } from "./timeline";
import { transformPanel } from "./transform_panel";
import { tray } from "./tray";

export interface PictureView {
  readonly element: HTMLElement;
  readonly stage: Stage;
  keep(): void;
  addKeyframe(): void;
  downloadPicture(): void;
  play(): void;
  copyLink(from: HTMLElement): Promise<void>;
}

export function pictureView(app: App): PictureView {
  const { store } = app;
  const main = stage(app, "Picture", () => app.generator);
  const other = compare(app);
  const thumbnail = thumbnails(app);
  const files = tray(app, thumbnail);
  const path = timeline(app, main, thumbnail);
  const network = () => networkName(app.network, app.address);
  const caption = h("figcaption", {});

  const save = (state: State) => {
    const { point, directions } = state;
    const name = fileName(point);
    void app.attempt(
      async (generator) => {
        const { facts } = generator;
        const png = await generator.picture(point, directions);
        const names = await namesOf(generator);
        const texts = metadata(point, network(), facts.canTransform, facts.isStandardized, names);
        download(name, withText(png, texts), "image/png");
      },
      () => save(state),
      `${name} was not saved`,
    );
  };
  const downloadPicture = () => save(store.state);
  const copyCommand = async () => {
    const { point } = store.state;
    const isStandardized = app.generator?.facts.isStandardized ?? false;
    const again = () => void copyCommand();
    const names = app.generator ? await app.attempt(namesOf, again, "The command was not copied") : null;
    if (names === undefined) return; // after a notice
    await copy(command(point, network(), isStandardized, names), commandButton);
    const [version, newest] = [app.generator?.version, app.versions.at(-1)];
    if (!app.network && version && newest && version !== newest) {
      app.notify(`The command uses version ${newest}, the server's newest; this is version ${version}.`);
    }
    if (needsLatents(point, isStandardized)) {
      app.notify(`The command reads ${LATENTS_FILE}: save it with “Save this as .npz”.`);
    }
  };
  const copyLink = (from: HTMLElement) => {
    const fragment = toFragment(store.state);
    return copy(`${location.origin}${location.pathname}${location.search}${fragment ? `#${fragment}` : ""}`, from);
  };
  const commandButton = button("Copy command", () => void copyCommand(), {
    title: "The command line that generates this picture",
  });
  const tools = h(
    "div",
    { class: "row tools" },
    button("☆ Keep", files.keep, { title: "f" }),
    button("Keyframe", path.add, { title: "k" }),
    button("Download PNG", downloadPicture, { title: "d" }),
    commandButton,
  );
  const panels = h(
    "div",
    { class: "panels" },
    seedPanel(app),
    transformPanel(app, main),
    planePanel(app),
    mixingPanel(app),
    directionsPanel(app, files.open),
    path.element,
    other.panel,
    files.element,
  );
  const stages = h("div", { class: "stages" }, h("figure", { class: "side" }, main.element, caption), other.side);
  const element = h(
    "section",
    { class: "picture", "aria-label": "Picture" },
    h("div", { class: "left" }, stages, tools),
    panels,
  );
  store.listen(({ point, view }, before) => {
    element.hidden = view !== "picture";
    // Move the focus to a picture opened by keyboard, not to the top of the page.
    const isOpened = before && view === "picture" && before.view !== view;
    if (isOpened && !document.activeElement?.closest("header")) main.element.focus({ preventScroll: true });
    const motion =
      point.rotate || point.x || point.y
        ? ` · ${point.rotate.toFixed(1)}° · ${point.x.toFixed(2)}, ${point.y.toFixed(2)}`
        : "";
    caption.textContent = `${nameOf(point)} · psi ${point.psi}${motion}`;
  });
  return { element, stage: main, keep: files.keep, addKeyframe: path.add, downloadPicture, play: path.play, copyLink };
}

/** Return the names of the classes, for --class; null if they have none. */
async function namesOf(generator: Generator): Promise<Names> {
  const { hasNames, isStandardized } = generator.facts;
  return hasNames && !isStandardized ? generator.classNames() : null;
}

/** Copy to the clipboard, and say so on the button; if that is not allowed, show the text to copy by hand. */
async function copy(text: string, from: HTMLElement): Promise<void> {
  const label = (from.dataset.label ??= from.textContent ?? ""); // it may still say "Copied"
  try {
    await navigator.clipboard.writeText(text);
    from.textContent = "Copied";
    setTimeout(() => (from.textContent = label), 1200);
  } catch {
    const area = h("textarea", { readonly: true, rows: 4, "aria-label": "Text to copy" }, text);
    const dialog: HTMLDialogElement = h(
      "dialog",
      { "aria-label": "Copy this text", onclose: () => dialog.remove() },
      area,
      button("Close", () => dialog.close()),
    );
    document.body.append(dialog);
    dialog.showModal();
    area.select();
  }
}
