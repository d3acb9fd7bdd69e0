/** Geodesics: shortest paths in a space where low density is costly to cross. */

import { Refusal } from "../api/backend";
import type { Density } from "./density";
import { minimise } from "./descent";
import type { Energy, Relaxed } from "./descent";
import { dot, resample, subtract } from "./vectors";
import type { Path } from "./vectors";

const WIDTHS = [0.6, 0.3, 0];
const LOOSER = 10; // times the tolerance at the coarser widths, whose path is only where the next one starts

export interface Geodesic {
  readonly strength: number;
  readonly share: number;
  /** τ of the density itself in nats; without it, the quantile of held-out codes at the share. */
  readonly threshold?: number;
  readonly widths: readonly number[] | null;
  readonly nodes: number;
  readonly iterations: number;
  readonly tolerance: number;
}

/**
 * E = (F - 1) Σ_k (c_k² + c_{k+1}²) / 2 |z_{k+1} - z_k|² with c = 1 + λ softplus(τ - log q), and
 * its gradient: ∫ c² |dz/ds|² ds by the trapezoidal rule.
 */
export function action(density: Density, threshold: number, strength: number): Energy {
  return async (points) => {
    const { logProb, score } = await density.slopes(points);
    const costs = points.map((_, k) => 1 + strength * softplus(threshold - logProb[k]!));
    const steps = points.slice(1).map((z, k) => subtract(z, points[k]!));
    const squares = steps.map((step) => dot(step, step));
    const weights = steps.map((_, k) => (costs[k]! ** 2 + costs[k + 1]! ** 2) / 2);
    const times = points.length - 1;
    const value = times * weights.reduce((sum, weight, k) => sum + weight * squares[k]!, 0);
    const slopes = points.map((z, k) => {
      // d(c²)/dz = -2 c λ sigmoid(τ - log q) grad log q
      const steep = -2 * costs[k]! * strength * sigmoid(threshold - logProb[k]!);
      const share = (steep * ((squares[k - 1] ?? 0) + (squares[k] ?? 0))) / 2;
      return z.map(
        (_, i) =>
          times *
          (share * score[k]![i]! +
            2 * (weights[k - 1] ?? 0) * (steps[k - 1]?.[i] ?? 0) -
            2 * (weights[k] ?? 0) * (steps[k]?.[i] ?? 0)),
      );
    });
    return { value, slopes };
  };
}

/**
 * Shorten the straight line in the metric c(z) |dz|, from the noised density to the density itself,
 * as the library does.
 */
export async function geodesic(
  density: Density,
  ends: Path,
  how: Geodesic,
  frames: number,
): Promise<Relaxed> {
  check(how);
  const widths = how.widths ?? (density.hasNoiseLevels ? WIDTHS : [0]);
  let points = ends;
  let iterations = 0;
  for (const [number, width] of widths.entries()) {
    const last = number === widths.length - 1;
    const seen = width ? density.noised(width) : density;
    const energy = action(
      seen,
      width ? seen.threshold(how.share) : (how.threshold ?? seen.threshold(how.share)),
      how.strength,
    );
    // noise can close a passage that the density itself leaves open, so a path that was never
    // noised runs beside
    const starts = last && points !== ends ? [points, ends] : [points];
    const found: Relaxed[] = [];
    for (const start of starts)
      found.push(
        await minimise(
          energy,
          resample(start, Math.max(frames, how.nodes)),
          how.iterations,
          how.tolerance * (last ? 1 : LOOSER),
        ),
      );
    iterations += Math.max(...found.map((one) => one.iterations));
    const best = found.reduce((least, one) => (one.energy < least.energy ? one : least));
    if (last) return { ...best, iterations };
    points = best.points;
  }
  throw new Refusal("there are no widths; choose one or more, from coarse to fine", 400);
}

export const softplus = (x: number) => (x > 30 ? x : Math.log1p(Math.exp(x)));
export const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

function check({ strength, share, widths, nodes, iterations, tolerance }: Geodesic): void {
  if (!(strength >= 0))
    throw new Refusal(
      `strength is ${strength}; choose 0 or more, so that low density is no shortcut`,
      400,
    );
  if (!(share > 0 && share < 1))
    throw new Refusal(`share is ${share}; choose a share of the codes between 0 and 1`, 400);
  if (!(nodes >= 3 && iterations >= 1 && tolerance > 0))
    throw new Refusal(
      "nodes, iterations and tolerance are to be 3 or more, 1 or more, and positive",
      400,
    );
  if (widths && widths.some((width, k) => width < 0 || width > (widths[k - 1] ?? Infinity)))
    throw new Refusal("widths go from coarse to fine", 400);
}
