/** Attributes within bounds: the set C of allowed codes, and the way back into it; see `travel/constraint.py`. */

import type { Code } from "../backend";
import type { Attribute, Bounds, Read } from "./attributes";
import type { Path } from "./vectors";
import { add, distance, dot, norm, subtract } from "./vectors";

const INSET = 1e-3; // how far inside its bound a value is brought back to, in units of the bounds
const LEAST = 1e-6; // damping of a retraction: its steps are this much shorter than Newton's
const PASSES = 3; // rounds in which values join those that a step keeps in their bounds
const STALLED = 1e8; // damping at which it is given up
const STRIDE = 1; // longest step of a retraction in the units of the codes
const STEPS = 100;
const ROUNDS = 20;

type Values = readonly number[];

/** C = {z : lower_i <= a_i(z) <= upper_i}, of one journey. */
export class Constraint implements Bounds {
  /** What a violation is measured in: half the width between the bounds, 1 where one is missing. */
  readonly unit: Values;

  constructor(
    private readonly attributes: readonly Attribute[],
    readonly lower: Values,
    readonly upper: Values,
  ) {
    this.unit = lower.map((low, i) => (Number.isFinite(upper[i]! - low) ? (upper[i]! - low) / 2 : 1));
  }

  /** What a journey from here keeps. */
  static async around(start: Code, attributes: readonly Attribute[], tolerance: number): Promise<Constraint> {
    const bounds = await Promise.all(attributes.map((attribute) => attribute.bounds(start, tolerance)));
    return new Constraint(attributes, bounds.flatMap(({ lower }) => lower), bounds.flatMap(({ upper }) => upper));
  }

  /** C, and another attribute above a value. */
  above(attribute: Attribute, value: number): Constraint {
    return new Constraint([...this.attributes, attribute], [...this.lower, value], [...this.upper, Infinity]);
  }

  async read(codes: Path): Promise<Read> {
    const all = await Promise.all(this.attributes.map((attribute) => attribute.read(codes)));
    return {
      values: codes.map((_, k) => all.flatMap(({ values }) => values[k]!)),
      slopes: codes.map((_, k) => all.flatMap(({ slopes }) => slopes[k]!)),
    };
  }

  /** How far values are above their upper bound (positive) or under their lower one (negative). */
  violation(values: Values): number[] {
    return values.map((value, i) => Math.max(value - this.upper[i]!, 0) - Math.max(this.lower[i]! - value, 0));
  }

  /** Its size in units of the bounds. */
  size(values: Values): number {
    return norm(this.violation(values).map((value, i) => value / this.unit[i]!));
  }

  async contains(codes: Path): Promise<boolean[]> {
    return (await this.read(codes)).values.map((values) => this.size(values) === 0);
  }

  /** Largest |a(z_k) - a(z_0)| over frames by attribute; of several values those that have bounds count. */
  async drifts(points: Path): Promise<Record<string, number>> {
    const drifts: Record<string, number> = {};
    let column = 0;
    for (const attribute of this.attributes) {
      const { values } = await attribute.read(points);
      const bounded = values[0]!.map((_, i) => Number.isFinite(this.lower[column + i]!) || Number.isFinite(this.upper[column + i]!));
      column += bounded.length;
      drifts[`drift ${attribute.name}`] = Math.max(...values.flatMap((one) => one.map((value, i) => (bounded[i] ? Math.abs(value - values[0]![i]!) : 0))));
    }
    return drifts;
  }

  /** The gradients of the values that have a bound. */
  async bounded(code: Code): Promise<Code[]> {
    const { slopes } = await this.read([code]);
    return slopes[0]!.filter((_, i) => Number.isFinite(this.lower[i]!) || Number.isFinite(this.upper[i]!));
  }
}

