/**
 * Traversals: paths along a direction that keep other directions and stay above the density
 * threshold.
 */

import { Refusal } from "../api/backend";
import type { Code } from "../api/backend";
import type { Density } from "./density";
import { add, dot, norm, scaled } from "./vectors";

const STEPS = 4; // from frame to frame
const CORRECTIONS = 20; // of each step, by the shortest way back above the threshold
const BARELY = 1e-3; // nats: a correction aims so far above the threshold, so that it ends

/**
 * From a code by so much along the unit vector u, in equal steps of <z, u>. Each is z + P u, with P
 * the projection orthogonal to what is kept, and is corrected along P' grad log q, P' orthogonal to
 * u as well, until log q is at the threshold. Where that fails the path stays where it is: there is
 * no more of u above the threshold.
 */
export async function traverse(
  density: Density,
  start: Code,
  u: Code,
  by: number,
  kept: readonly Code[],
  threshold: number,
  frames: number,
): Promise<{ points: Code[]; reached: number }> {
  const basis = orthonormal(kept);
  const free = projected(u, basis);
  const squared = dot(free, free);
  if (squared < 1e-6) throw new Refusal("what is kept leaves nothing to change; keep less", 400);
  const fixed = orthonormal([...kept, u]);
  const lowest = Math.min(threshold, (await density.logProb([start]))[0]!);
  const total = STEPS * (frames - 1);
  let z = start;
  let stuck = false;
  const points = [start];
  for (let j = 1; j <= total; j++) {
    const found: Code | null = stuck
      ? null
      : await corrected(density, add(z, free, by / total / squared), fixed, lowest);
    if (found) z = found;
    else stuck = true;
    if (j % STEPS === 0) points.push(z);
  }
  return { points, reached: (dot(z, u) - dot(start, u)) / by };
}

/**
 * The code moved up to the threshold without changing its coordinates along the fixed directions;
 * null where that fails.
 */
async function corrected(
  density: Density,
  code: Code,
  fixed: readonly Code[],
  threshold: number,
): Promise<Code | null> {
  let z = code;
  for (let k = 0; k <= CORRECTIONS; k++) {
    const { logProb, score } = await density.slopes([z]);
    const missing = threshold - logProb[0]!;
    if (missing <= 0) return z;
    const slope = projected(score[0]!, fixed);
    z = add(z, slope, (missing + BARELY) / Math.max(dot(slope, slope), 1e-12)); // Newton's step
  }
  return null;
}

export const projected = (v: Code, basis: readonly Code[]): Code =>
  basis.reduce<Code>((rest, b) => add(rest, b, -dot(rest, b)), v);

/** A basis of what some directions span, by Gram and Schmidt. */
export function orthonormal(directions: readonly Code[]): Code[] {
  const basis: Code[] = [];
  for (const direction of directions) {
    const rest = projected(direction, basis);
    if (norm(rest) > 1e-6 * norm(direction)) basis.push(scaled(rest, 1 / norm(rest)));
  }
  return basis;
}
