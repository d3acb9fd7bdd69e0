/** Every journey and draw that the state asks for: planned once, remembered, and followed while stops are dragged. */

import { Gone } from "../api/backend";
import type { About, Backend, Code, Verb, Wishes } from "../api/backend";
import { floats, rows } from "../api/wire";
import type { Arrays } from "../api/wire";
import { Following, Memory, Signal } from "../state/latest";
import type { State } from "../state/state";
import type { Store } from "../state/store";
import { imagesOf } from "./pictures";
import type { Bytes, Pictures } from "./pictures";

/** What a journey turned out to be. */
export interface Film {
  readonly points: readonly Code[];
  /** None where there is no decoder, and none yet while the frames are being decoded. */
  readonly images: readonly Bytes[];
  readonly logProb: Float32Array | null;
  readonly outside: ArrayLike<number>;
  readonly metrics: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
}

/** One row below the map. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly name: string; // of the planner or the verb: its arrays come under it
  readonly verb: Verb;
  readonly film: Film | null;
  readonly error: string | null;
  readonly pending: boolean; // not planned yet
  readonly waiting: boolean; // for B
  readonly extra: number | null; // place among the state's extras
}

interface Wanted extends Omit<Row, "film" | "error" | "pending" | "waiting"> {
  readonly wishes: Wishes;
}

export class Journeys {
  readonly rows = new Signal<readonly Row[]>([]);
  private readonly films = new Memory<Film | string>(120);
  private readonly line = new Following();
  private readonly latest = new Map<string, Film>(); // by row, shown until the next one is there

  constructor(
    private readonly backend: Backend,
    private readonly about: About,
    private readonly store: Store,
    private readonly pictures: Pick<Pictures, "at">,
    private readonly lost: () => void,
  ) {
    store.listen((now, before) => {
      if (wishesOf(now, about) !== wishesOf(before, about)) this.refresh();
      else if (now.stops.length !== before.stops.length) this.tell();
    });
  }

  refresh(): void {
    const rows = this.wanted();
    if (rows.some((row) => !this.done(row))) this.line.run(() => this.inTurn(rows));
    this.tell();
  }

  /**
   * The quick planners first, and these at once, so that the server need not wait for the page; the others one after
   * the other, since a walk's steps are many. While something is dragged all are: it may be elsewhere by then.
   */
  private async inTurn(rows: readonly Wanted[]): Promise<void> {
    const sorted = [...rows].sort((a, b) => patience(a) - patience(b));
    const atOnce = this.store.dragging ? 0 : sorted.filter((row) => patience(row) < QUICK.length).length;
    await Promise.all(sorted.slice(0, atOnce).map((row) => this.plan(row)));
    for (const row of sorted.slice(atOnce)) if (this.stillWanted(row)) await this.plan(row); // else the stops have been dragged on
  }

  private wanted(): Wanted[] {
    return [...travels(this.store.state, this.about), ...extras(this.store.state)];
  }

  /** The route first, which is told at once, and then its frames, unless these have come with it. */
  private async plan(row: Wanted): Promise<void> {
    const key = keyOf(row);
    try {
      if (this.films.get(key) === undefined) this.keep(row, understood(await this.backend.journey(row.verb, row.wishes), row.name));
      const route = this.films.get(key);
      if (typeof route === "object" && !this.done(row) && this.stillWanted(row)) {
        const places = await this.pictures.at(route.points);
        this.keep(row, { ...route, images: places.flatMap((place) => place.image ?? []) });
      }
    } catch (error) {
      if (error instanceof Gone) return this.lost();
      this.keep(row, error instanceof Error ? error.message : String(error));
    }
  }

  private keep(row: Wanted, film: Film | string): void {
    this.films.set(keyOf(row), film);
    if (typeof film !== "string") this.latest.set(row.id, film);
    this.tell();
  }

  /** Whether there is nothing more to ask for. */
  private done(row: Wanted): boolean {
    const film = this.films.get(keyOf(row));
    return typeof film === "string" || (film !== undefined && developed(film, this.about));
  }

  private stillWanted(row: Wanted): boolean {
    return this.wanted().some((one) => keyOf(one) === keyOf(row));
  }

  private tell(): void {
    const { state } = this.store;
    const awaited = state.stops.length === 1 && !state.extras.length ? travels({ ...state, stops: [...state.stops, state.stops[0]!] }, this.about) : [];
    const nothing = { film: null, error: null, pending: false, waiting: true };
    this.rows.set([
      ...awaited.map(({ wishes, ...row }) => ({ ...row, ...nothing })),
      ...this.wanted().map(({ wishes, ...row }) => {
        const found = this.films.get(keyOf({ ...row, wishes }));
        const film = typeof found === "object" ? found : found === undefined ? (this.latest.get(row.id) ?? null) : null;
        if (typeof found === "object") this.latest.set(row.id, found);
        return { ...row, film, error: typeof found === "string" ? found : null, pending: found === undefined, waiting: false };
      }),
    ]);
  }
}

