/** What the page and its worker say to each other. */

import type { Backend } from "../api/backend";

/**
 * The verbs that are answered by the worker; a signal is not sent, but a message where it is heard.
 */
export type Asked = Exclude<keyof Backend, "picture">;

export type ToWorker =
  | { readonly open: string }
  | { readonly id: number; readonly verb: Asked; readonly given: readonly unknown[] }
  | { readonly cancel: number };

export type FromWorker =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly refused: string; readonly status: number }
  | { readonly id: number; readonly gone: string };
