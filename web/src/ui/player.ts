/** The bar above the strips: play, scrub, export. */

import { attempt } from "../api/attempt";
import { offers } from "../api/backend";
import type { Format } from "../api/backend";
import type { App } from "../data/app";
import { inWords } from "../data/paths";
import type { Row } from "../data/paths";
import { texts } from "../data/texts";
import { button, h, select } from "./dom";

const SECONDS = 3;
const FORMATS: readonly (readonly [Format, string])[] = [
  ["gif", "GIF"],
  ["mp4", "MP4"],
  ["png", texts.pngStrip],
  ["npz", "NumPy .npz"],
  ["json", "JSON"],
];

export class Player {
  readonly element: HTMLElement;
  /** What is saved, and as what. */
  readonly exporting: HTMLElement;
  readonly scrubber = h("input", {
    type: "range",
    min: "0",
    max: "1",
    step: "any",
    className: "scrub",
    aria: { label: texts.frame },
  });
  private readonly play = button("▶", () => this.toggle(), {
    className: "play",
    title: `${texts.play} (p)`,
    aria: { label: texts.play, pressed: "false" },
  });
  private readonly which = select(texts.save, [], () => (this.picked = true));
  private readonly format: ReturnType<typeof select>;
  private readonly told = h("span");
  private playing = false;
  private picked = false; // by hand: until then it is the last path

  constructor(private readonly app: App) {
    this.format = select(
      texts.as,
      FORMATS.filter(([format]) => offers(app.about, format)),
      () => {},
    );
    this.scrubber.addEventListener("input", () => this.seek(this.scrubber.valueAsNumber));
    const save = button(texts.export, () => void this.save(), { className: "save" });
    this.element = h(
      "div",
      { className: "player" },
      h("div", { className: "lead" }, this.play, this.told),
      this.scrubber,
    );
    this.exporting = h(
      "div",
      { className: "export" },
      this.which.element,
      this.format.element,
      save,
    );
    app.store.listen((now, before) => now.frame !== before.frame && this.mark());
    app.paths.rows.listen((rows) => this.list(rows));
  }

  seek(share: number): void {
    this.app.store.look({ frame: share });
  }

  /** A frame on or back. */
  step(way: 1 | -1): void {
    const frames = this.frames();
    const now = Math.round(this.app.store.state.frame * (frames - 1)) + way;
    this.seek(Math.min(Math.max(now / Math.max(frames - 1, 1), 0), 1));
  }

  toggle(): void {
    this.playing = !this.playing;
    this.play.textContent = this.playing ? "❚❚" : "▶";
    this.play.setAttribute("aria-pressed", `${this.playing}`);
    this.play.setAttribute("aria-label", this.playing ? texts.pause : texts.play);
    if (!this.playing) return;
    const from = this.app.store.state.frame >= 1 ? 0 : this.app.store.state.frame;
    const begun = performance.now() - from * SECONDS * 1000;
    const tick = (now: number) => {
      if (!this.playing) return;
      const turn = Math.max(0, (now - begun) / 1000 / SECONDS);
      const there = turn % 2; // to and fro
      this.seek(there < 1 ? there : 2 - there);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  private frames(): number {
    const { paths, store } = this.app;
    return Math.max(
      2,
      ...paths.rows.value.map(
        (row) => row.result?.points.length ?? (row.verb === "sample" ? 0 : store.state.frames),
      ),
    );
  }

  private mark(): void {
    const { frame } = this.app.store.state;
    const frames = this.frames();
    if (this.scrubber.valueAsNumber !== frame) this.scrubber.value = `${frame}`;
    this.scrubber.step = `${1 / (frames - 1)}`;
    this.told.textContent = texts.frameOf(Math.round(frame * (frames - 1)) + 1, frames);
    this.scrubber.setAttribute("aria-valuetext", this.told.textContent);
    this.scrubber.style.setProperty("--frames", `${frames}`);
  }

  private list(rows: readonly Row[]): void {
    const chosen = this.which.input.value;
    const options = rows
      .filter((row) => row.result)
      .map((row) => h("option", { value: row.id, textContent: row.title }));
    const before = [...this.which.input.options].map((option) => option.value).join();
    if (before !== options.map((option) => option.value).join()) {
      this.which.input.replaceChildren(...options);
      this.which.input.value =
        this.picked && options.some((option) => option.value === chosen)
          ? chosen
          : (options.at(-1)?.value ?? "");
    }
    this.mark();
  }

  private async save(): Promise<void> {
    const { app } = this;
    const row = app.paths.rows.value.find((one) => one.id === this.which.input.value);
    if (!row?.result) return app.say(texts.nothingToSave, "trouble");
    const { result } = row;
    const format = this.format.input.value as Format;
    const blob = await attempt(app, () => app.backend.export(result.points, format, SECONDS));
    if (!blob) return;
    const url = URL.createObjectURL(blob);
    const link = h("a", {
      href: url,
      download: `${app.about.name}-${row.title}.${format}`.replace(/[^\w.-]+/g, "-"),
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    app.say(texts.saved(row.title, inWords(row), link.download));
  }
}
