/** What every part of the page is handed: the backend, the state, and the things they make together. */

import type { About, Backend, Code } from "../api/backend";
import { Gone } from "../api/backend";
import type { Chart } from "./chart";
import type { Cloud } from "./cloud";
import type { Theme } from "../ui/colour/tables";
import type { Journeys } from "./journeys";
import type { Signal } from "../state/latest";
import type { Photo } from "./photos";
import type { Pictures } from "./pictures";
import type { Store } from "../state/store";

/** The place that is looked at closely: a stop, a frame of a journey, a draw, a real code. */
export interface Selection {
  readonly code: Code;
  readonly title: string;
  readonly stop?: number;
}

export interface App {
  readonly backend: Backend;
  readonly about: About;
  readonly store: Store;
  readonly chart: Chart;
  readonly cloud: Cloud;
  readonly journeys: Journeys;
  readonly pictures: Pictures;
  readonly photos: Map<string, Photo>;
  readonly selection: Signal<Selection | null>;
  readonly theme: Signal<Theme>;
  /** A sentence for everybody, read aloud too. */
  say(sentence: string, kind?: "news" | "trouble"): void;
  /** The server does not answer. */
  lost(): void;
}

/** Run something that asks the backend, and say in one sentence what went wrong. */
export async function attempt<T>(app: Pick<App, "say" | "lost">, task: () => Promise<T>): Promise<T | null> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return null;
    if (error instanceof Gone) app.lost();
    else app.say(error instanceof Error ? error.message : String(error), "trouble");
    return null;
  }
}

export const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Stops are lettered in their order. */
export const letter = (index: number): string => LETTERS[index % 26]!;

export const keyOf = (code: Code): string => code.join(",");

/** −12.3, with a proper minus. */
export const number = (value: number, digits = 1): string => (Number.isFinite(value) ? value.toFixed(digits).replace("-", "−") : "–");
