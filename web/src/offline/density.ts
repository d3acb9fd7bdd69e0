/**
 * What planners ask of a density, so that they can be tested on densities in closed form, without
 * networks.
 */

import type { Code } from "../api/backend";

export interface Slopes {
  readonly logProb: Float32Array | Float64Array;
  /** grad log q, a row for each code. */
  readonly score: readonly Code[];
}

export interface Density {
  /** Whether `noised` has coarser versions of it. */
  readonly hasNoiseLevels: boolean;
  logProb(codes: readonly Code[]): Promise<Float32Array | Float64Array>;
  slopes(codes: readonly Code[]): Promise<Slopes>;
  /** The density of z + width · eps. */
  noised(width: number): Density;
  /** The log-density below which a share of held-out codes lies. */
  threshold(share: number): number;
}

/** A density known through a discriminator D(z) = sigmoid(l(z)). */
export interface Membership {
  /** The calibrated logit of one code, and its gradient. */
  logit(code: Code): Promise<{ readonly value: number; readonly slope: Code }>;
}
