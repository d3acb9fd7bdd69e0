/** Sentences for everybody: shown for a while, and read aloud. */

import { said } from "../data/answers";
import { texts } from "../data/texts";
import { button, h } from "./dom";

const SHOWN = 6_000; // milliseconds

export class Messages {
  readonly element = h("div", { className: "messages" });
  private readonly polite = h("div", { className: "quiet" });

  constructor() {
    this.polite.setAttribute("role", "status");
    this.element.append(this.polite);
  }

  say(sentence: string, kind: "news" | "trouble" = "news"): void {
    const message = h("p", { className: `message ${kind}` }, said(sentence));
    if (kind === "trouble") {
      message.setAttribute("role", "alert");
      message.append(
        button("×", () => message.remove(), { className: "close", aria: { label: texts.dismiss } }),
      );
    } else this.polite.textContent = said(sentence);
    for (const old of this.element.querySelectorAll(`.message.${kind}`)) old.remove();
    this.element.append(message);
    setTimeout(() => message.remove(), kind === "trouble" ? 2 * SHOWN : SHOWN);
  }
}
