/**
 * The backend without a server: a folder of files, and the networks in a worker of this browser.
 */

import { Gone, Refusal } from "../api/backend";
import type {
  About,
  Axes,
  Backend,
  Code,
  Format,
  Part,
  PlaneRequest,
  Progress,
  Settings,
  Verb,
} from "../api/backend";
import type { Arrays } from "../api/wire";
import type { Asked, FromWorker, ToWorker } from "./messages";

interface Waiting {
  resolve(answer: never): void;
  reject(reason: unknown): void;
}

export class OfflineBackend implements Backend {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private asked = 0;

  /** The address of the folder's facts, relative to the page. */
  constructor(address: string) {
    this.worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) =>
      this.heard(data),
    );
    this.worker.addEventListener("error", (event) =>
      this.broken(event.message || "the networks cannot run in this browser"),
    );
    this.post({ open: new URL(address, document.baseURI).href });
  }

  about(signal?: AbortSignal): Promise<About> {
    return this.ask("about", [], signal);
  }

  plane(request: PlaneRequest, signal?: AbortSignal): Promise<Arrays> {
    return this.ask("plane", [request], signal);
  }

  points(
    axes: Axes,
    part: Part,
    offset: number,
    count: number,
    signal?: AbortSignal,
  ): Promise<Arrays> {
    return this.ask("points", [axes, part, offset, count], signal);
  }

  codes(
    part: Part,
    offset: number,
    count: number,
    fields: string,
    signal?: AbortSignal,
  ): Promise<Arrays> {
    return this.ask("codes", [part, offset, count, fields], signal);
  }

  thumbnails(
    part: Part,
    indices: readonly number[],
    size: number,
    signal?: AbortSignal,
  ): Promise<ImageBitmap> {
    return this.ask("thumbnails", [part, indices, size], signal);
  }

  encode(photo: Blob, signal?: AbortSignal): Promise<Arrays> {
    return this.ask("encode", [photo], signal);
  }

  decode(codes: readonly Code[], signal?: AbortSignal): Promise<Arrays> {
    return this.ask("decode", [codes], signal);
  }

  membership(codes: readonly Code[], signal?: AbortSignal): Promise<Arrays> {
    return this.ask("membership", [codes], signal);
  }

  compute(verb: Verb, settings: Settings, signal?: AbortSignal): Promise<Arrays> {
    return this.ask("compute", [verb, settings], signal);
  }

  neighbours(codes: readonly Code[], k: number, part: Part, signal?: AbortSignal): Promise<Arrays> {
    return this.ask("neighbours", [codes, k, part], signal);
  }

  overview(signal?: AbortSignal): Promise<Arrays> {
    return this.ask("overview", [], signal);
  }

  export(
    points: readonly Code[],
    format: Format,
    seconds: number,
    signal?: AbortSignal,
  ): Promise<Blob> {
    return this.ask("export", [points, format, seconds], signal);
  }

  progress(signal?: AbortSignal): Promise<Progress> {
    return this.ask("progress", [], signal);
  }

  picture(): string {
    return ""; // a folder is of a finished run, and has no progress
  }

  growth(signal?: AbortSignal): Promise<Arrays> {
    return this.ask("growth", [], signal);
  }

  embedding(signal?: AbortSignal): Promise<Arrays> {
    return this.ask("embedding", [], signal);
  }

  private ask<T>(verb: Asked, given: readonly unknown[], signal?: AbortSignal): Promise<T> {
    const id = ++this.asked;
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      signal?.addEventListener("abort", () => {
        if (!this.waiting.delete(id)) return;
        this.post({ cancel: id });
        reject(signal.reason);
      });
      this.waiting.set(id, { resolve, reject });
      this.post({ id, verb, given });
    });
  }

  private heard(message: FromWorker): void {
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if ("answer" in message) waiting?.resolve(message.answer as never);
    else if ("gone" in message) waiting?.reject(new Gone(message.gone));
    else waiting?.reject(new Refusal(message.refused, message.status));
  }

  private broken(sentence: string): void {
    for (const { reject } of this.waiting.values()) reject(new Refusal(sentence, 500));
    this.waiting.clear();
  }

  private post(message: ToWorker): void {
    this.worker.postMessage(message);
  }
}
