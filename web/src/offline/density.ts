/** What journeys ask of a place, so that they can be tested on densities known exactly, with no network in sight. */

import type { Code } from "../api/backend";

export interface Slopes {
  readonly logProb: Float32Array | Float64Array;
  /** grad log q, a row for each code. */
  readonly score: readonly Code[];
}

export interface Density {
  /** Whether `blurred` has coarser versions of it. */
  readonly blurs: boolean;
  logProb(codes: readonly Code[]): Promise<Float32Array | Float64Array>;
  slopes(codes: readonly Code[]): Promise<Slopes>;
  /** The density of z + width · eps. */
  blurred(width: number): Density;
  /** The log-density below which a share of the population lies. */
  floor(share: number): number;
}

/** A density known through a discriminator D(z) = sigmoid(l(z)). */
export interface Membership {
  /** The calibrated logit of one code, and its gradient. */
  logit(code: Code): Promise<{ readonly value: number; readonly slope: Code }>;
}
