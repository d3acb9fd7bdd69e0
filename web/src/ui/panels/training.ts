/**
 * A run that is still training: its losses as they fall, its map as it grows, and the newest sheet
 * of pictures.
 */

import { Gone } from "../../api/backend";
import type { Backend, Progress } from "../../api/backend";
import type { Arrays } from "../../api/wire";
import { said } from "../../data/answers";
import { texts } from "../../data/texts";
import { h, svg } from "../dom";

const EVERY = 2_000; // milliseconds
const [WIDTH, HEIGHT] = [220, 72];

/** The map of a run in training, which lies above this room. */
export interface GrowingMap {
  readonly element: HTMLElement;
  show(answer: Arrays): void;
}

export class Training {
  readonly element = h("section", { className: "training" });
  private readonly charts = h("div", { className: "charts" });
  private readonly sheet = h("img", {
    className: "sheet",
    alt: texts.newest,
    hidden: true,
  });
  private readonly words = h("p", { className: "note" });
  private shown = -1;
  private grown = -1;

  constructor(
    private readonly backend: Backend,
    private readonly growing: GrowingMap,
    private readonly finished: () => void,
    private readonly lost: () => void,
  ) {
    this.words.setAttribute("role", "status");
    this.element.append(
      h("h2", {}, texts.training),
      this.words,
      this.growing.element,
      this.charts,
      this.sheet,
    );
    this.sheet.addEventListener("load", () => (this.sheet.hidden = false));
    void this.watch();
  }

  private async watch(): Promise<void> {
    try {
      const progress = await this.backend.progress();
      this.show(progress);
      if (!progress.training) return this.finished();
      if (progress.map !== null && progress.map !== this.grown) {
        this.growing.show(await this.backend.growth());
        this.grown = progress.map;
      }
    } catch (error) {
      if (error instanceof Gone) this.lost();
    }
    setTimeout(() => void this.watch(), EVERY);
  }

  private show({ records, picture }: Progress): void {
    const last = records.at(-1);
    const counted = (value: unknown) => Number(value ?? 0).toLocaleString("en");
    this.words.textContent = last
      ? texts.learning(
          said(String(last["phase"] ?? "model")),
          last["steps"]
            ? texts.stepOf(counted(last["step"]), counted(last["steps"]))
            : counted(last["step"]),
        )
      : texts.noRecords;
    this.charts.replaceChildren(...series(records).map(chart));
    if (picture === null || picture === this.shown) return;
    this.shown = picture;
    this.sheet.src = this.backend.picture(picture);
  }
}

interface Series {
  readonly name: string;
  readonly seen: readonly (readonly [step: number, value: number])[];
}

const COUNTS = ["phase", "step", "steps"];

/** The losses of each phase, which count their steps from the beginning; the newest phase first. */
export function series(records: Progress["records"]): Series[] {
  const found = new Map<string, [number, number][]>();
  for (const record of records) {
    for (const [name, value] of Object.entries(record)) {
      if (COUNTS.includes(name) || typeof value !== "number" || !Number.isFinite(value)) continue;
      const key = `${record["phase"] ?? ""}: ${name.replaceAll("_", " ")}`;
      if (!found.has(key)) found.set(key, []);
      found.get(key)!.push([Number(record["step"] ?? 0), value]);
    }
  }
  const phase = records.at(-1)?.["phase"] ?? "";
  const all = [...found].map(([name, seen]) => ({ name, seen }));
  return [
    ...all.filter(({ name }) => name.startsWith(`${phase}:`)),
    ...all.filter(({ name }) => !name.startsWith(`${phase}:`)),
  ];
}

function chart({ name, seen }: Series): HTMLElement {
  const values = seen.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [seen[0]![0], seen.at(-1)![0]];
  const points = seen
    .map(
      ([step, value]) =>
        `${((step - first) / Math.max(last - first, 1)) * WIDTH},${4 + ((high - value) / Math.max(high - low, 1e-12)) * (HEIGHT - 8)}`,
    )
    .join(" ");
  const says = `${name} ${values.at(-1)!.toPrecision(3)}`;
  const drawing = svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": texts.chart(says, low.toPrecision(3), high.toPrecision(3)),
      preserveAspectRatio: "none",
    },
    svg("polyline", { points }),
  );
  return h("figure", {}, h("figcaption", {}, says), drawing as unknown as HTMLElement);
}
