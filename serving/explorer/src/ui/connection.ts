/** Shown until a model answers: the reason, and fields for another server, model or key. */

import type { App } from "../app";
import { ServerError } from "../server";
import { field, h } from "./dom";

export function connection(app: App): HTMLElement {
  const { server, address } = app;
  const reason = h("p", { role: "status" });
  const url = field("Server", { value: server.url }, () => undefined);
  const model = field("Model", { value: address.model }, () => undefined);
  const version = field("Version, or @label", { value: address.version ?? "", placeholder: "newest" }, () => undefined);
  const key = field("API key, if the server requires one", { type: "password" }, (text) => (server.key = text));
  const open = () => {
    const [newUrl, newModel] = [url.input.value.trim(), model.input.value.trim()];
    const newVersion = version.input.value.trim() || null;
    const query = new URLSearchParams(location.search);
    query.set("server", newUrl);
    query.set("model", newModel);
    if (newVersion) query.set("version", newVersion);
    else query.delete("version");
    if (newUrl === server.url && newModel === address.model && newVersion === address.version) void connect();
    else location.search = query.toString();
  };
  const form = h(
    "form",
    { class: "connection", hidden: true, onsubmit: (event: Event) => (event.preventDefault(), open()) },
    h("h2", {}, "No model to explore yet"),
    reason,
    url.element,
    model.element,
    version.element,
    key.element,
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Connect")),
    h(
      "p",
      { class: "muted" },
      "A server at another address must allow requests from this page: " +
        "TensorFlow Serving and sg3tf serve do so with --rest_api_enable_cors_support.",
    ),
  );

  async function connect(): Promise<void> {
    reason.textContent = "";
    try {
      await app.connect();
      form.hidden = true;
    } catch (error) {
      reason.textContent = error instanceof ServerError ? error.message : String(error);
      form.hidden = false;
      document.body.classList.add("without-model");
    }
  }

  app.whenReady(() => {
    form.hidden = true;
    document.body.classList.remove("without-model");
  });
  app.watch(() => {
    if (app.generator || app.health !== "lost") return;
    reason.textContent = `No answer from ${server.url}: trying again every two seconds.`;
    form.hidden = false;
    document.body.classList.add("without-model");
  });
  void connect();
  return form;
}
