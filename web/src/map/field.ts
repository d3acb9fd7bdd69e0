/** What the canvas draws of a plane in a view. */

import type { Plane } from "../data/chart";
import type { Grid } from "../data/grid";
import type { View } from "../state/state";
import { THRESHOLD } from "../ui/colour/tables";
import { niceStep } from "../ui/ticks";

/**
 * What is drawn, and how its values lie on the colour table: low at 0, middle at `share`, high at
 * 1.
 */
export interface Field {
  readonly shown: Grid | "minus heights";
  readonly heights: Grid; // of which contours are drawn
  readonly low: number;
  readonly middle: number;
  readonly share: number;
  readonly high: number;
  readonly threshold: number | null;
  readonly spacing: number; // of contours
}

export function fieldOf(plane: Plane, view: View): Field {
  const { grids, threshold, range } = plane;
  const heights = grids.log_prob ?? grids.realness!;
  const spacing = grids.log_prob ? niceStep((range.high - (threshold ?? range.low)) / 7) : 0.1;
  const around = { heights, threshold: grids.log_prob ? threshold : null, spacing };
  if (view === "confusion" || view === "realness" || !grids.log_prob) {
    const shown = grids[view === "confusion" ? "confusion" : "realness"]!;
    return { shown, low: 0, middle: 0.5, share: 0.5, high: 1, ...around };
  }
  if (view === "log_prob")
    return {
      shown: heights,
      low: range.low,
      middle: threshold ?? (range.low + range.high) / 2,
      share: threshold === null ? 0.5 : THRESHOLD,
      high: range.high,
      ...around,
    };
  return {
    shown: "minus heights",
    low: -range.high,
    middle: -(range.low + range.high) / 2,
    share: 0.5,
    high: -range.low,
    ...around,
  };
}
