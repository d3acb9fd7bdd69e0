/** Real codes on the plane: their places, fetched in chunks, their labels and typicalities. */

import { attempt } from "../api/attempt";
import type { Reporter } from "../api/attempt";
import type { About, Axes, Backend, Part, Place, Window } from "../api/backend";
import { floats } from "../api/wire";
import type { Arrays } from "../api/wire";
import { texts } from "./texts";
import { Following, Signal } from "../state/latest";

const CHUNK = 50_000;
const CELLS = 384; // of a raster, along each side
/** Codes that are shown at most: the first ones, which the server makes a fair sample of all. */
export const MOST = 200_000;

export interface Codes {
  readonly part: Part;
  readonly places: Float32Array; // (n, 2)
  readonly distance: Float32Array; // from the plane
}

/** What is known of the codes of a part, whatever the plane. */
export interface Facts {
  readonly labels: Int32Array;
  readonly typicality: Float32Array;
  known: number;
}

/** How many of all codes of a part are in each cell of a window of the plane. */
export interface Raster {
  readonly part: Part;
  readonly window: Window;
  readonly side: number;
  readonly counts: Float32Array; // (side, side), the bottom row first
  readonly usual: number; // count of dense cells: 5 % of those with codes have more
  readonly total: number;
}

/** How many codes of a part are shown, in words: "200,000 of 10,000,000". */
export function shown(about: Pick<About, "counts" | "population">, part: Part): string {
  const [some, all] = [
    Math.min(about.counts[part], MOST),
    (about.population ?? about.counts)[part],
  ];
  const total = all.toLocaleString("en");
  return some < all ? texts.someOf(some.toLocaleString("en"), total) : total;
}

export class Cloud {
  readonly codes = new Signal<Codes | null>(null);
  readonly facts = new Signal<Map<Part, Facts>>(new Map());
  /** All codes, where those on the plane are a sample of them. */
  readonly raster = new Signal<Raster | null>(null);
  private control = new AbortController();
  private wanted = "";
  private until = 0; // codes that are being brought onto the plane
  private placed = 0; // those that are there
  private places = new Float32Array(0);
  private distance = new Float32Array(0);
  private readonly counting = new Following();

  constructor(
    private readonly backend: Backend,
    private readonly about: About,
    private readonly reporter: Reporter,
  ) {}

  /** Whether the codes of a part are a sample, and a raster shows all of them. */
  sampled(part: Part): boolean {
    const all = (this.about.population ?? this.about.counts)[part];
    return !!this.backend.raster && all > Math.min(this.about.counts[part], MOST);
  }

  /**
   * Bring the codes of a part onto a plane, unless they are there already: as many as are shown,
   * or, unless `whole`, the first of them, which do beside a raster of all.
   */
  async place(axes: Axes, part: Part, whole = true): Promise<void> {
    const wanted = JSON.stringify([axes, part]);
    const total = Math.min(this.about.counts[part], MOST);
    const until = whole ? total : Math.min(total, CHUNK);
    if (wanted === this.wanted && until <= this.until) return;
    if (wanted !== this.wanted) {
      this.placed = 0;
      this.places = new Float32Array(2 * total);
      this.distance = new Float32Array(total);
      this.raster.set(null);
    }
    const signal = this.begin(wanted);
    this.until = until;
    while (this.placed < until) {
      const [offset, count] = [this.placed, Math.min(CHUNK, until - this.placed)];
      const answer = await attempt(this.reporter, () =>
        this.backend.points(axes, part, offset, count, signal),
      );
      if (signal.aborted) return;
      if (!answer) return this.forget(wanted);
      const [places, distance] = scattered(answer);
      this.places.set(places, 2 * offset);
      this.distance.set(distance, offset);
      this.placed = offset + count;
      this.codes.set({
        part,
        places: this.places.subarray(0, 2 * this.placed),
        distance: this.distance.subarray(0, this.placed),
      });
    }
    await this.learn(part, until, signal);
  }

