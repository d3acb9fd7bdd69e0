/** Typical paths: frames as far from the middle of the codes as real codes are. */

import { Refusal } from "../api/backend";
import type { Code } from "../api/backend";
import type { Density } from "./density";
import { minimise } from "./descent";
import type { Energy, Relaxed } from "./descent";
import { geodesic, sigmoid, softplus } from "./geodesic";
import type { Geodesic } from "./geodesic";
import { slerp } from "./straight";
import {
  add,
  distance,
  dot,
  equal,
  interpolate,
  norm,
  resample,
  scaled,
  subtract,
} from "./vectors";
import type { Path } from "./vectors";

const AGAIN = [4, 16]; // times λ, for a path that stays below the threshold
const BETWEEN = 8; // pieces of each step that are evaluated: between its frames a path may cross a gap
const LOWER = 0.1; // nats by which a path may be below the geodesic and the threshold
const ROUNDS = 30; // of bisection for the speed limit

export interface Typical extends Geodesic {
  readonly bend: number;
  readonly width: number;
  readonly pace: number;
}

/** Of codes in the units of the noise: their mean, and the sum of their variances. */
export interface Middle {
  readonly mean: Code;
  readonly spread: number;
}

/**
 * A turn round the mean, denoised, bent where the density is low, and with no step too long, as the
 * library plans it; or the geodesic, where its least likely place is likelier.
 */
export async function typical(
  density: Density,
  middle: Middle,
  ends: readonly [Code, Code],
  how: Typical,
  frames: number,
): Promise<{ points: Path; converged: boolean }> {
  check(how);
  const nodes = Math.max(frames, how.nodes);
  const shortest = await geodesic(density, ends, how, frames);
  const straight = resample(shortest.points, frames);
  const floor = (await lowest(density, straight)) - LOWER;
  const tau = Math.max(how.threshold ?? density.threshold(how.share), floor);
  const turned = turn(ends[0], ends[1], nodes, middle.mean);
  const cleaned =
    how.width && density.hasNoiseLevels
      ? await denoised(density.noised(how.width), turned, how.width, apart(ends, middle))
      : turned;
  const bent = await above(density, paced(cleaned, nodes, how.pace), tau, floor, how);
  const points = paced(bent.points, frames, how.pace);
  const falls = (await lowest(density, points)) < floor;
  return { points: falls ? straight : points, converged: bent.converged };
}

/** The squared distance of two codes relative to that of independent ones, 1 at most. */
function apart([start, end]: readonly [Code, Code], { spread }: Middle): number {
  return Math.min(distance(start, end) ** 2 / (2 * spread), 1);
}

/** From z_A to z_B round a centre m, with |z - m|² going evenly from end to end. */
export function turn(start: Code, end: Code, frames: number, centre: Code): Code[] {
  const [a, b] = [subtract(start, centre), subtract(end, centre)];
  const [from, to] = [dot(a, a), dot(b, b)];
  const points = slerp(a, b, frames).map((z, k) => {
    const radius = Math.sqrt(from + (k / (frames - 1)) * (to - from));
    return add(centre, z, radius / Math.max(norm(z), 1e-12));
  });
  return [start, ...points.slice(1, -1), end];
}

/**
 * Each frame moved by a share of the way to E[code | code + w eps = z] = z + w² grad log q_w(z). What
 * this takes from an end is added again, less and less up to the middle; the ends stay.
 */
async function denoised(
  noised: Density,
  points: Path,
  width: number,
  share: number,
): Promise<Code[]> {
  const moves = (await noised.slopes(points)).score.map((score) => scaled(score, width ** 2));
  const last = points.length - 1;
  return points.map((z, k) => {
    if (k === 0 || k === last) return z;
    const s = k / last;
    const kept = add(
      scaled(moves[0]!, Math.max(1 - 2 * s, 0)),
      moves[last]!,
      Math.max(2 * s - 1, 0),
    );
    return add(z, subtract(moves[k]!, kept), share);
  });
}

/** Frames at equal times; the time from point to point is max(v, c), so no step exceeds `pace` mean ones. */
export function paced(points: Path, frames: number, pace: number): Code[] {
  const v = points.slice(1).map((z, k) => distance(z, points[k]!));
  const total = pace * sum(v);
  let [low, high] = [0, total];
  for (let round = 0; round < ROUNDS; round++) {
    const middle = (low + high) / 2;
    if (sum(v.map((step) => Math.max(step, middle))) > total) high = middle;
    else low = middle;
  }
  const times = [0];
  for (const step of v) times.push(times.at(-1)! + Math.max(step, low));
  const placed = interpolate(points, times, equal(times.at(-1)!, frames));
  return [points[0]!, ...placed.slice(1, -1), points.at(-1)!];
}

/** The path near an anchor that is bent as little as it must to stay above the floor. */
async function above(
  density: Density,
  anchor: Path,
  tau: number,
  floor: number,
  how: Typical,
): Promise<Pick<Relaxed, "points" | "converged">> {
  if (!how.bend) return { points: anchor, converged: true };
  let found: Relaxed | null = null;
  for (const times of [1, ...AGAIN]) {
    if (found && (await lowest(density, found.points)) >= floor) break;
    const energy = bending(density, anchor, tau, times * how.bend);
    found = await minimise(energy, anchor, how.iterations, how.tolerance);
  }
  return found!;
}

/** |x|² (1 + λ ∫ softplus(τ - log q)² ds) + ∫ |z' - x'|² ds of paths near an anchor x, and its gradient. */
function bending(density: Density, anchor: Path, tau: number, strength: number): Energy {
  const steps = anchor.slice(1).map((z, k) => subtract(z, anchor[k]!));
  const times = steps.length;
  const size = times * sum(steps.map((step) => dot(step, step)));
  return async (points) => {
    const inner = points.slice(1, -1);
    const { logProb, score } = await density.slopes(inner);
    const below = inner.map((_, k) => softplus(tau - logProb[k]!));
    const moved = steps.map((step, k) => subtract(subtract(points[k + 1]!, points[k]!), step));
    const outside = sum(below.map((x) => x * x)) / inner.length;
    const value = size * (1 + strength * outside) + times * sum(moved.map((x) => dot(x, x)));
    const slopes = inner.map((_, k) => {
      const steep = (-2 * size * strength * below[k]! * sigmoid(tau - logProb[k]!)) / inner.length;
      return add(scaled(score[k]!, steep), subtract(moved[k]!, moved[k + 1]!), 2 * times);
    });
    const still = scaled(anchor[0]!, 0);
    return { value, slopes: [still, ...slopes, still] };
  };
}

/** log q of the least likely place between the ends, in nats. */
async function lowest(density: Density, points: Path): Promise<number> {
  const places = resample(points, BETWEEN * (points.length - 1) + 1);
  return Math.min(...(await density.logProb(places)));
}

const sum = (values: readonly number[]): number => values.reduce((total, x) => total + x, 0);

function check({ bend, width, pace }: Typical): void {
  const finite = [bend, width, pace].every(Number.isFinite);
  if (!finite || bend < 0 || width < 0 || pace <= 1)
    throw new Refusal(
      `bend, width and pace are ${bend}, ${width} and ${pace}; choose 0 or more, 0 or more, and more than 1`,
      400,
    );
}
