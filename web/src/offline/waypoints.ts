/**
 * Paths by several waypoints: each leg is planned by itself, and the frames are shared among them
 * by length.
 */

import type { Code } from "../api/backend";
import { arcLengths, interpolate } from "./vectors";
import type { Path } from "./vectors";

/**
 * The legs as one path with all waypoints in it, and the numbers of their frames; as the library
 * has them.
 */
export function joined(
  legs: readonly Path[],
  frames: number,
): { points: Code[]; waypoints: number[] } {
  const waypoints = [legs[0]![0]!, ...legs.map((leg) => leg[leg.length - 1]!)];
  const chain = [legs[0]![0]!, ...legs.flatMap((leg) => leg.slice(1))];
  const travelled = arcLengths(chain);
  let at = 0;
  const reached = [0, ...legs.map((leg) => travelled[(at += leg.length - 1)]!)];
  const numbers = framesOfWaypoints(reached, frames);
  const wanted = Array.from({ length: frames }, (_, k) => {
    const leg = Math.min(
      Math.max(
        numbers.findIndex((number) => number >= k),
        1,
      ),
      legs.length,
    );
    const share = (k - numbers[leg - 1]!) / (numbers[leg]! - numbers[leg - 1]!);
    return reached[leg - 1]! + share * (reached[leg]! - reached[leg - 1]!);
  });
  const points: Code[] = interpolate(chain, travelled, wanted);
  numbers.forEach((number, k) => (points[number] = waypoints[k]!));
  return { points, waypoints: numbers };
}

/**
 * The frame nearest to each waypoint's share of the length, at least one later than the last
 * waypoint's.
 */
function framesOfWaypoints(reached: readonly number[], frames: number): number[] {
  const total = reached[reached.length - 1]!;
  let earliest = 0;
  return reached.map((length, rank) => {
    const late = Math.max(Math.round(((frames - 1) * length) / total) - rank, earliest);
    earliest = late;
    return Math.min(late + rank, rank + frames - reached.length); // room for the waypoints to come
  });
}
