/** Real codes on the plane: their places, fetched in chunks, their labels and typicalities. */

import { attempt } from "../api/attempt";
import type { Reporter } from "../api/attempt";
import type { About, Axes, Backend, Part, Place } from "../api/backend";
import { floats } from "../api/wire";
import { Signal } from "../state/latest";

const CHUNK = 50_000;
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

/** How many codes of a part are shown, in words: "200,000 of 10,000,000". */
export function shown(about: Pick<About, "counts" | "population">, part: Part): string {
  const [some, all] = [Math.min(about.counts[part], MOST), (about.population ?? about.counts)[part]];
  const total = all.toLocaleString("en");
  return some < all ? `${some.toLocaleString("en")} of ${total}` : total;
}

export class Cloud {
  readonly codes = new Signal<Codes | null>(null);
  readonly facts = new Signal<Map<Part, Facts>>(new Map());
  private control = new AbortController();
  private wanted = "";

  constructor(
    private readonly backend: Backend,
    private readonly about: About,
    private readonly reporter: Reporter,
  ) {}

  /** Bring the codes of a part onto a plane, unless they are there already. */
  async place(axes: Axes, part: Part): Promise<void> {
    const wanted = JSON.stringify([axes, part]);
    if (wanted === this.wanted) return;
    const signal = this.begin(wanted);
    const total = Math.min(this.about.counts[part], MOST);
    const places = new Float32Array(2 * total);
    const distance = new Float32Array(total);
    for (let offset = 0; offset < total; offset += CHUNK) {
      const answer = await attempt(this.reporter, () =>
        this.backend.points(axes, part, offset, Math.min(CHUNK, total - offset), signal),
      );
      if (!answer) return this.forget(wanted);
      places.set(floats(answer, "xy"), 2 * offset);
      distance.set(floats(answer, "distance"), offset);
      const until = Math.min(offset + CHUNK, total);
      this.codes.set({
        part,
        places: places.subarray(0, 2 * until),
        distance: distance.subarray(0, until),
      });
    }
    await this.learn(part, signal);
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
    this.codes.set({ part: "train", places, distance: new Float32Array(places.length / 2) });
    void this.learn("train", signal);
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

  private async learn(part: Part, signal: AbortSignal): Promise<void> {
    const total = Math.min(this.about.counts[part], MOST);
    const facts: Facts = this.facts.value.get(part) ?? {
      labels: new Int32Array(total).fill(-1),
      typicality: new Float32Array(total),
      known: 0,
    };
    this.facts.value.set(part, facts);
    while (facts.known < total) {
      const answer = await attempt(this.reporter, () =>
        this.backend.codes(
          part,
          facts.known,
          Math.min(CHUNK, total - facts.known),
          "labels,typicality",
          signal,
        ),
      );
      if (!answer) return;
      const labels = answer.tensors.get("labels")!.data as Int32Array;
      facts.labels.set(labels, facts.known);
      if (answer.tensors.has("typicality"))
        facts.typicality.set(floats(answer, "typicality"), facts.known);
      facts.known += labels.length;
      if (!labels.length) return;
      this.facts.touch();
    }
  }
}
