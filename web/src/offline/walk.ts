/** The two walking rules, literally, and an arrival schedule beside them. */

import { Refusal } from "../api/backend";
import type { Code } from "../api/backend";
import type { Membership } from "./density";
import { add, distance, norm, subtract } from "./vectors";

export interface Walk {
  readonly rule: number;
  readonly alpha: number;
  readonly beta: number;
  readonly gamma: number;
  readonly arrive: boolean;
  readonly steps: number;
  readonly tolerance: number;
}

/**
 * Every step of a walk from z_A towards z_B, and whether it converged or, where it is to arrive,
 * arrived.
 */
export async function walk(
  membership: Membership,
  start: Code,
  end: Code,
  how: Walk,
): Promise<{ points: Code[]; converged: boolean }> {
  check(how);
  const points = [start];
  let move = 0;
  for (let k = 1; k <= how.steps; k++) {
    const last = points[points.length - 1]!;
    const next = await stepped(membership, last, end, how, k);
    points.push(next);
    move = distance(next, last);
    if (!Number.isFinite(move))
      throw new Refusal(
        `the walk ran away at step ${k}; choose a smaller alpha than ${how.alpha}`,
        400,
      );
    if (!how.arrive && move <= how.tolerance) break;
  }
  const left = distance(end, points[points.length - 1]!);
  return { points, converged: how.arrive ? left <= 1e-4 * (1 + norm(end)) : move <= how.tolerance };
}

/**
 * Rule 1: z' = z + alpha (grad D(z) + beta grad |z_B - z|²), with grad |z_B - z|² = -2 (z_B - z).
 * Rule 2: z' = z + alpha grad log D(z) + gamma (z_B - z). To arrive, the map's push is multiplied
 * by 1 - k / K at step k of K, and the pull is at least 1 / (K - k + 1).
 */
async function stepped(
  membership: Membership,
  z: Code,
  end: Code,
  how: Walk,
  k: number,
): Promise<Code> {
  const { value, slope } = await membership.logit(z);
  const real = 1 / (1 + Math.exp(-value));
  const unreal = 1 / (1 + Math.exp(value));
  const push = how.rule === 1 ? real * unreal : unreal; // grad D = D (1 - D) grad l, grad log D = (1 - D) grad l
  const pull = how.rule === 1 ? -2 * how.alpha * how.beta : how.gamma;
  const alpha = how.alpha * (how.arrive ? 1 - k / how.steps : 1);
  const share = how.arrive ? Math.max(1 / (how.steps - k + 1), pull) : pull;
  return add(add(z, slope, alpha * push), subtract(end, z), share);
}

function check({ rule, alpha, beta, gamma, steps }: Walk): void {
  if (rule !== 1 && rule !== 2)
    throw new Refusal(`walk rule ${rule} does not exist; choose 1 or 2`, 400);
  if (!(alpha > 0))
    throw new Refusal(`alpha is ${alpha}; choose a positive step along the map's gradient`, 400);
  if (!(gamma >= 0 && gamma <= 1))
    throw new Refusal(`gamma is ${gamma}; choose a share of the way from 0 to 1`, 400);
  if (rule === 1 && -2 * alpha * beta > 1)
    throw new Refusal(
      `alpha ${alpha} and beta ${beta} pull further than the end; choose them so that -2 alpha beta is at most 1`,
      400,
    );
  if (!(steps >= 1))
    throw new Refusal(`a walk of ${steps} steps goes nowhere; choose 1 or more`, 400);
}
