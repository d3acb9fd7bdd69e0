/** Holds the state, tells who listens, and remembers what can be undone. */

import type { State } from "./state";

export type Listener = (now: State, before: State) => void;
type Patch = Partial<State>;

const REMEMBERED = 200;

export class Store {
  private past: State[] = [];
  private future: State[] = [];
  private begun: State | null = null; // the state before a gesture that has not ended
  private readonly listeners = new Set<Listener>();

  constructor(private now: State) {}

  get state(): State {
    return this.now;
  }

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  get canRedo(): boolean {
    return this.future.length > 0;
  }

  /** Whether a gesture is under way. */
  get dragging(): boolean {
    return this.begun !== null;
  }

  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Change something; the change can be undone. It ends a gesture, whose steps are undone with it.
   */
  change(patch: Patch): void {
    this.past.push(this.begun ?? this.now);
    if (this.past.length > REMEMBERED) this.past.shift();
    this.begun = null;
    this.future = [];
    this.become({ ...this.now, ...patch });
  }

  /**
   * One of many steps of a gesture, such as dragging: to be undone together once `change` ends it.
   */
  drag(patch: Patch): void {
    this.begun ??= this.now;
    this.become({ ...this.now, ...patch });
  }

  /** Look elsewhere: a change that undo does not count, such as zooming or scrubbing. */
  look(patch: Patch): void {
    this.become({ ...this.now, ...patch });
  }

  /** Become what another address says. */
  replace(state: State): void {
    this.change(state);
  }

  undo(): void {
    this.step(this.past, this.future);
  }

  redo(): void {
    this.step(this.future, this.past);
  }

  private step(from: State[], to: State[]): void {
    const state = from.pop();
    if (!state) return;
    to.push(this.begun ?? this.now);
    this.begun = null;
    const samePlane = JSON.stringify(state.plane) === JSON.stringify(this.now.plane);
    this.become(samePlane ? { ...state, window: this.now.window } : state);
  }

  private become(state: State): void {
    const before = this.now;
    this.now = state;
    for (const listener of [...this.listeners]) listener(state, before);
  }
}
