/** Codes as lists of numbers, and what is computed with them. */

import type { Code } from "../api/backend";

export type Path = readonly Code[];

export const dot = (a: Code, b: Code): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
export const norm = (a: Code): number => Math.sqrt(dot(a, a));
export const add = (a: Code, b: Code, weight = 1): number[] => a.map((x, i) => x + weight * b[i]!);
export const subtract = (a: Code, b: Code): number[] => a.map((x, i) => x - b[i]!);
export const scaled = (a: Code, factor: number): number[] => a.map((x) => factor * x);
export const lerp = (a: Code, b: Code, share: number): number[] =>
  a.map((x, i) => x + share * (b[i]! - x));
export const distance = (a: Code, b: Code): number => norm(subtract(a, b));

/** As the networks and the server know it: in single precision. */
export const rounded = (a: Code): number[] => a.map(Math.fround);

/** Codes one after the other, as the networks take them. */
export function flat(codes: readonly Code[], dimension: number): Float32Array {
  const numbers = new Float32Array(codes.length * dimension);
  codes.forEach((code, k) => numbers.set(code, k * dimension));
  return numbers;
}

/** Rows of a matrix as lists. */
export function unflat(numbers: Float32Array, dimension: number): number[][] {
  return Array.from({ length: numbers.length / dimension }, (_, k) => [
    ...numbers.subarray(k * dimension, (k + 1) * dimension),
  ]);
}

/** Length travelled from the start to each point. */
export function arcLengths(points: Path): number[] {
  let length = 0;
  return points.map((point, k) => (length += k ? distance(point, points[k - 1]!) : 0));
}

/**
 * The places on a polyline at which `travelled`, which never falls on the way, has the wanted
 * values.
 */
export function interpolate(
  points: Path,
  travelled: readonly number[],
  wanted: readonly number[],
): number[][] {
  return wanted.map((value) => {
    const found = travelled.findIndex((length) => length >= value);
    const right = Math.min(Math.max(found < 0 ? points.length - 1 : found, 1), points.length - 1);
    const [before, after] = [travelled[right - 1]!, travelled[right]!];
    const share = Math.min(Math.max((value - before) / Math.max(after - before, 1e-38), 0), 1);
    return lerp(points[right - 1]!, points[right]!, share);
  });
}

/** So many points at equal distances along a polyline; both ends stay where they are. */
export function resample(points: Path, frames: number): number[][] {
  const lengths = arcLengths(points);
  const placed = interpolate(points, lengths, equal(lengths.at(-1)!, frames));
  placed[0] = [...points[0]!];
  placed[frames - 1] = [...points.at(-1)!];
  return placed;
}

/** From 0 to the total in equal steps. */
export const equal = (total: number, frames: number): number[] =>
  Array.from({ length: frames }, (_, k) => (total * k) / (frames - 1));

/** A quantile of sorted numbers, straight between them. */
export function quantile(sorted: readonly number[], share: number): number {
  const place = Math.min(Math.max(share, 0), 1) * (sorted.length - 1);
  const below = Math.min(Math.floor(place), sorted.length - 2);
  const [low, high] = [
    sorted[Math.max(below, 0)]!,
    sorted[Math.min(below + 1, sorted.length - 1)]!,
  ];
  return low === high || place === below ? low : low + (place - below) * (high - low); // also where both are infinite
}

/** The share at which a value is the quantile of sorted numbers: what `quantile` undoes. */
export function shareBelow(sorted: readonly number[], value: number): number {
  const above = sorted.findIndex((one) => one >= value);
  if (above < 0) return 1;
  if (above === 0) return 0;
  const [low, high] = [sorted[above - 1]!, sorted[above]!];
  const between = low === -Infinity ? Number(value === high) : (value - low) / (high - low);
  return (above - 1 + between) / (sorted.length - 1);
}
