/** Error messages, each with a way to retry. */

import { button, h } from "./dom";

const MOST_NOTICES = 3;

export interface NoticeBoard {
  readonly element: HTMLElement;
  show(message: string, retry?: () => void): void;
}

export function noticeBoard(): NoticeBoard {
  const element = h("div", { class: "notices", role: "alert" });
  return {
    element,
    show(message, retry) {
      for (const known of [...element.children]) {
        if ((known as HTMLElement).dataset.message === message) known.remove();
      }
      const notice: HTMLElement = h(
        "div",
        { class: "notice", "data-message": message },
        h("span", {}, message),
        retry ? button("Try again", () => (notice.remove(), retry())) : null,
        button("×", () => notice.remove(), { "aria-label": "Close this notice" }),
      );
      element.append(notice);
      while (element.children.length > MOST_NOTICES) element.firstElementChild!.remove();
    },
  };
}
