import type { Code } from "../src/api/backend";
import type { Density, Membership, Slopes } from "../src/offline/density";

/**
 * Equal Gaussians in the plane: a density in closed form, evaluated against N(0, I) where a
 * discriminator is asked.
 */
export class Mixture implements Density, Membership {
  readonly hasNoiseLevels = true;

  constructor(
    private readonly means: readonly Code[],
    private readonly scale: number,
    private readonly thresholds: Readonly<Record<number, number>> = {},
    private readonly width = 0,
  ) {}

  noised(width: number): Mixture {
    return new Mixture(this.means, Math.hypot(this.scale, width), this.thresholds, width);
  }

  threshold(): number {
    return this.thresholds[this.width]!;
  }

  async logProb(codes: readonly Code[]): Promise<Float64Array> {
    return Float64Array.from(codes, (z) => this.at(z).value);
  }

  async slopes(codes: readonly Code[]): Promise<Slopes> {
    return { logProb: await this.logProb(codes), score: codes.map((z) => this.at(z).slope) };
  }

  async logit(z: Code): Promise<{ value: number; slope: Code }> {
    const { value, slope } = this.at(z);
    const prior = -(z[0]! ** 2 + z[1]! ** 2) / 2 - Math.log(2 * Math.PI);
    return { value: value - prior, slope: slope.map((x, i) => x + z[i]!) };
  }

  private at(z: Code): { value: number; slope: Code } {
    const parts = this.means.map(
      (m) => -((z[0]! - m[0]!) ** 2 + (z[1]! - m[1]!) ** 2) / (2 * this.scale ** 2),
    );
    const top = Math.max(...parts);
    const weights = parts.map((part) => Math.exp(part - top));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const value =
      top + Math.log(total / this.means.length) - Math.log(2 * Math.PI * this.scale ** 2);
    const slope = z.map(
      (x, i) =>
        this.means.reduce((sum, m, k) => sum + (weights[k]! / total) * (m[i]! - x), 0) /
        this.scale ** 2,
    );
    return { value, slope };
  }
}

export const clusters = new Mixture(
  [
    [-2, 0],
    [2, 0],
  ],
  0.5,
); // toys.two_clusters(2, 4.0)

/** The centres of toys.arc(), whose scale is 0.35, where there are nine. */
export const arcOf = (count: number) =>
  Array.from({ length: count }, (_, k) => [
    2 * Math.cos((Math.PI * k) / (count - 1)),
    2 * Math.sin((Math.PI * k) / (count - 1)),
  ]);
