/**
 * The plane that is shown: fetched for each window, coarse at once and fine once the window no
 * longer moves.
 */

import { attempt } from "../api/attempt";
import type { Reporter } from "../api/attempt";
import type { About, Axes, Backend, Code, Place, Window } from "../api/backend";
import { floats, rows } from "../api/wire";
import type { Arrays } from "../api/wire";
import { Following, Settled, Signal } from "../state/latest";
import type { State } from "../state/state";
import type { Store } from "../state/store";
import type { Grid } from "./grid";

export interface Plane {
  readonly key: string; // of what was asked: kind and level
  readonly axes: Axes;
  readonly window: Window;
  readonly grids: Readonly<Partial<Record<"log_prob" | "realness" | "confusion", Grid>>>;
  readonly threshold: number | null;
  readonly range: { readonly low: number; readonly high: number };
  readonly arrows: {
    readonly window: Window;
    readonly scores: Float32Array;
    readonly side: number;
  } | null;
  readonly side: number;
}

const COARSE = 72;
export const FINE = 256;
const ARROWS = 24;
const MARGIN = 0.12; // of the window's side, fetched beyond it so that a little dragging shows no border

export class Chart {
  readonly plane = new Signal<Plane | null>(null);
  /** The window that the server proposes for this plane. */
  readonly home = new Signal<Window | null>(null);
  readonly busy = new Signal(false);
  private readonly following = new Following();
  private readonly settled = new Settled(140);
  private asked = 0;
  private shown = 0;

  constructor(
    private readonly backend: Backend,
    private readonly about: About,
    private readonly store: Store,
    private readonly reporter: Reporter,
    private readonly view: () => Window | null,
  ) {
    store.listen((now, before) => {
      const other = keyOf(now, about) !== keyOf(before, about);
      if (other && planeKey(now) !== planeKey(before)) this.home.set(null);
      if (other || now.arrows !== before.arrows || now.window !== before.window) this.refresh();
    });
  }

  /** Fetch what the state asks for. */
  refresh(): void {
    const { state } = this.store;
    if (state.plane.kind === "embedding") {
      this.settled.cancel();
      this.plane.set(null);
      return;
    }
    const serial = ++this.asked;
    this.busy.set(true);
    if (!this.covered(state)) this.following.run(() => this.fetch(serial, COARSE));
    if (!this.home.value) return; // the first answer proposes the window
    this.settled.run((signal) => this.fetch(serial, FINE, signal));
  }

  /** The code at a place of the plane. */
  lift([x, y]: Place): Code {
    const { origin, axes } = this.plane.value!.axes;
    return origin.map((o, i) => Math.fround(o + x * axes[0][i]! + y * axes[1][i]!));
  }

  /** The nearest place of the plane to a code, and how far it is. */
  project(code: Code): { place: Place; distance: number } {
    const { origin, axes } = this.plane.value!.axes;
    let [x, y, square] = [0, 0, 0];
    code.forEach((z, i) => {
      const from = z - origin[i]!;
      x += from * axes[0][i]!;
      y += from * axes[1][i]!;
      square += from * from;
    });
    return { place: [x, y], distance: Math.sqrt(Math.max(0, square - x * x - y * y)) };
  }

  /** Widen the window of the plane, if a code lies outside of it. */
  reveal(code: Code): void {
    const view = this.view();
    if (!view || !this.plane.value || this.store.state.plane.kind === "embedding") return;
    const [x, y] = this.project(code).place;
    const { left, right, bottom, top } = view;
    if (x >= left && x <= right && y >= bottom && y <= top) return;
    const margin = MARGIN * (right - left);
    this.store.look({
      window: {
        left: Math.min(left, x - margin),
        right: Math.max(right, x + margin),
        bottom: Math.min(bottom, y - margin),
        top: Math.max(top, y + margin),
      },
    });
  }

