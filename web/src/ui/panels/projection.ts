/**
 * Held down, it projects a waypoint to high density step by step, until half of the real codes are
 * less likely.
 */

import { attempt } from "../../api/attempt";
import { rows } from "../../api/wire";
import type { App } from "../../data/app";
import { texts } from "../../data/texts";
import { letter } from "../../data/words";
import { button, h } from "../dom";

const STEP = 0.04; // of the real codes, from one step to the next
const TYPICAL = 0.5;

/** The share of real codes that the first step goes to, from a code of some typicality. */
export const shareAbove = (typicality: number): number =>
  STEP * (Math.floor(typicality / STEP + 1e-9) + 1);

export class Projection {
  readonly element: HTMLElement;
  private held = false;

  constructor(private readonly app: App) {
    const hold = button(texts.project, () => {}, {
      className: "hold",
      title: texts.projectTitle,
    });
    hold.addEventListener("pointerdown", () => void this.project());
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"])
      hold.addEventListener(end, () => this.release());
    hold.addEventListener(
      "keydown",
      (event) =>
        (event.key === " " || event.key === "Enter") && !event.repeat && void this.project(),
    );
    hold.addEventListener("keyup", () => this.release());
    document.addEventListener("keydown", (event) => {
      const typing =
        event.target instanceof HTMLElement && event.target.matches("input, select, textarea");
      if (event.key === "u" && !event.repeat && !typing && !event.ctrlKey && !event.metaKey)
        void this.project();
    });
    document.addEventListener("keyup", (event) => event.key === "u" && this.release());
    this.element = h("div", { className: "buttons" }, hold);
    app.selection.listen((selection) => (this.element.hidden = selection?.waypoint === undefined));
  }

  private release(): void {
    this.held = false;
  }

  private async project(): Promise<void> {
    const { app } = this;
    const index = app.store.state.chosen;
    if (this.held || !app.store.state.waypoints[index] || !app.about.has_log_prob) return;
    this.held = true;
    let code = app.store.state.waypoints[index]!;
    let moved = false;
    const here = (await attempt(app, () => app.pictures.at([code])))?.[0]?.typicality ?? null;
    if (here === null) return this.release();
    for (
      let share = shareAbove(here);
      this.held && here < TYPICAL && share < TYPICAL + STEP;
      share += STEP
    ) {
      const answer = await attempt(app, () =>
        app.backend.compute("project", { start: code, share: Math.min(share, TYPICAL) }),
      );
      if (!answer) break;
      const name = answer.tensors.has("project/points") ? "project/points" : "points";
      const next = rows(answer, name).at(-1)!;
      if (next.every((v, i) => v === code[i])) break; // at a local maximum
      code = next;
      moved = true;
      app.store.drag({
        waypoints: app.store.state.waypoints.map((waypoint, k) => (k === index ? code : waypoint)),
        chosen: index,
      });
      app.selection.set({ code, title: texts.waypoint(letter(index)), waypoint: index });
    }
    if (moved) app.store.change({});
    if (!moved && this.held)
      app.say(
        here < TYPICAL ? texts.atMaximum(letter(index)) : texts.typicalAlready(letter(index)),
      );
    this.held = false;
  }
}
