/** The page: reads its address, connects, and assembles the parts. */

import "./style.css";

import { App } from "./app";
import { fromFragment, MOST_CHARACTERS, toFragment } from "./link";
import { Server } from "./server";
import { START, Store, type State } from "./store";
import { connection } from "./ui/connection";
import { header } from "./ui/header";
import { noticeBoard } from "./ui/notices";
import { handleKeys } from "./ui/keys";
import { pictureView } from "./ui/picture_view";
import { mixingSheet } from "./ui/mixing_sheet";
import { sheet } from "./ui/sheet";
import { sheetBar } from "./ui/sheet_bar";
import { h } from "./ui/dom";

const LINK_DELAY_MS = 250;

function start(): void {
  const query = new URLSearchParams(location.search);
  const url = serverUrl(query.get("server"));
  const notices = noticeBoard();
  // A content security policy cannot contain an IPv6 address other than this page's.
  const isNumber = url?.includes("[") && url !== location.origin;
  if (!url || isNumber) {
    const remedy = isNumber
      ? "give the name of the server, or its IPv4 address"
      : "give an address such as http://127.0.0.1:8501";
    document.body.append(notices.element);
    notices.show(`server=${query.get("server")}: ${remedy}`);
    return;
  }
  limitRequestsTo(url);
  const address = { server: url, model: query.get("model") ?? "sg3", version: query.get("version") };
  const store = new Store(readState(location.hash, notices.show) ?? START);
  const app = new App(new Server(url), address, query.get("network") ?? "", store, notices.show);
  const view = pictureView(app);
  document.body.append(
    header(app, view),
    notices.element,
    h("main", {}, connection(app), sheetBar(app), sheet(app), view.element, mixingSheet(app)),
  );
  app.whenReady(({ facts }) => {
    document.documentElement.style.setProperty("--ratio", String(facts.width / facts.height));
  });
  handleKeys(app, view);
  keepLink(store, notices.show);
  // For tests, benchmarks and debugging: counters and sizes that the page itself does not need.
  Object.assign(window, { explorer: { app, view } });
}

/** Return the origin of the server; null if the text is not an address. */
function serverUrl(text: string | null): string | null {
  if (text === null) return location.origin;
  try {
    const url = new URL(text.includes("://") ? text : `http://${text}`);
    return url.protocol === "http:" || url.protocol === "https:" ? url.origin : null;
  } catch {
    return null;
  }
}

/** From here on, the browser blocks requests to anything but the server. */
function limitRequestsTo(url: string): void {
  const source = url === location.origin ? "'self'" : url;
  document.head.append(h("meta", { "http-equiv": "Content-Security-Policy", content: `connect-src ${source}` }));
}

/** Return the state in a link; null, after a notice, if it cannot be read. */
function readState(hash: string, notify: (message: string) => void): State | null {
  try {
    return fromFragment(hash);
  } catch (error) {
    notify(`The link cannot be read: ${error instanceof Error ? error.message : error}`);
    return null;
  }
}

/** Keep the state in the page's address, and follow changes of the address. */
function keepLink(store: Store, notify: (message: string) => void): void {
  let timer = 0;
  let written = location.hash;
  let wasLong = false;
  store.listenLive((state) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      const fragment = toFragment(state);
      history.replaceState(null, "", `${location.pathname}${location.search}${fragment ? `#${fragment}` : ""}`);
      written = location.hash;
      const isLong = fragment.length > MOST_CHARACTERS;
      if (isLong && !wasLong) {
        const megabytes = (fragment.length / 1e6).toFixed(1);
        notify(`The link has ${megabytes} MB, more than browsers open: remove kept pictures, or save them as .npz.`);
      }
      wasLong = isLong;
    }, LINK_DELAY_MS);
  });
  window.addEventListener("hashchange", ({ newURL }) => {
    const { hash } = new URL(newURL); // location.hash may have been replaced since
    const state = hash === written ? null : readState(hash, notify);
    if (state) store.change(state);
    written = hash;
  });
}

start();
