/** The map of the folder, at a level, as the networks tell it: log q(z) = l(z) + log r(z). */

import { Refusal } from "../api/backend";
import type { Code } from "../api/backend";
import type { Density, Membership, Slopes } from "./density";
import type { Facts, Level } from "./facts";
import type { Inputs, Networks, Outputs } from "./networks";
import { flat, quantile, shareBelow, unflat } from "./vectors";

const PIECE = 512; // codes at a time: the graphs take no more, and their activations stay in the cache
const SAME = 1e-6; // radians

export class LatentMap implements Density, Membership {
  readonly hasNoiseLevels: boolean;
  private readonly sharpness: number; // by which the calibration multiplies a logit
  private readonly level: Level;

  constructor(
    private readonly networks: Networks,
    private readonly facts: Facts,
    private readonly signal: AbortSignal,
    private readonly angle = 0,
  ) {
    const level = facts.folder.levels.find((one) => Math.abs(one.angle - angle) < SAME);
    if (!level)
      throw new Refusal(
        `this folder knows nothing of the noise level at ${angle.toFixed(3)} radians; open the run with latent-atlas serve`,
        400,
      );
    this.level = level;
    this.sharpness = angle > 0 ? 1 : facts.folder.calibration.scale;
    this.hasNoiseLevels = facts.folder.levels.length > 1;
  }

  at(angle: number): LatentMap {
    return new LatentMap(this.networks, this.facts, this.signal, angle);
  }

  noised(width: number): LatentMap {
    return this.at(Math.atan(width));
  }

  threshold(share: number): number {
    return quantile(
      this.level.quantiles.map((value) => value ?? -Infinity),
      share,
    );
  }

  /** The share of held-out codes that are less likely than codes of such a log-density. */
  rank(logProb: number): number {
    return shareBelow(
      this.level.quantiles.map((value) => value ?? -Infinity),
      logProb,
    );
  }

  /** The log-density below which a code is off-manifold at this level. */
  get offManifoldThreshold(): number | null {
    return this.facts.has_log_prob ? this.threshold(this.facts.folder.off_manifold_share) : null;
  }

  /** Logits, and log-densities where there are any, of many codes (n, d). */
  async read(codes: Float32Array): Promise<{ logit: Float32Array; logProb: Float32Array | null }> {
    const n = codes.length / this.facts.dimension;
    const logit = new Float32Array(n);
    const logProb = this.facts.has_log_prob ? new Float32Array(n) : null;
    for (let from = 0; from < n; from += PIECE) {
      const found = await this.run(
        "map",
        codes.subarray(from * this.facts.dimension, (from + PIECE) * this.facts.dimension),
      );
      logit.set(found.get("logit")!, from);
      logProb?.set(found.get("log_prob")!, from);
    }
    return { logit, logProb };
  }

  /** The logit that realness and confusion come from. */
  calibrated(logit: number): number {
    const { scale, shift } = this.facts.folder.calibration;
    return this.angle > 0 ? logit : scale * logit + shift;
  }

  async logProb(codes: readonly Code[]): Promise<Float32Array> {
    return (await this.read(flat(codes, this.facts.dimension))).logProb!;
  }

  async slopes(codes: readonly Code[]): Promise<Slopes> {
    const logProb = new Float32Array(codes.length);
    const score: Code[] = [];
    for (let from = 0; from < codes.length; from += PIECE) {
      const found = await this.run(
        "slopes",
        flat(codes.slice(from, from + PIECE), this.facts.dimension),
      );
      logProb.set(found.get("log_prob")!, from);
      score.push(...unflat(found.get("score")!, this.facts.dimension));
    }
    return { logProb, score };
  }

  async logit(code: Code): Promise<{ value: number; slope: Code }> {
    const found = await this.run("slopes", flat([code], this.facts.dimension));
    return {
      value: this.calibrated(found.get("logit")![0]!),
      slope: Array.from(found.get("logit_slope")!, (x) => this.sharpness * x),
    };
  }

  private run(name: string, codes: Float32Array): Promise<Outputs> {
    const inputs: Inputs = {
      latents: { data: codes, shape: [codes.length / this.facts.dimension, this.facts.dimension] },
      angle: { data: Float32Array.of(this.angle), shape: [1] },
    };
    return this.networks.run(name, inputs, this.signal);
  }
}
