/**
 * How anomalous a photo is compared with held-out images: the scorer of the library, with what it
 * has learned.
 */

import type { Code } from "../api/backend";
import { floats } from "../api/wire";
import type { Arrays } from "../api/wire";

const TINY = 1e-12;
const ROUNDING = 1e-6;
const NEAREST = 3; // codes that the map was fitted to, whose mean distance is measured
const ITSELF = 1e-3; // a code so much nearer than the next one is the photo itself, which was learned from
const SIDES_WEIGHT = 0.1; // of p-values on either side
const FALSE_ALARM = 0.05;
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
  const near = nearest(photo.code, floats(known, "learned"), NEAREST + 1).map(
    ({ distance }) => distance,
  );
  const itself = near[0]! < ITSELF * near[1]!;
  const compared = {
    distance: Math.log(mean(itself ? near.slice(1) : near.slice(0, NEAREST)) + TINY),
    error: Math.log(photo.error + TINY),
    sharpness: photo.sharpness,
    texture: photo.texture,
  };
  const raw = [
    -photo.logProb,
    ...Object.entries(compared).map(
      ([kind, value]) => value - mean(similar.map(({ row }) => floats(known, kind)[row]!)),
    ),
  ];
  const [centre, scale] = [floats(known, "centre"), floats(known, "scale")];
  const deviations = raw.map((value, k) => (value - centre[k]!) / scale[k]!);
  const score = combined(deviations.slice(0, 3), deviations.slice(2));
  const ranked = floats(known, "ranked");
  const p = (1 + ranked.filter((one) => one >= score - ROUNDING).length) / (ranked.length + 1);
  const all = floats(known, "log_prob");
  const { logProb, realness, error, width, sharpness, texture } = photo;
  const excess = Object.keys(compared).map((kind, k) => [`excess_${kind}`, deviations[k + 1]]);
  return {
    anomaly_score: score,
    p_value: p,
    is_outlier: p <= FALSE_ALARM,
    rarity: deviations[0],
    ...Object.fromEntries(excess),
    log_prob: logProb,
    typicality: all.filter((one) => one < logProb).length / all.length,
    realness,
    error,
    sharpness,
    texture,
    ...(width === null ? {} : { width }),
  };
}

/** Minus the logarithm of the harmonic mean p-value of parts where more is anomalous, of their sum, and of others. */
function combined(above: readonly number[], sides: readonly number[]): number {
  const sum = above.reduce((total, part) => total + part, 0) / Math.sqrt(above.length);
  const terms = [
    ...[...above, sum].map((part) => -logTail(part)),
    ...sides.map((part) => Math.log(SIDES_WEIGHT / 2) - logTail(Math.abs(part))),
  ];
  const weights = above.length + 1 + SIDES_WEIGHT * sides.length;
  const most = Math.max(...terms);
  if (most === Infinity) return most;
  return most + Math.log(terms.reduce((total, term) => total + Math.exp(term - most), 0) / weights);
}

/**
 * The logarithm of 1 - Φ(v): with the density φ, φ(v) / (v + 1 / (v + 2 / (v + 3 / ...))) in the
 * tail, and φ(v) (v + v³/3 + v⁵/15 + ...) less than 1/2 in the middle.
 */
function logTail(v: number): number {
  const density = Math.exp(-0.5 * v * v) / Math.sqrt(2 * Math.PI);
  if (Math.abs(v) < 3) {
    let [term, sum] = [v, v];
    for (let k = 3; k < 120; k += 2) sum += term *= (v * v) / k;
    return Math.log(0.5 - density * sum);
  }
  let fraction = Math.abs(v);
  for (let k = 60; k > 0; k--) fraction = Math.abs(v) + k / fraction;
  return v < 0
    ? Math.log1p(-density / fraction)
    : -0.5 * v * v - 0.5 * Math.log(2 * Math.PI) - Math.log(fraction);
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

/** Rows of the codes nearest to one with their distances, the nearest first. */
function nearest(code: Code, means: Float32Array, count: number) {
  const d = code.length;
  const squares = Float64Array.from({ length: means.length / d }, (_, row) =>
    code.reduce((sum, z, i) => sum + (z - means[row * d + i]!) ** 2, 0),
  );
  return [...squares.keys()]
    .sort((a, b) => squares[a]! - squares[b]!)
    .slice(0, count)
    .map((row) => ({ row, distance: Math.sqrt(squares[row]!) }));
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
