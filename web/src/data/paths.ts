/**
 * Every path and sample that the state asks for: planned once, remembered, and planned anew while
 * waypoints are dragged.
 */

import { Gone } from "../api/backend";
import type { About, Backend, Code, Settings, Verb } from "../api/backend";
import { floats, rows } from "../api/wire";
import type { Arrays } from "../api/wire";
import { Following, Memory, Signal } from "../state/latest";
import type { State } from "../state/state";
import type { Store } from "../state/store";
import { said } from "./answers";
import { unlike } from "./membership";
import { imagesOf } from "./pictures";
import type { Bytes, Pictures } from "./pictures";
import { texts } from "./texts";

/** The answer to one request: the codes of a path or of samples, and what is known of them. */
export interface Result {
  readonly points: readonly Code[];
  /** None where there is no decoder, and none yet while the frames are being decoded. */
  readonly images: readonly Bytes[];
  readonly logProb: Float32Array | null;
  readonly offManifold: ArrayLike<number>;
  /** By frame, the share of real codes that look less real; null where it is not known. */
  readonly pValues: ArrayLike<number> | null;
  readonly metrics: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

/** One row below the map. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly name: string; // of the planner or the verb: its arrays come under it
  readonly verb: Verb;
  readonly result: Result | null;
  readonly error: string | null;
  readonly pending: boolean; // not planned yet
  readonly waiting: boolean; // for B
  readonly extra: number | null; // place among the state's extras
}

interface Wanted extends Omit<Row, "result" | "error" | "pending" | "waiting"> {
  readonly settings: Settings;
}

export class Paths {
  readonly rows = new Signal<readonly Row[]>([]);
  private readonly results = new Memory<Result | string>(120);
  private readonly line = new Following();
  private readonly latest = new Map<string, Result>(); // by row, shown until the next one is there

  constructor(
    private readonly backend: Backend,
    private readonly about: About,
    private readonly store: Store,
    private readonly pictures: Pick<Pictures, "at">,
    private readonly lost: () => void,
  ) {
    store.listen((now, before) => {
      if (settingsOf(now, about) !== settingsOf(before, about)) this.refresh();
      else if (now.waypoints.length !== before.waypoints.length) this.tell();
    });
  }

  refresh(): void {
    const rows = this.wanted();
    if (rows.some((row) => !this.done(row))) this.line.run(() => this.inTurn(rows));
    this.tell();
  }

  /**
   * The quick planners first, and these at once, so that the server need not wait for the page; the
   * others one after the other, since a walk's steps are many. While something is dragged all are:
   * it may be elsewhere by then.
   */
  private async inTurn(rows: readonly Wanted[]): Promise<void> {
    const sorted = [...rows].sort((a, b) => patience(a) - patience(b));
    const atOnce = this.store.dragging
      ? 0
      : sorted.filter((row) => patience(row) < QUICK.length).length;
    await Promise.all(sorted.slice(0, atOnce).map((row) => this.plan(row)));
    for (const row of sorted.slice(atOnce)) if (this.stillWanted(row)) await this.plan(row); // otherwise the waypoints have moved since
  }

  private wanted(): Wanted[] {
    return [...travels(this.store.state, this.about), ...extras(this.store.state)];
  }

  /**
   * The codes first, which are shown at once, and then their images, unless these came with them.
   */
  private async plan(row: Wanted): Promise<void> {
    const key = keyOf(row);
    try {
      if (this.results.get(key) === undefined)
        this.keep(row, understood(await this.backend.compute(row.verb, row.settings), row.name));
      const planned = this.results.get(key);
      if (typeof planned === "object" && !this.done(row) && this.stillWanted(row)) {
        const places = await this.pictures.at(planned.points);
        this.keep(row, { ...planned, images: places.flatMap((place) => place.image ?? []) });
      }
    } catch (error) {
      if (error instanceof Gone) return this.lost();
      this.keep(row, error instanceof Error ? error.message : String(error));
    }
  }

  private keep(row: Wanted, result: Result | string): void {
    this.results.set(keyOf(row), result);
    if (typeof result !== "string") this.latest.set(row.id, result);
    this.tell();
  }

  /** Whether there is nothing more to ask for. */
  private done(row: Wanted): boolean {
    const result = this.results.get(keyOf(row));
    return typeof result === "string" || (result !== undefined && developed(result, this.about));
  }

  private stillWanted(row: Wanted): boolean {
    return this.wanted().some((one) => keyOf(one) === keyOf(row));
  }

