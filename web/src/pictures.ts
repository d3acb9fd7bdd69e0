/** What places decode to, remembered. */

import type { Backend, Code } from "./backend";
import { keyOf } from "./app";
import { Memory, Signal } from "./latest";
import { floats } from "./wire";
import type { Arrays } from "./wire";

export interface Place {
  readonly image: Bytes | null;
  readonly logProb: number | null;
  readonly outside: boolean;
  /** Share of held-out codes that are less likely, where the answer has it. */
  readonly typicality: number | null;
}

/** One image, (height, width, channels) bytes. */
export interface Bytes {
  readonly bytes: Uint8Array;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

export class Pictures {
  /** Told whenever places have been decoded that were unknown. */
  readonly news = new Signal(0);
  private readonly places = new Memory<Place>(2_000);

  constructor(private readonly backend: Backend) {}

  known(code: Code): Place | undefined {
    return this.places.get(keyOf(code));
  }

  async at(codes: readonly Code[], signal?: AbortSignal): Promise<Place[]> {
    const missing = codes.filter((code) => !this.known(code));
    if (missing.length) {
      const places = unfold(await this.backend.decode(missing, signal), missing.length);
      places.forEach((place, k) => this.places.set(keyOf(missing[k]!), place));
      this.news.set(this.news.value + 1);
    }
    return codes.map((code) => this.known(code)!);
  }
}

/** Image, log-density, side of the edge and typicality of each of n places, from the arrays of an answer under a prefix. */
export function unfold(arrays: Arrays, count: number, prefix = ""): Place[] {
  const images = imagesOf(arrays, `${prefix}images`);
  const logProb = arrays.tensors.has(`${prefix}log_prob`) ? floats(arrays, `${prefix}log_prob`) : null;
  const outside = arrays.tensors.get(`${prefix}outside`)?.data;
  const typicality = arrays.tensors.get(`${prefix}typicality`)?.data;
  return Array.from({ length: count }, (_, k) => ({
    image: images[k] ?? null,
    logProb: logProb?.[k] ?? null,
    outside: !!outside?.[k],
    typicality: typicality?.[k] ?? null,
  }));
}

/** The images (n, h, w, c) under a name; none where there is no decoder. */
export function imagesOf(arrays: Arrays, name: string): Bytes[] {
  const tensor = arrays.tensors.get(name);
  if (!tensor) return [];
  const [height, width, channels] = tensor.shape.slice(-3) as [number, number, number];
  const size = height * width * channels;
  const data = tensor.data as Uint8Array;
  return Array.from({ length: size ? data.length / size : 0 }, (_, k) => ({ bytes: data.subarray(k * size, (k + 1) * size), height, width, channels }));
}
