/** Helpers for the page's elements. Texts are always set as text, never as markup. */

type Child = Node | string | null;
type Attributes = Readonly<Record<string, string | number | boolean | null | ((event: any) => void)>>;

/** Create an element: functions are listeners (`onclick`), true is an empty attribute, null and false are omitted. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Create a button. */
export function button(
  label: string,
  onclick: (event: MouseEvent) => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  return h("button", { type: "button", onclick, ...attributes }, label);
}

let numbers = 0;

/** Return an id that no other element has. */
export function freshId(): string {
  return `id${++numbers}`;
}

export interface Slider {
  readonly element: HTMLElement;
  set(value: number): void;
  setMost(max: number): void;
  rename(label: string): void;
  enable(isEnabled: boolean): void;
}

/** Set a value if it differs, because all controls are updated with every movement of the pointer. */
function setValue(input: HTMLInputElement, value: string): void {
  if (input.value !== value) input.value = value;
}

/** A labeled slider with a number next to it; calls `live` while it moves and `commit` at the end. */
export function slider(
  options: { label: string; min: number; max: number; step: number; unit?: string; rest?: number },
  live: (value: number) => void,
  commit: () => void,
): Slider {
  const { label, min, max, step, rest } = options;
  const digits = Math.min(100, Math.max(3, 1 - Math.floor(Math.log10(step))));
  const id = freshId();
  const range = h("input", { id, type: "range", min, max, step });
  const number = h("input", { type: "number", step, "aria-label": `${label}, number`, class: "number" });
  let shown = "";
  const read = (input: HTMLInputElement) => {
    if (input.value !== "" && Number.isFinite(input.valueAsNumber)) live(input.valueAsNumber);
  };
  range.addEventListener("input", () => read(range));
  number.addEventListener("change", () => {
    read(number);
    commit();
    setValue(number, shown); // the actual value: the number may be invalid or out of range
  });
  range.addEventListener("change", commit);
  if (rest !== undefined) {
    range.addEventListener("dblclick", () => {
      live(rest);
      commit();
    });
    range.title = `Double-click: ${rest}`;
  }
  const words = h("span", {}, label);
  const caption = h(
    "label",
    { for: id },
    words,
    options.unit ? h("span", { class: "unit" }, ` ${options.unit}`) : null,
  );
  return {
    element: h("div", { class: "slider" }, caption, range, number),
    set(value) {
      setValue(range, String(value));
      shown = String(Number(value.toFixed(digits)));
      if (document.activeElement !== number) setValue(number, shown);
    },
    setMost(most) {
      range.max = String(most);
    },
    rename(text) {
      words.textContent = text;
      number.setAttribute("aria-label", `${text}, number`);
    },
    enable(isEnabled) {
      range.disabled = number.disabled = !isEnabled;
    },
  };
}

/** A row of choices, one of which is selected; arrow keys move between them, as between radio buttons. */
export function choices<Value extends string>(
  label: string,
  options: readonly (readonly [Value, string])[],
  choose: (value: Value) => void,
): { element: HTMLElement; set(value: Value): void } {
  const name = freshId();
  const inputs = options.map(([value]) => h("input", { type: "radio", name, value, onchange: () => choose(value) }));
  const labels = options.map(([, text], i) => h("label", {}, inputs[i]!, h("span", {}, text)));
  return {
    element: h("fieldset", { class: "choices" }, h("legend", { class: "hidden" }, label), ...labels),
    set(value) {
      for (const input of inputs) input.checked = input.value === value;
    },
  };
}

/** A text field with a label; `read` throws for invalid text. `set` shows a valid value. */
export function field(
  label: string,
  attributes: Attributes,
  read: (text: string) => void,
): { element: HTMLElement; input: HTMLInputElement; set(text: string): void } {
  const id = freshId();
  const error = h("span", { class: "error", role: "alert", id: `${id}-error` });
  const input = h("input", { id, type: "text", autocomplete: "off", spellcheck: "false", ...attributes });
  const clear = () => {
    error.textContent = "";
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  };
  input.addEventListener("change", () => {
    try {
      read(input.value.trim());
      clear();
    } catch (problem) {
      error.textContent = problem instanceof Error ? problem.message : String(problem);
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", error.id);
    }
  });
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, label), input, error),
    input,
    set(text) {
      setValue(input, text);
      clear();
    },
  };
}

/** Have the browser save a file. */
export function download(name: string, data: Uint8Array<ArrayBuffer> | Blob, type: string): void {
  const url = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
