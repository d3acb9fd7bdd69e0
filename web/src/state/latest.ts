/** Asking again and again while something moves: only the last question matters. */

/**
 * Runs one task at a time; of those asked for meanwhile, the last one follows. What runs is let
 * finish.
 */
export class Following {
  private running = false;
  private next: (() => Promise<void>) | null = null;

  run(task: () => Promise<void>): void {
    if (this.running) {
      this.next = task;
      return;
    }
    this.running = true;
    void task().finally(() => {
      this.running = false;
      const { next } = this;
      this.next = null;
      if (next) this.run(next);
    });
  }
}

/** Runs a task once nothing has been asked for some time, and cancels the one before. */
export class Settled {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private control: AbortController | null = null;

  constructor(private readonly milliseconds: number) {}

  run(task: (signal: AbortSignal) => Promise<void> | void): void {
    this.cancel();
    const control = new AbortController();
    this.control = control;
    this.timer = setTimeout(() => void task(control.signal), this.milliseconds);
  }

  cancel(): void {
    clearTimeout(this.timer);
    this.control?.abort();
    this.control = null;
  }
}

/** A few answers by their questions, the oldest forgotten first. */
export class Memory<T> {
  private readonly held = new Map<string, T>();

  constructor(private readonly most: number) {}

  get(key: string): T | undefined {
    return this.held.get(key);
  }

  set(key: string, value: T): void {
    this.held.delete(key);
    this.held.set(key, value);
    const oldest = this.held.keys().next();
    if (this.held.size > this.most && !oldest.done) this.held.delete(oldest.value);
  }
}

/** Something that others listen to. */
export class Signal<T> {
  private readonly listeners = new Set<(value: T) => void>();

  constructor(private held: T) {}

  get value(): T {
    return this.held;
  }

  set(value: T): void {
    this.held = value;
    for (const listener of [...this.listeners]) listener(value);
  }

  /** Tell everybody again, after a change inside. */
  touch(): void {
    this.set(this.held);
  }

  listen(listener: (value: T) => void): void {
    this.listeners.add(listener);
  }
}
