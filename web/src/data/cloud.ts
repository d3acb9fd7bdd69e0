/** Real codes on the plane: their places, fetched in chunks, and what colours them. */

import { attempt } from "./app";
import type { About, Axes, Backend, Part } from "../api/backend";
import { categories, table } from "../ui/colour/tables";
import type { Theme } from "../ui/colour/tables";
import { Signal } from "../state/latest";
import type { Camera, Place } from "../map/camera";
import type { Colouring } from "../state/state";
import { floats } from "../api/wire";

const CHUNK = 50_000;
const MOST = 1_000_000;

export interface Codes {
  readonly part: Part;
  readonly places: Float32Array; // (n, 2)
  readonly distance: Float32Array; // from the plane
}

/** What is known of the codes of a part, whatever the plane. */
interface Facts {
  readonly labels: Int32Array;
  readonly typicality: Float32Array;
  known: number;
}

export class Cloud {
  readonly codes = new Signal<Codes | null>(null);
  readonly facts = new Signal<Map<Part, Facts>>(new Map());
  private control = new AbortController();
  private wanted = "";

  constructor(
    private readonly backend: Backend,
    private readonly about: About,
    private readonly trouble: Parameters<typeof attempt>[0],
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
      const answer = await attempt(this.trouble, () => this.backend.points(axes, part, offset, Math.min(CHUNK, total - offset), signal));
      if (!answer) return this.forget(wanted);
      places.set(floats(answer, "xy"), 2 * offset);
      distance.set(floats(answer, "distance"), offset);
      const until = Math.min(offset + CHUNK, total);
      this.codes.set({ part, places: places.subarray(0, 2 * until), distance: distance.subarray(0, until) });
    }
    await this.learn(part, signal);
  }

  /** Places that a projection without an inverse gives; false where there is none. */
  async embed(): Promise<boolean> {
    if (this.wanted === "embedding") return true;
    const signal = this.begin("embedding");
    const answer = await attempt(this.trouble, () => this.backend.embedding(signal));
    if (!answer) {
      this.forget("embedding");
      return false;
    }
    const places = floats(answer, "xy");
    this.codes.set({ part: "train", places, distance: new Float32Array(places.length / 2) });
    void this.learn("train", signal);
    return true;
  }

  /** Index of the code nearest to a pixel, among those within some pixels of it. */
  nearest(camera: Camera, pixel: Place, within: number): number | null {
    const codes = this.codes.value;
    if (!codes) return null;
    const [x, y] = camera.toPlane(pixel);
    let [best, least] = [-1, (within / camera.scale) ** 2];
    for (let k = 0; k < codes.places.length / 2; k++) {
      const square = (codes.places[2 * k]! - x) ** 2 + (codes.places[2 * k + 1]! - y) ** 2;
      if (square < least) [best, least] = [k, square];
    }
    return best < 0 ? null : best;
  }

  /** RGBA bytes of every code: near the plane they are opaque, far from it faint. */
  paints(colouring: Colouring, theme: Theme): Uint8Array {
    const codes = this.codes.value!;
    const count = codes.distance.length;
    const paints = new Uint8Array(4 * count);
    const facts = this.facts.value.get(codes.part);
    const classes = categories(Math.max(1, this.about.classes.length), theme).map((rgb) => rgb.map((v) => Math.round(255 * v)));
    const scale = table("confusion", theme);
    const plain = theme === "dark" ? [255, 255, 255] : [24, 34, 60];
    const [near, far] = reach(codes.distance);
    // very many points are dust: faint, so that the land shows through
    const strength = (colouring === "plain" ? 0.62 : 0.95) * Math.min(1, Math.max(0.16, (12_000 / count) ** 0.7));
    for (let k = 0; k < count; k++) {
      const label = facts && k < facts.known ? facts.labels[k]! : -1;
      let rgb: ArrayLike<number> = plain;
      if (colouring === "label" && label >= 0) rgb = classes[label % classes.length]!;
      if (colouring === "typicality" && facts && k < facts.known) {
        const at = 3 * Math.round(60 + 195 * Math.min(Math.max(facts.typicality[k]!, 0), 1));
        rgb = scale.subarray(at, at + 3);
      }
      const closeness = far > near ? Math.min(Math.max((far - codes.distance[k]!) / (far - near), 0), 1) : 1;
      paints[4 * k] = rgb[0]!;
      paints[4 * k + 1] = rgb[1]!;
      paints[4 * k + 2] = rgb[2]!;
      paints[4 * k + 3] = Math.round(255 * strength * (0.3 + 0.7 * closeness));
    }
    return paints;
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
    const facts: Facts = this.facts.value.get(part) ?? { labels: new Int32Array(total).fill(-1), typicality: new Float32Array(total), known: 0 };
    this.facts.value.set(part, facts);
    while (facts.known < total) {
      const answer = await attempt(this.trouble, () => this.backend.codes(part, facts.known, Math.min(CHUNK, total - facts.known), "labels,typicality", signal));
      if (!answer) return;
      const labels = answer.tensors.get("labels")!.data as Int32Array;
      facts.labels.set(labels, facts.known);
      if (answer.tensors.has("typicality")) facts.typicality.set(floats(answer, "typicality"), facts.known);
      facts.known += labels.length;
      if (!labels.length) return;
      this.facts.touch();
    }
  }
}

/** Two distances between which most codes lie. */
function reach(distance: Float32Array): [number, number] {
  const stride = Math.max(1, Math.floor(distance.length / 2_000));
  const some = distance.filter((_, k) => k % stride === 0).sort();
  return [some[Math.floor(0.05 * some.length)] ?? 0, some[Math.floor(0.95 * some.length)] ?? 0];
}