  /** Count all codes in a window of the plane, where those on it are a sample. */
  count(axes: Axes, part: Part, window: Window): void {
    const now = this.raster.value;
    const same = now?.part === part && JSON.stringify(now.window) === JSON.stringify(window);
    if (same || !this.sampled(part)) return;
    this.counting.run(async () => {
      const answer = await attempt(this.reporter, () =>
        this.backend.raster!(axes, part, window, CELLS),
      );
      if (!answer?.tensors.has("counts") || this.wanted !== JSON.stringify([axes, part])) return;
      const [densest, total] = [answer.about["densest"] as number, answer.about["total"] as number];
      const counts = floats(answer, "counts").map((root) => (root / 255) ** 2 * densest);
      const taken = counts.filter((count) => count > 0).sort();
      const usual = taken[Math.floor(0.95 * taken.length)] ?? 1;
      this.raster.set({ part, window, side: CELLS, counts, usual, total });
    });
  }

  /** Places that a projection without an inverse gives; false where there is none. */
  async embed(): Promise<boolean> {
    if (this.wanted === "embedding") return true;
    const signal = this.begin("embedding");
    const answer = await attempt(this.reporter, () => this.backend.embedding(signal));
    if (!answer) {
      this.forget("embedding");
      return false;
    }
    const places = floats(answer, "xy");
    this.raster.set(null);
    this.codes.set({ part: "train", places, distance: new Float32Array(places.length / 2) });
    void this.learn("train", Math.min(this.about.counts.train, MOST), signal);
    return true;
  }

  /** Index of the code nearest to a place on the plane, among those within some distance. */
  nearest([x, y]: Place, within: number): number | null {
    const codes = this.codes.value;
    if (!codes) return null;
    let [best, least] = [-1, within ** 2];
    for (let k = 0; k < codes.places.length / 2; k++) {
      const square = (codes.places[2 * k]! - x) ** 2 + (codes.places[2 * k + 1]! - y) ** 2;
      if (square < least) [best, least] = [k, square];
    }
    return best < 0 ? null : best;
  }

  private begin(wanted: string): AbortSignal {
    this.wanted = wanted;
    this.control.abort();
    this.control = new AbortController();
    return this.control.signal;
  }

  private forget(wanted: string): void {
    if (this.wanted === wanted) this.wanted = "";
  }

  /** Labels and typicalities of the first codes of a part. */
  private async learn(part: Part, until: number, signal: AbortSignal): Promise<void> {
    const total = Math.min(this.about.counts[part], MOST);
    const facts: Facts = this.facts.value.get(part) ?? {
      labels: new Int32Array(total).fill(-1),
      typicality: new Float32Array(total),
      known: 0,
    };
    this.facts.value.set(part, facts);
    while (facts.known < until) {
      const answer = await attempt(this.reporter, () =>
        this.backend.codes(
          part,
          facts.known,
          Math.min(CHUNK, until - facts.known),
          "labels,typicality",
          signal,
        ),
      );
      if (!answer) return;
      const labels = answer.tensors.get("labels")!.data;
      facts.labels.set(labels, facts.known);
      if (answer.tensors.has("typicality"))
        facts.typicality.set(floats(answer, "typicality"), facts.known);
      facts.known += labels.length;
      if (!labels.length) return;
      this.facts.touch();
    }
  }
}

/** Places and distances of an answer, which rounds those of many codes. */
export function scattered(answer: Arrays): [places: Float32Array, distance: Float32Array] {
  const [places, distance] = [floats(answer, "xy"), floats(answer, "distance")];
  const bounds = answer.about["bounds"] as Window | undefined;
  if (!bounds) return [places, distance];
  const [x, y] = [(bounds.right - bounds.left) / 65_535, (bounds.top - bounds.bottom) / 65_535];
  const unit = (answer.about["farthest"] as number) / 255;
  return [
    places.map((value, k) => (k % 2 ? bounds.bottom + y * value : bounds.left + x * value)),
    distance.map((value) => unit * value),
  ];
}
