/** What codes decode to, remembered. */

import { keyOf } from "../api/backend";
import type { Backend, Code } from "../api/backend";
import { floats } from "../api/wire";
import type { Arrays } from "../api/wire";
import { Memory, Signal } from "../state/latest";

/** What a code decodes to, and what the map says of it. */
export interface Decoded {
  readonly image: Bytes | null;
  readonly logProb: number | null;
  readonly offManifold: boolean;
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

/** A photo as the model saw it, its reconstruction, and its anomaly scores. */
export interface Photo {
  readonly image: Bytes | null;
  readonly reconstruction: Bytes | null;
  readonly shownBy: string; // what the reconstruction is
  readonly anomaly: Readonly<Record<string, unknown>>;
  readonly offManifold: boolean;
}

export class Pictures {
  /** Changes whenever new codes have been decoded. */
  readonly news = new Signal(0);
  private readonly places = new Memory<Decoded>(2_000);
  private readonly coming = new Map<string, Promise<Map<string, Decoded>>>();

  constructor(private readonly backend: Backend) {}

  known(code: Code): Decoded | undefined {
    return this.places.get(keyOf(code));
  }

  /**
   * Each is decoded once: what is known or on its way, such as the ends that paths share, is not
   * asked for again.
   */
  async at(codes: readonly Code[], signal?: AbortSignal): Promise<Decoded[]> {
    const keys = codes.map(keyOf);
    const held = keys.map((key) => this.places.get(key) ?? this.coming.get(key));
    const missing = codes.filter((_, k) => !held[k]);
    const decoding = missing.length ? this.decode(missing, signal) : new Map<string, Decoded>();
    const found = await Promise.all(held.map((place) => place ?? decoding));
    return found.map((place, k) => (place instanceof Map ? place.get(keys[k]!)! : place));
  }

  private decode(codes: readonly Code[], signal?: AbortSignal): Promise<Map<string, Decoded>> {
    const keys = codes.map(keyOf);
    const decoding = this.backend.decode(codes, signal).then((answer) => {
      const found = new Map(unfold(answer, codes.length).map((place, k) => [keys[k]!, place]));
      for (const [key, place] of found) this.places.set(key, place);
      this.news.set(this.news.value + 1);
      return found;
    });
    if (signal) return decoding; // it may be cancelled, so no other request waits for it
    for (const key of keys) this.coming.set(key, decoding);
    return decoding.finally(() => keys.forEach((key) => this.coming.delete(key)));
  }
}

/**
 * Image, log-density, typicality and whether it is off-manifold, for each of n codes, from the
 * arrays of an answer under a prefix.
 */
export function unfold(arrays: Arrays, count: number, prefix = ""): Decoded[] {
  const images = imagesOf(arrays, `${prefix}images`);
  const logProb = arrays.tensors.has(`${prefix}log_prob`)
    ? floats(arrays, `${prefix}log_prob`)
    : null;
  const offManifold = arrays.tensors.get(`${prefix}off_manifold`)?.data;
  const typicality = arrays.tensors.get(`${prefix}typicality`)?.data;
  return Array.from({ length: count }, (_, k) => ({
    image: images[k] ?? null,
    logProb: logProb?.[k] ?? null,
    offManifold: !!offManifold?.[k],
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
  return Array.from({ length: size ? data.length / size : 0 }, (_, k) => ({
    bytes: data.subarray(k * size, (k + 1) * size),
    height,
    width,
    channels,
  }));
}
