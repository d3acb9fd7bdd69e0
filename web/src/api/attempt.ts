/** Asking the backend, and showing in one sentence what went wrong. */

import { Gone } from "./backend";

/** What shows messages to a person. */
export interface Reporter {
  /** Show a sentence, and read it aloud. */
  say(sentence: string, kind?: "news" | "trouble"): void;
  /** The server does not answer. */
  lost(): void;
}

/** Run something that asks the backend, and say in one sentence what went wrong. */
export async function attempt<T>(reporter: Reporter, task: () => Promise<T>): Promise<T | null> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return null;
    if (error instanceof Gone) reporter.lost();
    else reporter.say(error instanceof Error ? error.message : String(error), "trouble");
    return null;
  }
}
