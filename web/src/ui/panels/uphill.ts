/** Held down, a stop slides uphill to where half of the real images are less likely: to the typical. */

import { attempt } from "../../api/attempt";
import { rows } from "../../api/wire";
import type { App } from "../../data/app";
import { letter } from "../../data/words";
import { button, h } from "../dom";

const STEP = 0.04; // of the population, from one share to the next
const TYPICAL = 0.5;

/** The first share to slide to from a place of some typicality. */
export const shareAbove = (typicality: number): number => STEP * (Math.floor(typicality / STEP + 1e-9) + 1);

export class Uphill {
  readonly element: HTMLElement;
  private held = false;

  constructor(private readonly app: App) {
    const hold = button("Hold to slide uphill", () => {}, { className: "hold", title: "Hold the button, or the key u" });
    hold.addEventListener("pointerdown", () => void this.slide());
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) hold.addEventListener(end, () => this.release());
    hold.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && !event.repeat && void this.slide());
    hold.addEventListener("keyup", () => this.release());
    document.addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLElement && event.target.matches("input, select, textarea");
      if (event.key === "u" && !event.repeat && !typing && !event.ctrlKey && !event.metaKey) void this.slide();
    });
    document.addEventListener("keyup", (event) => event.key === "u" && this.release());
    this.element = h("div", { className: "buttons" }, hold);
    app.selection.listen((selection) => (this.element.hidden = selection?.stop === undefined));
  }

  private release(): void {
    this.held = false;
  }

  private async slide(): Promise<void> {
    const { app } = this;
    const index = app.store.state.chosen;
    if (this.held || !app.store.state.stops[index] || !app.about.has_log_prob) return;
    this.held = true;
    let code = app.store.state.stops[index]!;
    let moved = false;
    const here = (await attempt(app, () => app.pictures.at([code])))?.[0]?.typicality ?? null;
    if (here === null) return this.release();
    for (let share = shareAbove(here); this.held && here < TYPICAL && share < TYPICAL + STEP; share += STEP) {
      const answer = await attempt(app, () => app.backend.journey("repair", { start: code, share: Math.min(share, TYPICAL) }));
      if (!answer) break;
      const name = answer.tensors.has("repair/points") ? "repair/points" : "points";
      const next = rows(answer, name).at(-1)!;
      if (next.every((v, i) => v === code[i])) break; // it is at a top
      code = next;
      moved = true;
      app.store.drag({ stops: app.store.state.stops.map((stop, k) => (k === index ? code : stop)), chosen: index });
      app.selection.set({ code, title: `Stop ${letter(index)}`, stop: index });
    }
    if (moved) app.store.change({});
    if (!moved && this.held) app.say(here < TYPICAL ? `Stop ${letter(index)} is at the top of where it is: all around it is less likely.` : `Stop ${letter(index)} is typical already: half of the real images are less likely.`);
    this.held = false;
  }
}
