/** Keyframes on a timeline: playing the path through them, and saving it as a film. */

import type { App } from "../app";
import { Film, frameCount, zipFrames } from "../film";
import { Latest } from "../latest";
import { nameOf } from "../point";
import { encodeFilm, findCodec, sizeOf, type Container } from "../video";
import { button, choices, download, field, h, slider } from "./dom";
import { panel } from "./panel";
import type { Stage } from "./stage";
import type { Thumbnail } from "./thumbnail";

const AHEAD = 8; // frames requested in advance
const CONCURRENT = 2;

export interface Timeline {
  readonly element: HTMLElement;
  add(): void;
  play(): void;
}

export function timeline(app: App, main: Stage, thumbnail: Thumbnail): Timeline {
  const { store } = app;
  const list = h("ol", { class: "cards", "aria-label": "Keyframes" });
  const length = h("p", { class: "muted" });
  const position = slider(
    { label: "Frame", min: 0, max: 1, step: 1 },
    (value) => seek(Math.round(value)),
    () => undefined,
  );
  const progress = h("progress", { max: 1, value: 0, "aria-label": "Progress of the film" });
  const number = (label: string, key: "frames" | "fps", most: number) =>
    field(label, { type: "number", min: 1, max: most, class: "short" }, (text) => {
      const value = Number(text);
      if (!Number.isInteger(value) || value < 1 || value > most)
        throw new RangeError(`${text || "nothing"}: give a whole number from 1 to ${most}`);
      store.change({ path: { ...store.state.path, [key]: value } });
    });
  const frames = number("Frames from one to the next", "frames", 600);
  const fps = number("Frames per second", "fps", 60);
  const curve = choices(
    "Curve",
    [
      ["cubic", "Smooth"],
      ["lerp", "Straight"],
      ["slerp", "Arcs of z"],
    ],
    (value) => store.change({ path: { ...store.state.path, curve: value } }),
  );
  const loop = h("input", {
    type: "checkbox",
    id: "loop",
    onchange: () => store.change({ path: { ...store.state.path, loop: loop.checked } }),
  });
  const playButton = button("Play", () => play(), { "aria-pressed": "false", title: "Space" });
  const stop = button("Back to the picture", () => end());
  const films = { mp4: button("Save MP4", () => void save("mp4")), webm: button("Save WebM", () => void save("webm")) };
  const zip = button("Save PNG frames", () => void save("zip"));
  const cancel = button("Cancel", () => job?.abort());
  const saving = h("div", { class: "row", hidden: true }, progress, cancel);
  let film: Film | null = null;
  let isPlaying = false;
  let job: AbortController | null = null; // while a film is saved
  let at = 0;
  let shown: Promise<void> = Promise.resolve();
  const seeking = new Latest();
  let isSought = false; // show a frame, not the picture

  const add = () => store.change({ keyframes: [...store.state.keyframes, store.state.point] });

  function current(): Film | null {
    const { keyframes, directions, path } = store.state;
    if (!app.generator || !keyframes.length) return null;
    return (film ??= new Film(app.generator, keyframes, directions, path));
  }

  function seek(frame: number): void {
    const source = current();
    if (!source) return;
    at = Math.min(Math.max(frame, 0), source.count - 1);
    position.set(at);
    isSought = !isPlaying; // playback continues from there
    if (isPlaying) return;
    seeking.request(async () => {
      await app.attempt(
        async () => {
          const png = await source.frame(at);
          if (isSought) await main.film(png);
        },
        () => seek(at),
        "The frame was not shown",
      );
    });
  }

  function play(): void {
    if (isPlaying || !current()) return pause();
    if (store.state.view !== "picture") store.replace({ view: "picture" });
    isPlaying = true;
    isSought = false;
    playButton.textContent = "Stop";
    playButton.setAttribute("aria-pressed", "true");
    shown = shown.then(run);
  }

  /** Show frames one by one, at most at the requested rate; frames ahead are fetched in the background. */
  async function run(): Promise<void> {
    let due = performance.now();
    let fetching = 0;
    const fetchAhead = (source: Film, from: number) => {
      for (let i = from; i < from + AHEAD && fetching < CONCURRENT; i++) {
        const frame = i % source.count;
        if (source.has(frame)) continue;
        fetching++;
        void source
          .frame(frame)
          .catch(() => undefined)
          .finally(() => fetching--);
      }
    };
    while (isPlaying) {
      const source = current();
      if (!source || store.state.view !== "picture") break;
      fetchAhead(source, at + 1);
      const done = await app.attempt(
        async () => {
          await main.film(await source.frame(at % source.count));
          return true;
        },
        () => isPlaying || play(),
        "Playback stopped",
      );
      if (!done) break;
      position.set(at % source.count);
      due = Math.max(due + 1000 / source.path.fps, performance.now() - 100);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
      // A hidden page requests no frames.
      if (document.hidden)
        await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      const isLast = at + 1 >= source.count;
      if (isLast && !source.path.loop) {
        at = 0;
        break;
      }
      at = (at + 1) % source.count;
    }
    pause();
  }

  function pause(): void {
    isPlaying = false;
    playButton.textContent = "Play";
    playButton.setAttribute("aria-pressed", "false");
  }

  function end(): void {
    if (isPlaying) pause();
    isSought = false;
    void shown.then(() => main.film(null));
  }

  async function save(kind: Container | "zip"): Promise<void> {
    const source = current();
    if (!source || !app.generator || job) return;
    pause();
    const { signal } = (job = new AbortController());
    saving.hidden = false;
    const report = (part: number) => {
      signal.throwIfAborted();
      progress.value = part;
    };
    const name = `path.${kind}`;
    await app.attempt(
      async ({ facts }) => {
        if (kind === "zip") download(name, await zipFrames(source, report), "application/zip");
        else download(name, await encodeFilm(source, kind, facts, report), `video/${kind}`);
      },
      () => void save(kind), // with the frames that are known
      `${name} was not saved`,
    );
    job = null;
    saving.hidden = true;
    progress.value = 0;
  }

  function move(i: number, by: number): void {
    const keyframes = [...store.state.keyframes];
    const [taken] = keyframes.splice(i, 1);
    keyframes.splice(Math.max(0, i + by), 0, taken!);
    store.change({ keyframes });
  }

  const controls = h(
    "fieldset",
    { class: "plain" },
    h("div", { class: "row" }, button("Add this picture", add, { title: "k" }), playButton, stop),
    list,
    position.element,
    h("div", { class: "row" }, frames.element, fps.element),
    h("div", { class: "row" }, curve.element, h("label", { class: "check" }, loop, "Loop")),
    length,
    h("div", { class: "row" }, films.mp4, films.webm, zip),
    saving,
  );
  app.whenReady((generator) => {
    const { facts } = generator;
    controls.disabled = !facts.canSteer;
    if (film?.generator !== generator) film = null;
    for (const kind of ["mp4", "webm"] as const) {
      void findCodec(kind, sizeOf(facts)).then((codec) => {
        films[kind].title = codec
          ? `Encoded by this browser as ${codec.title}`
          : "This browser has no encoder for it on this page: save PNG frames instead";
      });
    }
  });
  // Immediately, because dragging must not wait for a film.
  store.listenLive(({ point }, before) => {
    if (before && point !== before.point) end();
  });
  store.listen((state, before) => {
    const { keyframes, path } = state;
    frames.set(String(path.frames));
    fps.set(String(path.fps));
    curve.set(path.curve);
    loop.checked = path.loop;
    const count = frameCount(keyframes.length, path);
    const isNew =
      keyframes !== before?.keyframes || path !== before.path || state.directions !== before.directions;
    if (!isNew) return;
    film = null;
    at = Math.min(at, Math.max(0, count - 1));
    position.setMost(Math.max(0, count - 1));
    position.set(at);
    position.enable(count > 0);
    for (const each of [playButton, stop, films.mp4, films.webm, zip]) each.disabled = count === 0;
    length.textContent = count
      ? `${count} frames, ${(count / path.fps).toFixed(1)} seconds`
      : "Add pictures; the path runs from each to the next.";
    if (keyframes === before?.keyframes) return;
    list.replaceChildren(
      ...keyframes.map((point, i) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "card",
              "aria-label": `Open keyframe ${i}, ${nameOf(point)}`,
              onclick: () => store.change({ point }),
            },
            thumbnail(point),
            h("span", {}, nameOf(point)),
          ),
          button("‹", () => move(i, -1), { "aria-label": `Move keyframe ${i} to the front`, class: "earlier" }),
          button("×", () => store.change({ keyframes: store.state.keyframes.filter((_, k) => k !== i) }), {
            "aria-label": `Remove keyframe ${i}`,
            class: "remove",
          }),
        ),
      ),
    );
  });
  return { element: panel("Timeline", false, controls), add, play };
}
