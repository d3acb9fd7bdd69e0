/**
 * Log-density by frame, one curve for each path, over the density threshold below which a code is
 * off-manifold; frames unlike real codes are crossed.
 */

import type { App } from "../data/app";
import { unlike } from "../data/membership";
import type { Row } from "../data/paths";
import { texts } from "../data/texts";
import { number } from "../data/words";
import { stroke } from "./colour/tables";
import { h, svg } from "./dom";
import { shareOf, strideOf } from "./strips";
import { ticks } from "./ticks";

const HEIGHT = 96;
const PAD = 8;
const CROSS = 8; // pixels across
const ROOM = 13; // for the number of a line

export class Curves {
  readonly element = svg("svg", { class: "curves", role: "img", height: HEIGHT }) as SVGSVGElement;
  /** What a cross means. */
  readonly key = h("p", {
    className: "unlike",
    textContent: `× ${texts.unlike}`,
    title: texts.crossTitle,
    hidden: true,
  });
  private readonly needle = svg("line", { class: "needle", y1: 0, y2: HEIGHT });
  private width = 0;
  private frames = 0;

  constructor(
    private readonly app: App,
    private readonly scrub: (share: number) => void,
  ) {
    app.paths.rows.listen(() => this.draw());
    app.store.listen((now, before) => now.frame !== before.frame && this.mark());
    new ResizeObserver(() => this.draw()).observe(this.element);
    this.element.addEventListener("pointerdown", (event) => this.pointer(event));
    this.element.addEventListener(
      "pointermove",
      (event) => event.buttons & 1 && this.pointer(event),
    );
  }

  private draw(): void {
    this.width = this.element.getBoundingClientRect().width;
    const { rows: all } = this.app.paths;
    const rows = all.value.filter((row) => row.result?.logProb && row.verb !== "sample");
    this.element.replaceChildren();
    // its space is kept while paths are planned, so that the map does not change its size
    this.element.classList.toggle(
      "empty",
      !rows.length &&
        !(this.app.about.has_log_prob && all.value.some((row) => row.waiting || row.pending)),
    );
    this.key.hidden = !rows.some((row) => unlike(row.result!.pValues).length);
    if (!rows.length || !this.width) return;
    this.frames = Math.max(...rows.map((row) => row.result!.points.length));
    const threshold = this.app.chart.plane.value?.threshold ?? this.app.about.threshold;
    const values = rows.flatMap((row) => [...row.result!.logProb!]).concat(threshold ?? []);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (value: number) =>
      PAD + ((high - value) / Math.max(high - low, 1e-6)) * (HEIGHT - 2 * PAD);
    const words = this.ground(low, high, threshold, y);
    for (const row of rows) this.curve(row, y);
    this.element.append(...words, this.needle);
    this.element.setAttribute("aria-label", this.words(rows, threshold));
    this.mark();
  }

  /**
   * The lines and the off-manifold region; what they are called is given back, since it belongs
   * above the curves.
   */
  private ground(
    low: number,
    high: number,
    threshold: number | null,
    y: (value: number) => number,
  ): SVGElement[] {
    const words = ticks(low, high, 3).map((value) => {
      this.element.append(
        svg("line", { class: "tick", x1: 0, x2: this.width, y1: y(value), y2: y(value) }),
      );
      const at = y(value) < ROOM ? y(value) + ROOM - 3 : y(value) - 3; // over its line, or under it at the very top
      return svg("text", { class: "tick", x: 2, y: at }, number(value, 0));
    });
    if (threshold === null) return words;
    this.element.append(
      svg("rect", {
        class: "off-manifold",
        x: 0,
        width: this.width,
        y: y(threshold),
        height: Math.max(0, HEIGHT - y(threshold)),
      }),
      svg("line", {
        class: "threshold",
        x1: 0,
        x2: this.width,
        y1: y(threshold),
        y2: y(threshold),
      }),
    );
    const [name, at] = [texts.offManifold, Math.min(y(threshold) + 12, HEIGHT - 2)];
    return [
      ...words,
      svg("text", { class: "threshold", x: this.width - 4, y: at, "text-anchor": "end" }, name),
    ];
  }

  private curve(row: Row, y: (value: number) => number): void {
    const { logProb } = row.result!;
    const count = logProb!.length;
    const points = Array.from(
      logProb!,
      (value, k) => `${this.x(k, count).toFixed(1)},${y(value).toFixed(1)}`,
    ).join(" ");
    const { colour, dash } = stroke(row.name);
    const dashes = dash ? { "stroke-dasharray": dash } : {};
    this.element.append(svg("polyline", { class: "curve", points, stroke: colour, ...dashes }));
    Array.from(logProb!).forEach((value, k) => {
      if (row.result!.offManifold[k])
        this.element.append(
          svg("circle", { class: "off", cx: this.x(k, count), cy: y(value), r: 3 }),
        );
    });
    for (const k of unlike(row.result!.pValues)) {
      const corner = `${this.x(k, count) - CROSS / 2},${y(logProb![k]!) - CROSS / 2}`;
      const d = `M${corner}l${CROSS},${CROSS}m0,${-CROSS}l${-CROSS},${CROSS}`;
      this.element.append(svg("path", { class: "unlike", d }));
    }
  }

  private x(k: number, frames: number): number {
    return this.width * shareOf(k, frames, strideOf(frames, this.width));
  }

  private mark(): void {
    if (this.frames < 2) return;
    const x = this.x(this.app.store.state.frame * (this.frames - 1), this.frames);
    this.needle.setAttribute("x1", `${x}`);
    this.needle.setAttribute("x2", `${x}`);
  }

  private pointer(event: PointerEvent): void {
    if (this.frames < 2) return;
    const [first, last] = [this.x(0, this.frames), this.x(this.frames - 1, this.frames)];
    const at = event.clientX - this.element.getBoundingClientRect().left;
    this.scrub(Math.min(Math.max((at - first) / (last - first), 0), 1));
  }

  private words(rows: readonly Row[], threshold: number | null): string {
    const each = rows.map((row) => {
      const [low, high] = [Math.min(...row.result!.logProb!), Math.max(...row.result!.logProb!)];
      const others = unlike(row.result!.pValues).length;
      return `${texts.curve(row.title, number(low), number(high))}${others ? `, ${texts.framesUnlike(others)}` : ""}`;
    });
    const line = threshold === null ? [] : [texts.thresholdIs(number(threshold))];
    return texts.curves([...each, ...line].join("; "));
  }
}
