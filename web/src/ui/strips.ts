/** Paths as strips of frames, one below the other: off-manifold frames are outlined. */

import { said } from "../data/answers";
import type { App } from "../data/app";
import { UNLIKE } from "../data/membership";
import { developed, inSentences, inWords } from "../data/paths";
import type { Result, Row } from "../data/paths";
import { texts } from "../data/texts";
import { number } from "../data/words";
import { stroke } from "./colour/tables";
import { button, h, picture } from "./dom";

const NARROWEST = 26; // pixels a frame, below which every second one is left out

interface Strip {
  readonly element: HTMLElement;
  readonly words: HTMLElement;
  readonly frames: HTMLElement;
  shown: Result | number | null; // a result, or how many frames there will be
  width: number;
}

/** How many frames each shown one stands for. */
export const strideOf = (frames: number, width: number): number =>
  Math.max(1, Math.ceil((frames * NARROWEST) / Math.max(width, 1)));

/** Where the middle of frame k lies, as a share of the strip's width. */
export const shareOf = (k: number, frames: number, stride: number): number =>
  (k / stride + 0.5) / Math.ceil(frames / stride);

export class Strips {
  readonly element = h("div", { className: "strips" });
  private readonly strips = new Map<string, Strip>();

  constructor(
    private readonly app: App,
    private readonly see: (row: Row, frame: number, chosen: boolean) => void,
  ) {
    const { image } = app.about;
    if (image) this.element.style.setProperty("--shape", `${image.width} / ${image.height}`);
    app.paths.rows.listen((rows) => this.draw(rows));
    app.store.listen((now, before) => now.frame !== before.frame && this.mark());
    new ResizeObserver(() => this.draw(app.paths.rows.value)).observe(this.element);
  }

  private draw(rows: readonly Row[]): void {
    const ids = new Set(rows.map((row) => row.id));
    let width = 0; // of all: they are as wide
    for (const [id, strip] of this.strips)
      if (!ids.has(id)) (strip.element.remove(), this.strips.delete(id));
    rows.forEach((row, place) => {
      const strip = this.strips.get(row.id) ?? this.made(row);
      if (this.element.children[place] !== strip.element)
        this.element.insertBefore(strip.element, this.element.children[place] ?? null);
      const whole = !!row.result && developed(row.result, this.app.about);
      const busy = row.pending || (!!row.result && !whole);
      strip.element.classList.toggle("pending", busy);
      strip.element.setAttribute("aria-busy", `${busy}`);
      const state = row.waiting ? texts.waitsForB : texts.planning;
      strip.words.textContent = row.error ? said(row.error) : row.result ? inWords(row) : state;
      strip.words.title = row.result ? inSentences(row.result.warnings) : "";
      strip.words.classList.toggle("trouble", !!row.error);
      width ||= strip.frames.getBoundingClientRect().width;
      const shown = this.shown(row, whole, strip.shown);
      if (strip.shown !== shown || Math.abs(strip.width - width) > 8)
        this.fill(strip, row, shown, width);
    });
    this.mark();
  }

  private made(row: Row): Strip {
    const words = h("p", { className: "words" });
    const frames = h("ol", { className: row.verb === "sample" ? "frames sheet" : "frames" });
    const swatch = h("i", { className: "swatch" });
    const { colour, dash } = stroke(row.name);
    swatch.style.color = colour;
    swatch.dataset["dash"] = dash ? "dashed" : "solid";
    const head = h("header", {}, swatch, h("h3", {}, row.title), words);
    if (row.extra !== null)
      head.append(
        button("×", () => this.close(row), {
          className: "close",
          title: texts.close,
          aria: { label: texts.closeNamed(row.title) },
        }),
      );
    const element = h(
      "section",
      { className: "strip", data: { row: row.id }, aria: { label: row.title } },
      head,
      frames,
    );
    const strip: Strip = { element, words, frames, shown: null, width: 0 };
    this.strips.set(row.id, strip);
    return strip;
  }

  /**
   * The result, once it is whole; until then the last one; and before there is any, as many blanks.
   */
  private shown(row: Row, whole: boolean, before: Strip["shown"]): Strip["shown"] {
    if (row.error) return null;
    if (row.result && (whole || typeof before !== "object" || !before)) return row.result;
    if (row.result) return before;
    return row.verb === "sample" ? null : this.app.store.state.frames;
  }

  private fill(strip: Strip, row: Row, result: Strip["shown"], width: number): void {
    strip.shown = result;
    strip.width = width;
    if (result === null) return strip.frames.replaceChildren();
    if (typeof result === "number") {
      const count = Math.ceil(result / strideOf(result, width));
      return strip.frames.replaceChildren(
        ...Array.from({ length: count }, () => h("li", { className: "blank" })),
      );
    }
    const stride = row.verb === "sample" ? 1 : strideOf(result.points.length, width);
    const items: HTMLElement[] = [];
    for (let k = 0; k < result.points.length; k += stride) items.push(this.frame(row, result, k));
    strip.frames.replaceChildren(...items);
  }

  private frame(row: Row, result: Result, k: number): HTMLElement {
    const off = !!result.offManifold[k];
    const other = (result.pValues?.[k] ?? 1) < UNLIKE;
    const says = [
      row.title,
      texts.frameOf(k + 1, result.points.length),
      result.logProb && `${texts.logDensity} ${number(result.logProb[k]!)}`,
      off && texts.offManifold,
      other && texts.unlike,
    ]
      .filter(Boolean)
      .join(", ");
    const image = result.images[k];
    const item = button("", () => this.see(row, k, true), {
      className: off ? "frame off" : "frame",
      title: says,
      aria: { label: says },
      data: { frame: `${k}` },
    });
    item.append(
      image
        ? picture(image.bytes, image.height, image.width, image.channels, "")
        : h("span", { className: "blank" }),
    );
    item.firstElementChild!.setAttribute("aria-hidden", "true");
    item.tabIndex = -1; // the slider above goes through the frames; Enter on it chooses one
    item.addEventListener(
      "pointerenter",
      (event) => event.pointerType === "mouse" && this.see(row, k, false),
    );
    return h("li", {}, item);
  }

  private mark(): void {
    const share = this.app.store.state.frame;
    for (const row of this.app.paths.rows.value) {
      const strip = this.strips.get(row.id);
      if (
        !strip ||
        strip.shown === null ||
        typeof strip.shown === "number" ||
        row.verb === "sample"
      )
        continue;
      const now = Math.round(share * (strip.shown.points.length - 1));
      let nearest: Element | null = null;
      for (const item of strip.frames.children) {
        const k = Number((item.firstElementChild as HTMLElement).dataset["frame"]);
        item.classList.remove("now");
        if (k <= now) nearest = item;
      }
      nearest?.classList.add("now");
    }
  }

  private close(row: Row): void {
    this.app.store.change({
      extras: this.app.store.state.extras.filter((_, place) => place !== row.extra),
    });
  }
}
