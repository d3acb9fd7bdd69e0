/** Projection to high density: gradient ascent of log q from a code that is off-manifold. */

import type { Code } from "../api/backend";
import type { Density } from "./density";
import { add, distance, dot, lerp, norm } from "./vectors";

const WIDTHS = [2, 1, 0.5, 0.25, 0.125];
const SUFFICIENT = 0.5; // share of the rise promised by the slope that a step keeps: on a parabola no step then passes the maximum
const HALVINGS = 20; // of the last step, to end where log q is the target
const STEPS = 200; // the most trial steps at each width
const SHORTEST = 1e-4; // length of a step below which a code is at a maximum

export interface Projected {
  readonly point: Code;
  readonly moved: number;
  readonly converged: boolean;
}

/**
 * Climb log q along the score until it is the target, from the noise level at which the code is
 * most likely to the density itself, by gradient ascent with backtracking.
 */
export async function project(density: Density, code: Code, target: number): Promise<Projected> {
  const before = await height(density, code);
  if (before >= target) return { point: code, moved: 0, converged: true };
  const widths = density.hasNoiseLevels ? WIDTHS : [];
  const levels = [...widths.map((width) => density.noised(width)), density];
  const seen = await Promise.all(levels.map((level) => height(level, code)));
  let [z, below, arrived] = [code, code, false];
  for (let number = seen.indexOf(Math.max(...seen)); number < levels.length && !arrived; number++) {
    const level = levels[number]!;
    let step = widths.length ? widths[Math.min(number, widths.length - 1)]! ** 2 : 1;
    let { logProb, score } = await level.slopes([z]);
    for (let k = 0; k < STEPS && step * norm(score[0]!) > SHORTEST; k++) {
      const finer = levels[number + 1];
      if (finer && (await height(finer, z)) >= logProb[0]!) break;
      const trial = add(z, score[0]!, step);
      const there = await level.slopes([trial]);
      if (there.logProb[0]! >= logProb[0]! + SUFFICIENT * step * dot(score[0]!, score[0]!)) {
        [below, z, step] = [z, trial, 2 * step];
        ({ logProb, score } = there);
        arrived = (await height(density, z)) >= target;
        if (arrived) break;
      } else step /= 2;
    }
  }
  for (let k = 0; arrived && k < HALVINGS; k++) {
    const middle = lerp(below, z, 0.5);
    if ((await height(density, middle)) >= target) z = middle;
    else below = middle;
  }
  const point = (await height(density, z)) > before ? z : code;
  return { point, moved: distance(point, code), converged: arrived };
}

const height = async (density: Density, code: Code) => (await density.logProb([code]))[0]!;
