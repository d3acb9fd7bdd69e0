/** The baselines: the straight line and the great circle. Neither looks at the map. */

import type { Code } from "../api/backend";
import { dot, equal, lerp, norm, scaled } from "./vectors";

/** z(s) = (1 - s) z_A + s z_B at equal steps. */
export function linear(start: Code, end: Code, frames: number): number[][] {
  return exact(
    equal(1, frames).map((s) => lerp(start, end, s)),
    start,
    end,
  );
}

/** From z_A to z_B at constant angular speed while the radius changes linearly. */
export function slerp(start: Code, end: Code, frames: number): number[][] {
  const [a, b] = [norm(start), norm(end)];
  const angle = a && b ? Math.acos(Math.min(Math.max(dot(start, end) / (a * b), -1), 1)) : 0;
  const sine = Math.sin(angle);
  if (!(sine > 1e-4)) return linear(start, end, frames); // parallel or opposite: there is no great circle
  const points = equal(1, frames).map((s) => {
    const [from, to] = [Math.sin((1 - s) * angle) / sine / a, Math.sin(s * angle) / sine / b];
    const direction = start.map((x, i) => from * x + to * end[i]!);
    return scaled(direction, a + s * (b - a));
  });
  return exact(points, start, end);
}

function exact(points: number[][], start: Code, end: Code): number[][] {
  points[0] = [...start];
  points[points.length - 1] = [...end];
  return points;
}
