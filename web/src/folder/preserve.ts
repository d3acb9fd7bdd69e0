/** Journeys that keep given attributes of their start while everything else moves; see `travel/preserve.py`. */

import type { Code } from "../backend";
import { orthonormal, projected } from "./along";
import { LogDensity } from "./attributes";
import type { Attribute } from "./attributes";
import { Constraint, nearest, retract } from "./constraint";
import type { Density, Membership, Slopes } from "./density";
import type { Path } from "./vectors";
import { add, distance, norm, rounded, subtract } from "./vectors";

const STRENGTH = 10; // nats for each unit of violation, far outside of C
const WITHIN = 0.1; // how far an attribute may move, in its own unit; a class has its margin

/** log q_C(z) = log q(z) - λ (sqrt(1 + |v(z)|²) - 1), v being the violation of C's bounds in their units. */
class Restricted implements Density {
  readonly blurs: boolean;

  constructor(
    private readonly density: Density,
    protected readonly constraint: Constraint,
  ) {
    this.blurs = density.blurs;
  }

  async logProb(codes: Path): Promise<Float64Array> {
    return (await this.slopes(codes)).logProb as Float64Array;
  }

  async slopes(codes: Path): Promise<Slopes> {
    const { logProb, score } = await this.density.slopes(codes);
    const penalties = await this.penalties(codes);
    return {
      logProb: Float64Array.from(logProb, (value, k) => value - penalties[k]!.value),
      score: score.map((slope, k) => subtract(slope, penalties[k]!.slope)),
    };
  }

  blurred(width: number): Restricted {
    return new Restricted(this.density.blurred(width), this.constraint);
  }

  floor(share: number): number {
    return this.density.floor(share);
  }

  protected async penalties(codes: Path): Promise<{ value: number; slope: Code }[]> {
    const { constraint } = this;
    const { values, slopes } = await constraint.read(codes);
    return codes.map((z, k) => {
      const v = constraint.violation(values[k]!).map((value, i) => value / constraint.unit[i]!);
      const root = Math.sqrt(1 + v.reduce((sum, one) => sum + one * one, 0));
      const slope = v.reduce<Code>((sum, one, i) => (one ? add(sum, slopes[k]![i]!, (STRENGTH * one) / root / constraint.unit[i]!) : sum), z.map(() => 0));
      return { value: STRENGTH * (root - 1), slope };
    });
  }
}

/** The same with a discriminator, whose logit is less by the same penalty. */
export class RestrictedMembership extends Restricted implements Membership {
  readonly sharpness: number;

  constructor(
    private readonly map: Density & Membership,
    constraint: Constraint,
  ) {
    super(map, constraint);
    this.sharpness = map.sharpness;
  }

  async logit(code: Code): Promise<{ value: number; slope: Code }> {
    const { value, slope } = await this.map.logit(code);
    const [penalty] = await this.penalties([code]);
    return { value: value - this.sharpness * penalty!.value, slope: add(slope, penalty!.slope, -this.sharpness) };
  }
}

export interface Kept {
  readonly points: Code[];
  readonly converged: boolean | null;
  readonly metrics: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
}

/**
 * From `start` towards `end` as far as that can be done with attributes of the start: a planner goes to the nearest place
 * of C and the population, on the density restricted to C, and each frame is brought back into both.
 */
export async function preserve(
  map: Density & Membership,
  [start, end]: readonly [Code, Code],
  attributes: readonly Attribute[],
  floor: number,
  frames: number,
  plan: (judged: Density & Membership, from: Code, to: Code) => Promise<{ points: Path; converged: boolean | null }>,
  within = WITHIN,
): Promise<Kept> {
  const constraint = await Constraint.around(start, attributes, within);
  const both = constraint.above(new LogDensity(map), floor);
  const first = (await retract(constraint, [start])).points[0]!;
  const last = await arrival(constraint, both, first, end);
  const moves = distance(first, last.point) > 0;
  const planned = moves ? await plan(new RestrictedMembership(map, constraint), first, last.point) : { points: Array.from({ length: frames }, () => first), converged: null };
  const populated = (await retract(both, planned.points)).points;
  const points = await waiting((await retract(constraint, populated)).points.map(rounded), constraint, start);
  const note = "no end was found that is in the population and keeps the attributes, so the journey only keeps them";
  return { points, converged: planned.converged, metrics: await measured(points, end, constraint), notes: last.inside ? [] : [note] };
}

/** The place nearest to B in C and the population, or else in C alone. */
async function arrival(constraint: Constraint, both: Constraint, first: Code, end: Code): Promise<{ point: Code; inside: boolean }> {
  const found = await nearest(both, end, (await retract(both, [first])).points[0]!);
  return found.inside ? found : { ...(await nearest(constraint, end, first)), inside: false };
}

/** The same frames from the start on; one that is outside C waits where the last one inside was. */
async function waiting(frames: Path, constraint: Constraint, start: Code): Promise<Code[]> {
  const inside = await constraint.contains(frames);
  const points = [start];
  for (let k = 1; k < frames.length; k++) points.push(inside[k] ? frames[k]! : points[k - 1]!);
  return points;
}

/** How far the attributes drifted, which frames broke them, and how much of the way that they leave free was made. */
async function measured(points: Path, end: Code, constraint: Constraint): Promise<Record<string, number>> {
  const later = points.slice(1);
  const broken = (await constraint.contains(later)).filter((inside) => !inside).length / later.length;
  const basis = orthonormal(await constraint.bounded(points[0]!));
  const [gone, wanted] = [points.at(-1)!, end].map((place) => norm(projected(subtract(place, points[0]!), basis))) as [number, number];
  return { ...(await constraint.drifts(points)), broken, progress: gone / Math.max(wanted, 1e-30) };
}
