/** The backend over HTTP: JSON out, JSON or safetensors back. */

import { Gone, Refusal } from "./backend";
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
  Window,
} from "./backend";
import { readArrays } from "./wire";
import type { Arrays } from "./wire";

const TRIES = 4; // at a server that is busy: it says when to come back

export class ServerBackend implements Backend {
  private records: Progress["records"] = []; // of a run in training, as far as they have come

  constructor(private readonly root = "api") {}

  async about(signal?: AbortSignal): Promise<About> {
    return (await this.get("atlas", signal)).json() as Promise<About>;
  }

  plane(request: PlaneRequest, signal?: AbortSignal): Promise<Arrays> {
    const { plane, window, ...others } = request;
    return this.arrays("plane", { ...plane, ...(window ? { window } : {}), ...others }, signal);
  }

  points(
    axes: Axes,
    part: Part,
    offset: number,
    count: number,
    signal?: AbortSignal,
  ): Promise<Arrays> {
    return this.arrays("points", { ...axes, part, offset, count }, signal);
  }

  raster(
    axes: Axes,
    part: Part,
    window: Window,
    resolution: number,
    signal?: AbortSignal,
  ): Promise<Arrays> {
    return this.arrays("raster", { ...axes, part, window, resolution }, signal);
  }

  async codes(
    part: Part,
    offset: number,
    count: number,
    fields: string,
    signal?: AbortSignal,
  ): Promise<Arrays> {
    const query = new URLSearchParams({ part, offset: `${offset}`, count: `${count}`, fields });
    return readArrays(await (await this.get(`codes?${query}`, signal)).arrayBuffer());
  }

  async thumbnails(
    part: Part,
    indices: readonly number[],
    size: number,
    signal?: AbortSignal,
  ): Promise<ImageBitmap> {
    const query = new URLSearchParams({ part, indices: indices.join(","), size: `${size}` });
    return createImageBitmap(await (await this.get(`thumbnails?${query}`, signal)).blob());
  }

  async encode(photo: Blob, signal?: AbortSignal): Promise<Arrays> {
    const type = photo.type || "application/octet-stream";
    const answer = await this.ask(
      "encode",
      { method: "POST", body: photo, headers: { "Content-Type": type } },
      signal,
    );
    return readArrays(await answer.arrayBuffer());
  }

  decode(codes: readonly Code[], signal?: AbortSignal): Promise<Arrays> {
    return this.arrays("decode", { codes }, signal);
  }

  membership(codes: readonly Code[], signal?: AbortSignal): Promise<Arrays> {
    return this.arrays("membership", { codes }, signal);
  }

  compute(verb: Verb, settings: Settings, signal?: AbortSignal): Promise<Arrays> {
    return this.arrays(verb.replace("_", "-"), settings, signal);
  }

  neighbours(codes: readonly Code[], k: number, part: Part, signal?: AbortSignal): Promise<Arrays> {
    return this.arrays("neighbours", { codes, k, part }, signal);
  }

  async overview(signal?: AbortSignal): Promise<Arrays> {
    return readArrays(await (await this.get("overview", signal)).arrayBuffer());
  }

  async export(
    points: readonly Code[],
    format: Format,
    seconds: number,
    signal?: AbortSignal,
  ): Promise<Blob> {
    return (await this.post("export", { points, format, seconds }, signal)).blob();
  }

  async progress(signal?: AbortSignal): Promise<Progress> {
    const newer: Progress = await (
      await this.get(`progress?since=${this.records.length}`, signal)
    ).json();
    this.records = [...this.records, ...newer.records];
    return { ...newer, records: this.records };
  }

  picture(number: number): string {
    return `${this.root}/progress/picture?number=${number}`;
  }

  async growth(signal?: AbortSignal): Promise<Arrays> {
    return readArrays(await (await this.get("progress/map", signal)).arrayBuffer());
  }

  async embedding(signal?: AbortSignal): Promise<Arrays> {
    return readArrays(await (await this.get("embedding", signal)).arrayBuffer());
  }

  private get(path: string, signal?: AbortSignal): Promise<Response> {
    return this.ask(path, {}, signal);
  }

  private post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    const headers = { "Content-Type": "application/json" };
    return this.ask(path, { method: "POST", headers, body: JSON.stringify(body) }, signal);
  }

  private async arrays(path: string, body: object, signal?: AbortSignal): Promise<Arrays> {
    return readArrays(await (await this.post(path, body, signal)).arrayBuffer());
  }

  private async ask(path: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      const answer = await reach(`${this.root}/${path}`, signal ? { ...init, signal } : init);
      if (answer.ok) return answer;
      if (answer.status !== 503 || attempt === TRIES) throw await refusal(answer);
      await pause(1000 * Math.min(Number(answer.headers.get("Retry-After") ?? 1), 5), signal);
    }
  }
}

async function reach(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Gone("the server does not answer");
  }
}

async function refusal(answer: Response): Promise<Refusal> {
  let sentence = `the server answered ${answer.status}`;
  try {
    const { detail } = (await answer.json()) as { detail?: unknown };
    if (typeof detail === "string") sentence = detail;
  } catch {
    // no sentence came with it
  }
  return new Refusal(sentence, answer.status);
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
