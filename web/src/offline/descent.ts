/**
 * Lowering the energy of a whole path: L-BFGS with backtracking, in coordinates where the metric of
 * |dz|² is Euclidean.
 */

import type { Code } from "../api/backend";
import { add, dot, lerp, norm, scaled, subtract } from "./vectors";
import type { Path } from "./vectors";

const MEMORY = 8; // moves that are remembered
const SUFFICIENT = 1e-4; // share of the decrease promised by the slope that an accepted step keeps (Armijo)
const ROUNDING = 1.2e-7; // of energies that come from single precision

/** The energy of a path, and its gradient at each point. */
export type Energy = (
  points: Path,
) => Promise<{ readonly value: number; readonly slopes: readonly Code[] }>;

export interface Relaxed {
  readonly points: Path;
  readonly energy: number;
  readonly converged: boolean;
  readonly residual: number;
  readonly iterations: number;
}

interface Move {
  readonly move: Code;
  readonly turn: Code;
  readonly weight: number; // 1 / move · turn, or 0 where the energy does not bend upwards
}

/** Move the inner points of a path until its energy falls no further; see `travel/descent.py`. */
export async function minimise(
  energy: Energy,
  points: Path,
  iterations: number,
  tolerance: number,
): Promise<Relaxed> {
  const bridge = new Bridge(points);
  let u: Code = bridge.coordinates(points);
  let { value, slope } = await bridge.evaluate(energy, u);
  let scale = bridge.square(u) / (2 * value); // exact where E is a multiple of |γ|²
  let direction: Code = scaled(slope, -scale);
  let step = 1;
  let memory: Move[] = [];
  const residual = () => (norm(slope) * Math.sqrt(bridge.square(u))) / (2 * value);
  let done = 0;
  for (; done < iterations; done++) {
    const promised = step * dot(slope, direction);
    if (!(residual() > tolerance) || !(-promised > ROUNDING * value)) break;
    const trial = add(u, direction, step);
    const there = await bridge.evaluate(energy, trial);
    if (there.value <= value + SUFFICIENT * promised) {
      const [move, turn] = [subtract(trial, u), subtract(there.slope, slope)];
      const product = dot(move, turn);
      const bends = product > 1e-10 * norm(turn) * norm(move);
      memory = [{ move, turn, weight: bends ? 1 / product : 0 }, ...memory].slice(0, MEMORY);
      if (bends) scale = product / dot(turn, turn);
      [u, value, slope, step] = [trial, there.value, there.slope, 1];
      direction = twoLoops(slope, memory, scale);
    } else {
      // the parabola through E, its slope and E at the trial step is lowest at this share of the
      // step
      const lowest = -promised / (2 * (there.value - value - promised));
      step *= Number.isFinite(there.value) ? Math.min(Math.max(lowest, 0.1), 0.5) : 0.1;
    }
  }
  return {
    points: bridge.points(u),
    energy: value,
    converged: residual() <= tolerance,
    residual: residual(),
    iterations: done,
  };
}

/** -H grad E, with H the L-BFGS inverse Hessian (Nocedal and Wright, algorithm 7.4). */
function twoLoops(slope: Code, memory: readonly Move[], scale: number): Code {
  let q: Code = slope;
  const shares = memory.map(({ move, turn, weight }) => {
    const share = weight * dot(move, q);
    q = add(q, turn, -share);
    return share;
  });
  q = scaled(q, scale);
  for (let i = memory.length - 1; i >= 0; i--) {
    const { move, turn, weight } = memory[i]!;
    q = add(q, move, shares[i]! - weight * dot(turn, q));
  }
  return scaled(q, -1);
}

/**
 * Coordinates u of a path with fixed ends: z_k = (1 - s_k) z_A + s_k z_B + Σ_j φ_j(s_k) u_j with
 * s_k = k / (F - 1), φ_j(s) = √2 sin(π j s) / ω_j and ω_j = 2 (F - 1) sin(π j / 2 (F - 1)), so that
 * |γ|² = (F - 1) Σ |z_{k+1} - z_k|² = |z_B - z_A|² + |u|².
 */
class Bridge {
  private readonly start: Code;
  private readonly end: Code;
  private readonly steps: number;
  private readonly omega: readonly number[];
  private readonly waves: readonly (readonly number[])[]; // φ_j(s_k), by k and j from 1 on

  constructor(points: Path) {
    this.start = points[0]!;
    this.end = points[points.length - 1]!;
    this.steps = points.length - 1;
    const inner = Array.from({ length: this.steps - 1 }, (_, k) => k + 1);
    this.omega = inner.map((j) => 2 * this.steps * Math.sin((Math.PI * j) / (2 * this.steps)));
    this.waves = inner.map((k) =>
      inner.map(
        (j, at) => (Math.SQRT2 * Math.sin((Math.PI * j * k) / this.steps)) / this.omega[at]!,
      ),
    );
  }

  points(u: Code): Code[] {
    const d = this.start.length;
    const inner = this.waves.map((waves, k) => {
      const z = lerp(this.start, this.end, (k + 1) / this.steps);
      waves.forEach((wave, j) => {
        for (let i = 0; i < d; i++) z[i]! += wave * u[j * d + i]!;
      });
      return z;
    });
    return [this.start, ...inner, this.end];
  }

  /** u of a path; inverse of `points`. */
  coordinates(points: Path): Code {
    const bent = points
      .slice(1, -1)
      .map((z, k) => subtract(z, lerp(this.start, this.end, (k + 1) / this.steps)));
    return this.omega.flatMap((omega, j) =>
      this.along(bent, j).map((x) => (x * omega ** 2) / this.steps),
    );
  }

  square(u: Code): number {
    const straight = subtract(this.end, this.start);
    return dot(straight, straight) + dot(u, u);
  }

  /** E and its gradient in u. */
  async evaluate(energy: Energy, u: Code): Promise<{ value: number; slope: Code }> {
    const { value, slopes } = await energy(this.points(u));
    const inner = slopes.slice(1, -1);
    return { value, slope: this.omega.flatMap((_, j) => this.along(inner, j)) };
  }

  /** Σ_k φ_j(s_k) v_k. */
  private along(rows: readonly Code[], j: number): number[] {
    const sum = new Array<number>(this.start.length).fill(0);
    rows.forEach((row, k) => row.forEach((x, i) => (sum[i]! += this.waves[k]![j]! * x)));
    return sum;
  }
}
