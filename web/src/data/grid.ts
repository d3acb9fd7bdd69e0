/** A quantity on a grid over a window: read between its nodes, and made finer. */

import type { Place, Window } from "../api/backend";

/** Values of n rows of n, the bottom row first, whose outer nodes lie on the window's border. */
export interface Grid {
  readonly values: Float32Array;
  readonly side: number;
  readonly window: Window;
}

/** Bilinear; null outside of the window. */
export function read(grid: Grid, [x, y]: Place): number | null {
  const { window, side, values } = grid;
  const column = ((x - window.left) / (window.right - window.left)) * (side - 1);
  const row = ((y - window.bottom) / (window.top - window.bottom)) * (side - 1);
  if (!(column >= 0 && row >= 0 && column <= side - 1 && row <= side - 1)) return null;
  const [i, j] = [Math.min(Math.floor(column), side - 2), Math.min(Math.floor(row), side - 2)];
  const [u, v] = [column - i, row - j];
  const at = j * side + i;
  return (
    (1 - v) * ((1 - u) * values[at]! + u * values[at + 1]!) +
    v * ((1 - u) * values[at + side]! + u * values[at + side + 1]!)
  );
}

/**
 * The same grid with `factor` - 1 nodes between neighbours, by Catmull-Rom splines: they pass
 * through every value, and contours of them have no corners. Done once for each grid, so that the
 * shader need not.
 *
 * Reference: A Class of Local Interpolating Splines, Catmull and Rom 1974.
 */
export function finer(grid: Grid, factor: number): Grid {
  const { side, values, window } = grid;
  const fine = (side - 1) * factor + 1;
  const wide = new Float32Array(side * fine);
  for (let row = 0; row < side; row++)
    stretch(values, row * side, 1, side, wide, row * fine, 1, factor);
  const both = new Float32Array(fine * fine);
  for (let column = 0; column < fine; column++)
    stretch(wide, column, fine, side, both, column, fine, factor);
  return { values: both, side: fine, window };
}

/** Of each cell its corners: below left and right, above left and right. */
export function cornersOf({ values, side }: Grid): Float32Array {
  const corners = new Float32Array(4 * (side - 1) ** 2);
  for (let row = 0, at = 0; row < side - 1; row++) {
    for (let k = row * side; k < (row + 1) * side - 1; k++, at += 4) {
      corners[at] = values[k]!;
      corners[at + 1] = values[k + 1]!;
      corners[at + 2] = values[k + side]!;
      corners[at + 3] = values[k + side + 1]!;
    }
  }
  return corners;
}

function stretch(
  from: Float32Array,
  begin: number,
  stride: number,
  count: number,
  to: Float32Array,
  first: number,
  step: number,
  factor: number,
): void {
  const value = (k: number) => {
    // beyond the border the line goes straight on
    if (k < 0) return 2 * from[begin]! - from[begin + stride]!;
    if (k >= count)
      return 2 * from[begin + (count - 1) * stride]! - from[begin + (count - 2) * stride]!;
    return from[begin + k * stride]!;
  };
  let [a, b, c] = [value(-1), value(0), value(1)];
  for (let k = 0; k < count - 1; k++) {
    const d = value(k + 2);
    for (let m = 0; m < factor; m++) {
      const t = m / factor;
      to[first + (k * factor + m) * step] =
        b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
    }
    [a, b, c] = [b, c, d];
  }
  to[first + (count - 1) * factor * step] = b;
}