  private tell(): void {
    const { state } = this.store;
    const awaited =
      state.waypoints.length === 1 && !state.extras.length
        ? travels({ ...state, waypoints: [...state.waypoints, state.waypoints[0]!] }, this.about)
        : [];
    const nothing = { result: null, error: null, pending: false, waiting: true };
    this.rows.set([
      ...awaited.map(({ settings, ...row }) => ({ ...row, ...nothing })),
      ...this.wanted().map(({ settings, ...row }) => {
        const found = this.results.get(keyOf({ ...row, settings }));
        const result =
          typeof found === "object"
            ? found
            : found === undefined
              ? (this.latest.get(row.id) ?? null)
              : null;
        if (typeof found === "object") this.latest.set(row.id, found);
        return {
          ...row,
          result,
          error: typeof found === "string" ? found : null,
          pending: found === undefined,
          waiting: false,
        };
      }),
    ]);
  }
}

/** Whether a result has all the pictures that it will have. */
export const developed = (result: Result, about: Pick<About, "image">): boolean =>
  !about.image || result.images.length === result.points.length;

const QUICK = ["linear", "slerp", "geodesic", "typical"];

/** How late in turn a row is planned. */
const patience = (row: Wanted): number =>
  QUICK.includes(row.id)
    ? QUICK.indexOf(row.id)
    : row.id === "walk"
      ? QUICK.length + 1
      : QUICK.length;

const keyOf = (row: Wanted) => JSON.stringify([row.verb, row.settings]);

const settingsOf = (state: State, about: About) =>
  JSON.stringify([travels(state, about), extras(state)]);

function travels(state: State, about: About): Wanted[] {
  if (state.waypoints.length < 2) return [];
  const names = about.planners.map((planner) => planner.name);
  const { waypoints, frames, closed, preserve, pace } = state;
  return state.planners
    .filter((planner) => names.includes(planner))
    .map((planner) => ({
      id: planner,
      name: planner,
      title: planner,
      verb: "travel" as const,
      extra: null,
      settings: {
        waypoints,
        planners: [planner],
        frames,
        closed,
        preserve,
        pace,
        images: false,
        options: planner === "walk" ? { walk: state.walk } : {},
      },
    }));
}

function extras(state: State): Wanted[] {
  return state.extras.map((extra, place) => ({
    id: `${extra.verb} ${place}`,
    name: extra.verb,
    title: extra.title,
    verb: extra.verb,
    extra: place,
    settings: extra.settings,
  }));
}

/** The result under a name, or the sentence that refuses it. */
function understood(arrays: Arrays, name: string): Result | string {
  const about = ((arrays.about[name] ?? arrays.about) as Record<string, unknown>) ?? {};
  if (typeof about["error"] === "string") return about["error"];
  const prefix = arrays.tensors.has(`${name}/points`) ? `${name}/` : "";
  const points = rows(arrays, `${prefix}points`);
  const logProb = arrays.tensors.has(`${prefix}log_prob`)
    ? floats(arrays, `${prefix}log_prob`)
    : null;
  return {
    points,
    images: imagesOf(arrays, `${prefix}images`),
    logProb,
    offManifold: arrays.tensors.get(`${prefix}off_manifold`)?.data ?? new Uint8Array(points.length),
    pValues: arrays.tensors.get(`${prefix}p_value`)?.data ?? null,
    metrics: numbersOf(about["metrics"]),
    warnings: Array.isArray(about["warnings"]) ? about["warnings"].map(String) : [],
  };
}

function numbersOf(value: unknown): Record<string, number> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(
      (entry): entry is [string, number] => typeof entry[1] === "number",
    ),
  );
}

/** What is to be known of paths before they are relied on, each sentence once. */
export function warningsOf(rows: readonly Row[]): string {
  return inSentences([...new Set(rows.flatMap((row) => row.result?.warnings ?? []))]);
}

/** Warnings one after the other, each as a whole sentence. */
export function inSentences(warnings: readonly string[]): string {
  return warnings
    .map(said)
    .map((words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}.`.replace(/\.\.$/, "."))
    .join(" ");
}

/** Share of the way to B, from which on a path is said to end short of it. */
export const SHORT = 0.005;

/**
 * A path in a few words: how many frames are off-manifold or unlike real codes, how long it is, how
 * far from B it ends.
 */
export function inWords(row: Row): string {
  const { result } = row;
  if (!result) return "";
  const { length_ratio: ratio, distance_left: left, reached } = result.metrics;
  const off = Array.from(result.offManifold).filter(Boolean).length;
  const others = unlike(result.pValues).length;
  const words = off ? [texts.someOffManifold(off, result.points.length)] : [];
  if (others) words.push(texts.someUnlike(others));
  if (!words.length) words.push(texts.noneOffManifold);
  if (row.verb === "travel" && ratio !== undefined && ratio < 1e3)
    words.push(texts.timesStraight(ratio.toFixed(2)));
  if (left !== undefined && left >= SHORT && row.verb === "travel")
    words.push(texts.shortOfGoal(Math.round(100 * left)));
  if (reached !== undefined && reached < 0.995)
    words.push(texts.ofTheChange(Math.round(100 * reached)));
  const unbroken = words.map((part) => part.replaceAll(" ", "\u00a0"));
  return unbroken.join(" · ");
}
