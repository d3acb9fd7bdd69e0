/** A run that is still training: its losses as they fall, and the newest sheet of pictures. */

import type { Backend, Progress } from "../backend";
import { Gone } from "../backend";
import { h, svg } from "../dom";

const EVERY = 2_000; // milliseconds
const [WIDTH, HEIGHT] = [220, 72];

export class Training {
  readonly element = h("section", { className: "training" });
  private readonly charts = h("div", { className: "charts" });
  private readonly sheet = h("img", { className: "sheet", alt: "Newest pictures of the run: images, reconstructions and draws", hidden: true });
  private readonly words = h("p", { className: "note" });
  private shown = -1;

  constructor(
    private readonly backend: Backend,
    private readonly finished: () => void,
    private readonly lost: () => void,
  ) {
    this.words.setAttribute("role", "status");
    this.element.append(h("h2", {}, "This run is still training"), this.words, this.charts, this.sheet);
    this.sheet.addEventListener("load", () => (this.sheet.hidden = false));
    void this.watch();
  }

  private async watch(): Promise<void> {
    try {
      const progress = await this.backend.progress();
      this.show(progress);
      if (!progress.training) return this.finished();
    } catch (error) {
      if (error instanceof Gone) this.lost();
    }
    setTimeout(() => void this.watch(), EVERY);
  }

  private show({ records, picture }: Progress): void {
    const last = records.at(-1);
    this.words.textContent = last ? `Step ${(last["step"] ?? records.length).toLocaleString("en")}. The map follows once the networks have learned.` : "Nothing has been recorded yet.";
    const names = [...new Set(records.flatMap((record) => Object.keys(record)))].filter((name) => !["step", "time", "seconds", "epoch"].includes(name));
    this.charts.replaceChildren(...names.slice(0, 12).map((name) => chart(name, records)));
    if (picture === null || picture === this.shown) return;
    this.shown = picture;
    this.sheet.src = this.backend.picture(picture);
  }
}

function chart(name: string, records: Progress["records"]): HTMLElement {
  const seen = records.map((record, k) => [record["step"] ?? k, record[name]] as const).filter((pair): pair is readonly [number, number] => Number.isFinite(pair[1]));
  const values = seen.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [seen[0]?.[0] ?? 0, seen.at(-1)?.[0] ?? 1];
  const points = seen.map(([step, value]) => `${((step - first) / Math.max(last - first, 1)) * WIDTH},${4 + ((high - value) / Math.max(high - low, 1e-12)) * (HEIGHT - 8)}`).join(" ");
  const now = values.at(-1);
  const says = `${name.replaceAll("_", " ")}: ${now === undefined ? "none" : now.toPrecision(3)}`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${says}, from ${high.toPrecision(3)} to ${low.toPrecision(3)}`, preserveAspectRatio: "none" }, svg("polyline", { points }));
  return h("figure", {}, h("figcaption", {}, says), drawing as unknown as HTMLElement);
}