/** Whether a film has all the pictures that it will have. */
export const developed = (film: Film, about: Pick<About, "image">): boolean => !about.image || film.images.length === film.points.length;

const QUICK = ["linear", "slerp", "geodesic"];

/** How late in turn a row is planned. */
const patience = (row: Wanted): number => (QUICK.includes(row.id) ? QUICK.indexOf(row.id) : row.id === "walk" ? QUICK.length + 1 : QUICK.length);

const keyOf = (row: Wanted) => JSON.stringify([row.verb, row.wishes]);

const wishesOf = (state: State, about: About) => JSON.stringify([travels(state, about), extras(state)]);

function travels(state: State, about: About): Wanted[] {
  if (state.stops.length < 2) return [];
  const names = about.planners.map((planner) => planner.name);
  const { stops, frames, closed, preserve, pace } = state;
  return state.planners
    .filter((planner) => names.includes(planner))
    .map((planner) => ({
      id: planner,
      name: planner,
      title: planner,
      verb: "travel" as const,
      extra: null,
      wishes: { stops, planners: [planner], frames, closed, preserve, pace, images: false, options: planner === "walk" ? { walk: state.walk } : {} },
    }));
}

function extras(state: State): Wanted[] {
  return state.extras.map((extra, place) => ({
    id: `${extra.verb} ${place}`,
    name: extra.verb,
    title: extra.title,
    verb: extra.verb,
    extra: place,
    wishes: extra.wishes,
  }));
}

/** The film under a name, or the sentence that refuses it. */
function understood(arrays: Arrays, name: string): Film | string {
  const about = ((arrays.about[name] ?? arrays.about) as Record<string, unknown>) ?? {};
  if (typeof about["error"] === "string") return about["error"];
  const prefix = arrays.tensors.has(`${name}/points`) ? `${name}/` : "";
  const points = rows(arrays, `${prefix}points`);
  const logProb = arrays.tensors.has(`${prefix}log_prob`) ? floats(arrays, `${prefix}log_prob`) : null;
  return {
    points,
    images: imagesOf(arrays, `${prefix}images`),
    logProb,
    outside: arrays.tensors.get(`${prefix}outside`)?.data ?? new Uint8Array(points.length),
    metrics: numbersOf(about["metrics"]),
    notes: Array.isArray(about["notes"]) ? about["notes"].map(String) : [],
  };
}

function numbersOf(value: unknown): Record<string, number> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, number] => typeof entry[1] === "number"));
}

/** Share of the way to B, from which on a journey is said to stop short of it. */
export const SHORT = 0.005;

/** A journey in a few words: how many frames are outside, how long it is, how far from B it ends. */
export function inWords(row: Row): string {
  const { film } = row;
  if (!film) return "";
  const { length_ratio: ratio, distance_left: left, reached } = film.metrics;
  const off = Array.from(film.outside).filter(Boolean).length;
  const words = [off ? `${off} of ${film.points.length} outside` : "none outside"];
  if (row.verb === "travel" && ratio !== undefined && ratio < 1e3) words.push(`${ratio.toFixed(2)} × straight`);
  if (left !== undefined && left >= SHORT && row.verb === "travel") words.push(`stops ${Math.round(100 * left)} % short`);
  if (reached !== undefined && reached < 0.995) words.push(`${Math.round(100 * reached)} % of the change`);
  return words.join(" · ");
}
