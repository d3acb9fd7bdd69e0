/**
 * Whether the server answers: a banner while it does not, asking again ever more slowly, and going
 * on when it is back.
 */

import { Gone } from "../api/backend";
import type { Backend } from "../api/backend";
import { texts } from "../data/texts";
import { button, h } from "./dom";

const FIRST = 500; // milliseconds
const SLOWEST = 8_000;

export class Connection {
  readonly element = h("div", { className: "banner", hidden: true });
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly backend: Backend) {
    this.element.setAttribute("role", "alert");
  }

  /** What to do once the server is back. */
  onReturn(task: () => void): void {
    this.waiting.add(task);
  }

  lost(): void {
    if (!this.element.hidden) return;
    this.element.hidden = false;
    const now = button(texts.tryNow, () => void this.ask(FIRST));
    this.element.replaceChildren(h("span", {}, texts.lost), now);
    this.later(FIRST);
  }

  private later(wait: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.ask(wait), wait);
  }

  private async ask(wait: number): Promise<void> {
    clearTimeout(this.timer);
    try {
      await this.backend.about();
    } catch (error) {
      if (error instanceof Gone) return this.later(Math.min(2 * wait, SLOWEST));
    }
    this.element.hidden = true;
    for (const task of this.waiting) task();
  }
}
