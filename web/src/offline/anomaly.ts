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
const FAINT = 1e-4; // squared gradients below which an image is flat

/** What is measured of a photo. */
export interface Evidence {
  readonly code: Code;
  readonly logProb: number;
  readonly realness: number;
  readonly error: number; // mean squared, per pixel of the reconstruction
  readonly detail: number; // its difference in detail
  readonly width: number | null; // geometric mean of sigma
}

/** The row of the score, its columns ordered as by the server. */
export function scored(photo: Evidence, known: Arrays): Record<string, unknown> {
  const similar = nearest(photo.code, floats(known, "means"), floats(known, "neighbours")[0]!);
  const kinds = (["error", "detail", "width"] as const).filter((kind) => known.tensors.has(kind));
  const raw = [
    -photo.logProb,
    ...kinds.map(
      (kind) =>
        Math.log(photo[kind]! + TINY) - mean(similar.map((row) => floats(known, kind)[row]!)),
    ),
  ];
  const [centre, scale] = [floats(known, "centre"), floats(known, "scale")];
  const surprises = raw.map((value, k) => (value - centre[k]!) / scale[k]!);
  const weighed = surprises.map((value, k) =>
    value < 0 && kinds[k - 1] !== "width" ? TOO_GOOD * value : value,
  );
  const distance = Math.hypot(...weighed);
  const ranked = floats(known, "ranked");
  const p = (1 + ranked.filter((one) => one >= distance).length) / (ranked.length + 1);
  const all = floats(known, "log_prob");
  const { logProb, realness, error, detail, width } = photo;
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
    detail,
    ...(width === null ? {} : { width }),
  };
}

/** How an image and its reconstruction, planes (c, h, w) in [0, 1], differ: the library's numbers. */
export function reconstructionErrors(
  image: Float32Array,
  rebuilt: Float32Array,
  shape: { channels: number; height: number; width: number },
): { error: number; detail: number } {
  const [edges, others] = [logEdges(image, shape), logEdges(rebuilt, shape)];
  return {
    error: mean([...image].map((pixel, at) => (rebuilt[at]! - pixel) ** 2)),
    detail: mean([...edges].map((edge, at) => Math.abs(others[at]! - edge))),
  };
}

/** log(|∇x|² + c) at every pixel, by differences to the right and below, mean over channels. */
function logEdges(
  planes: Float32Array,
  { channels, height, width }: { channels: number; height: number; width: number },
): Float64Array {
  return Float64Array.from({ length: height * width }, (_, at) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      const place = c * height * width + at;
      if ((at + 1) % width) sum += (planes[place + 1]! - planes[place]!) ** 2;
      if (at + width < height * width) sum += (planes[place + width]! - planes[place]!) ** 2;
    }
    return Math.log(sum / channels + FAINT);
  });
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
