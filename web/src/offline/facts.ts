/** What `atlas.json` says: what the server would, and what the page needs to compute by itself. */

import type { About } from "../api/backend";

export interface Level {
  readonly angle: number;
  /** Of held-out codes' log-density at equal shares; null where it is not finite. */
  readonly quantiles: readonly (number | null)[];
}

export interface Facts extends About {
  readonly folder: {
    readonly networks: readonly string[];
    readonly calibration: { readonly scale: number; readonly shift: number };
    /** Why photos are not scored here; null where they are. */
    readonly unscored: string | null;
    readonly components: readonly (readonly number[])[];
    readonly mean: readonly number[];
    /** Of codes in the units of the noise: their mean, and the sum of their variances. */
    readonly middle: { readonly mean: readonly number[]; readonly spread: number };
    readonly levels: readonly Level[];
    readonly off_manifold_share: number;
  };
}