  /** Whether the fine plane that is shown is good enough until the next one comes. */
  private covered(state: State): boolean {
    const plane = this.plane.value;
    const view = this.view();
    if (
      !plane ||
      !view ||
      plane.key !== keyOf(state, this.about) ||
      plane.side < FINE ||
      !!plane.arrows !== state.arrows
    )
      return false;
    const wider = (plane.window.right - plane.window.left) / (view.right - view.left);
    const { left, right, bottom, top } = plane.window;
    return (
      view.left >= left &&
      view.right <= right &&
      view.bottom >= bottom &&
      view.top <= top &&
      wider < 2.5
    );
  }

  private async fetch(serial: number, resolution: number, signal?: AbortSignal): Promise<void> {
    const { state } = this.store;
    if (state.plane.kind === "embedding" || serial < this.shown) return;
    const key = keyOf(state, this.about);
    const window = this.home.value ? enlarged(this.view()) : null; // the first answer tells the whole plane
    const level = this.about.levels[state.level] ?? 0;
    const request = {
      plane: state.plane,
      window,
      level,
      resolution,
      arrows: state.arrows ? ARROWS : 0,
    };
    const answer = await attempt(this.reporter, () => this.backend.plane(request, signal));
    if (!answer && serial === this.asked) this.busy.set(false); // refused: nothing more is coming
    if (!answer || serial < this.shown || key !== keyOf(this.store.state, this.about)) return;
    if (serial === this.shown && resolution === COARSE) return; // the fine one was faster
    this.shown = serial;
    const plane = understood(answer, key, this.plane.value);
    const first = !this.home.value;
    if (first) this.home.set(plane.window);
    this.plane.set(plane);
    if (first) this.refresh();
    else if (serial === this.asked && resolution === FINE) this.busy.set(false);
  }
}

const planeKey = (state: State) => JSON.stringify(state.plane);
const keyOf = (state: State, about: About) =>
  `${planeKey(state)}@${about.levels[state.level] ?? 0}`;

function enlarged(window: Window | null): Window | null {
  if (!window) return null;
  const { left, right, bottom, top } = window;
  const [x, y] = [MARGIN * (right - left), MARGIN * (top - bottom)];
  return { left: left - x, right: right + x, bottom: bottom - y, top: top + y };
}

/** A plane as it is answered. */
export function understood(answer: Arrays, key: string, before: Plane | null): Plane {
  const window = answer.about["window"] as Window;
  const threshold = (answer.about["threshold"] as number | null | undefined) ?? null;
  const grids: Partial<Record<"log_prob" | "realness" | "confusion", Grid>> = {};
  for (const name of ["log_prob", "realness", "confusion"] as const) {
    const tensor = answer.tensors.get(name);
    if (tensor) grids[name] = { values: floats(answer, name), side: tensor.shape[0]!, window };
  }
  const arrows = answer.tensors.get("arrows");
  const side = answer.tensors.get("realness")!.shape[0]!;
  const axes = rows(answer, "axes") as unknown as [Code, Code];
  const axesAndOrigin = { origin: [...floats(answer, "origin")], axes };
  // colours keep their meaning while the window moves over a plane
  const range = before?.key === key ? before.range : rangeOf(grids.log_prob, threshold);
  const scores =
    arrows && arrows.shape[0]! > 1
      ? { window, scores: floats(answer, "arrows"), side: arrows.shape[0]! }
      : null;
  return { key, axes: axesAndOrigin, window, grids, threshold, range, arrows: scores, side };
}

/** The range of the colours: from a little below the threshold to the highest value. */
function rangeOf(grid: Grid | undefined, threshold: number | null): { low: number; high: number } {
  if (!grid) return { low: 0, high: 1 };
  let [low, high] = [Infinity, -Infinity];
  for (const value of grid.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (threshold === null) return { low: Math.max(low, high - 30), high };
  const top = Math.max(high, threshold + 1);
  return { low: threshold - 0.9 * (top - threshold), high: top };
}