/** Codes moved into C by damped Gauss-Newton steps as short as possible; codes in C stay. */
export async function retract(constraint: Constraint, codes: Path): Promise<{ points: Code[]; inside: boolean[] }> {
  const points = [...codes];
  const damping = codes.map(() => LEAST);
  const first = await constraint.read(points);
  const [values, slopes] = [[...first.values], [...first.slopes]];
  for (let k = 0; k < STEPS; k++) {
    const rows = [...points.keys()].filter((row) => constraint.size(values[row]!) !== 0 && damping[row]! < STALLED);
    if (!rows.length) break;
    const trials = rows.map((row) => add(points[row]!, shortened(projection(constraint, slopes[row]!, values[row]!, damping[row]!))));
    const there = await constraint.read(trials);
    rows.forEach((row, n) => {
      const better = constraint.size(there.values[n]!) < constraint.size(values[row]!);
      if (better) [points[row], values[row], slopes[row]] = [trials[n]!, there.values[n]!, there.slopes[n]!];
      damping[row] = Math.max(damping[row]! * (better ? 0.1 : 10), LEAST);
    });
  }
  return { points, inside: values.map((one) => constraint.size(one) === 0) };
}

/** The place of C nearest to a code, as far as successive linear models find one, from `otherwise` if need be. */
export async function nearest(constraint: Constraint, code: Code, otherwise: Code): Promise<{ point: Code; inside: boolean }> {
  const found = await retract(constraint, [code]);
  let [point, inside] = [found.points[0]!, found.inside[0]!];
  if (!inside) [point, inside] = [otherwise, (await constraint.contains([otherwise]))[0]!];
  let share = 1;
  for (let k = 0; k < ROUNDS; k++) {
    const { values, slopes } = await constraint.read([point]);
    const way = subtract(code, point);
    const there = values[0]!.map((value, i) => value + dot(slopes[0]![i]!, way));
    const move = add(way, projection(constraint, slopes[0]!, there, LEAST));
    const trial = await retract(constraint, [add(point, move, share)]);
    if (trial.inside[0] && distance(trial.points[0]!, code) < norm(way)) point = trial.points[0]!;
    else share /= 2;
  }
  return { point, inside };
}

function shortened(step: Code): Code {
  if (!step.every(Number.isFinite)) return step.map(() => 0);
  const share = STRIDE / Math.max(norm(step), STRIDE);
  return step.map((x) => share * x);
}

/**
 * -Jᵀ (J Jᵀ + λ diag J Jᵀ)⁻¹ (a - goal) over the values that are outside, with goals a little inside; whichever others
 * it would push outside are then taken in and held at their bound.
 */
function projection(bounds: Constraint, slopes: readonly Code[], values: Values, damping: number): Code {
  const goal = [...values];
  const active = new Set<number>();
  let step: Code = slopes[0]!.map(() => 0);
  for (let pass = 0; pass < PASSES; pass++) {
    const predicted = values.map((value, i) => value + dot(slopes[i]!, step));
    bounds.violation(predicted).forEach((beyond, i) => {
      if (beyond === 0) return;
      const inset = INSET * bounds.unit[i]!;
      goal[i] = Math.min(Math.max(predicted[i]!, bounds.lower[i]! + inset), bounds.upper[i]! - inset);
      active.add(i);
    });
    const rows = [...active].filter((i) => dot(slopes[i]!, slopes[i]!) > 0); // the others cannot be moved
    const gram = rows.map((i) => rows.map((j) => dot(slopes[i]!, slopes[j]!) * (i === j ? 1 + damping : 1)));
    const weights = solved(gram, rows.map((i) => values[i]! - goal[i]!));
    step = rows.reduce<Code>((sum, i, n) => add(sum, slopes[i]!, -weights[n]!), slopes[0]!.map(() => 0));
  }
  return step;
}

/** x with A x = b, by elimination with pivots. */
function solved(a: readonly Values[], b: Values): number[] {
  const rows = a.map((row, i) => [...row, b[i]!]);
  const n = rows.length;
  for (let k = 0; k < n; k++) {
    const pivot = rows.reduce((best, row, i) => (i >= k && Math.abs(row[k]!) > Math.abs(rows[best]![k]!) ? i : best), k);
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = k + 1; i < n; i++) rows[i] = add(rows[i]!, rows[k]!, -rows[i]![k]! / rows[k]![k]!);
  }
  const x = new Array<number>(n).fill(0);
  for (let k = n - 1; k >= 0; k--) x[k] = (rows[k]![n]! - x.reduce((sum, value, j) => (j > k ? sum + rows[k]![j]! * value : sum), 0)) / rows[k]![k]!;
  return x;
}
