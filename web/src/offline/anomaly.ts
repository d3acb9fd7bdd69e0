/**
 * How anomalous a photo is compared with held-out images: the scorer of the library, with what it
 * has learned.
 */

import type { Code } from "../api/backend";
import { floats } from "../api/wire";
import type { Arrays } from "../api/wire";

const TINY = 1e-12;
const TOO_GOOD = 0.5; // what a standard deviation counts on the side where outliers are not expected
const FALSE_ALARM = 0.05;
const USUAL = 2; // standard deviations up to which sharpness and texture do not count
const EDGES: readonly string[] = ["sharpness", "texture"];
const [FAINT, FLAT] = [1e-4, 1e-6]; // squared gradients of a flat image, at a pixel and in the mean

/** What is measured of a photo. */
export interface Evidence {
  readonly code: Code;
  readonly logProb: number;
  readonly realness: number;
  readonly error: number; // mean squared, per pixel of the reconstruction
  readonly sharpness: number; // how much more the photo has of it, in nats
  readonly texture: number; // likewise
  readonly width: number | null; // geometric mean of sigma
}

/** The row of the score, its columns ordered as by the server. */
export function scored(photo: Evidence, known: Arrays): Record<string, unknown> {
  const similar = nearest(photo.code, floats(known, "means"), floats(known, "neighbours")[0]!);
  const kinds = (["error", "width", "sharpness", "texture"] as const).filter((kind) => known.tensors.has(kind));
  const raw = [
    -photo.logProb,
    ...kinds.map(
      (kind) =>
        compared(kind, photo[kind]!) - mean(similar.map((row) => floats(known, kind)[row]!)),
    ),
  ];
  const [centre, scale] = [floats(known, "centre"), floats(known, "scale")];
  const surprises = raw.map((value, k) => (value - centre[k]!) / scale[k]!);
  const weighed = surprises.map((value, k) => counted(kinds[k - 1], value));
  const distance = Math.hypot(...weighed);
  const ranked = floats(known, "ranked");
  const p = (1 + ranked.filter((one) => one >= distance).length) / (ranked.length + 1);
  const all = floats(known, "log_prob");
  const { logProb, realness, error, width, sharpness, texture } = photo;
  const excess = Object.fromEntries(kinds.map((kind, k) => [`excess_${kind}`, surprises[k + 1]]));
  return {
    anomaly_score: distance,
    p_value: p,
    is_outlier: p <= FALSE_ALARM,
    rarity: surprises[0],
    ...excess,
    log_prob: logProb,
    typicality: all.filter((one) => one < logProb).length / all.length,
    realness,
    error,
    sharpness,
    texture,
    ...(width === null ? {} : { width }),
  };
}

/** What is compared with photos of similar codes. */
const compared = (kind: string, value: number) =>
  EDGES.includes(kind) ? value : Math.log(value + TINY);

/** What a deviation in standard deviations adds to the score; that of the code has no kind. */
function counted(kind: string | undefined, deviation: number): number {
  if (EDGES.includes(kind ?? "")) return Math.max(Math.abs(deviation) - USUAL, 0);
  return kind !== "width" && deviation < 0 ? TOO_GOOD * deviation : deviation;
}

/** Planes (c, h, w) of an image, of values in [0, 1]. */
interface Size {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** How an image and its reconstruction differ: the numbers of the library. */
export function reconstructionErrors(image: Float32Array, rebuilt: Float32Array, size: Size) {
  const [edges, others] = [edgesOf(image, size), edgesOf(rebuilt, size)];
  return {
    error: mean(Array.from(image, (pixel, at) => (rebuilt[at]! - pixel) ** 2)),
    sharpness: edges.total - others.total,
    texture: edges.local - others.local,
  };
}

/** log mean |∇x|² and mean log(|∇x|² + c), by differences to the right and below. */
function edgesOf(planes: Float32Array, { channels, height, width }: Size) {
  const squares = Array.from({ length: height * width }, (_, at) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      const place = c * height * width + at;
      if ((at + 1) % width) sum += (planes[place + 1]! - planes[place]!) ** 2;
      if (at + width < height * width) sum += (planes[place + width]! - planes[place]!) ** 2;
    }
    return sum / channels;
  });
  return {
    total: Math.log(mean(squares) + FLAT),
    local: mean(squares.map((square) => Math.log(square + FAINT))),
  };
}

/** Rows of the codes nearest to one, the nearest first. */
function nearest(code: Code, means: Float32Array, count: number): number[] {
  const d = code.length;
  const squares = Float64Array.from({ length: means.length / d }, (_, row) =>
    code.reduce((sum, z, i) => sum + (z - means[row * d + i]!) ** 2, 0),
  );
  return [...squares.keys()].sort((a, b) => squares[a]! - squares[b]!).slice(0, count);
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
