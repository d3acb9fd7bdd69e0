/** Setting A, B and further waypoints; and an example path between real codes. */

import { attempt } from "../api/attempt";
import type { Code } from "../api/backend";
import { floats, rows } from "../api/wire";
import type { App } from "./app";
import { texts } from "./texts";
import { letter } from "./words";

/** Add a waypoint at the end, or put it where `index` says. */
export function putWaypoint(app: App, code: Code, index = app.store.state.waypoints.length): void {
  const { waypoints } = app.store.state;
  if (waypoints.length >= app.about.limits.waypoints && index >= waypoints.length) {
    return app.say(texts.tooMany(app.about.limits.waypoints), "trouble");
  }
  const next =
    index < waypoints.length
      ? waypoints.map((waypoint, k) => (k === index ? code : waypoint))
      : [...waypoints, code];
  const place = Math.min(index, waypoints.length);
  app.store.change({ waypoints: next, chosen: place });
  app.selection.set({ code, title: texts.waypoint(letter(place)), waypoint: place });
}

/** Remove a waypoint. */
export function removeWaypoint(app: App, index: number): void {
  const waypoints = app.store.state.waypoints.filter((_, k) => k !== index);
  app.store.change({ waypoints, chosen: Math.max(0, Math.min(index, waypoints.length - 1)) });
  app.selection.set(null);
  app.say(texts.removed(letter(index)), "news");
}

/**
 * The code of the paths that is farthest from the line A to B: the three span the plane of the
 * detour.
 */
export function turningPoint(app: App): Code | null {
  const [a, b, c] = app.store.state.waypoints;
  if (!a || !b) return null;
  if (c) return c;
  const results = app.paths.rows.value.flatMap((row) =>
    row.verb === "travel" && row.result ? [row.result.points] : [],
  );
  let [best, farthest]: [Code | null, number] = [null, 1e-3];
  for (const code of results.flat()) {
    const far = offLine(a, b, code);
    if (far > farthest) [best, farthest] = [code, far];
  }
  return best;
}

export function offLine(a: Code, b: Code, code: Code): number {
  const line = b.map((v, i) => v - a[i]!);
  const from = code.map((v, i) => v - a[i]!);
  const square = line.reduce((sum, v) => sum + v * v, 0) || 1;
  const share = line.reduce((sum, v, i) => sum + v * from[i]!, 0) / square;
  return Math.hypot(...from.map((v, i) => v - share * line[i]!));
}

const CANDIDATES = 48;

/** A and B of the pair of typical real codes whose midpoint has the lowest density. */
export async function examplePair(app: App): Promise<readonly [Code, Code] | null> {
  const part = app.about.counts.held_out >= 2 ? "held_out" : "train";
  const total = app.about.counts[part];
  const count = Math.min(total, 2 * CANDIDATES);
  const offset = Math.floor(Math.random() * (total - count + 1));
  return attempt(app, async () => {
    const answer = await app.backend.codes(part, offset, count, "means,log_prob,typicality");
    const means = rows(answer, "means");
    const typicality = answer.tensors.has("typicality")
      ? floats(answer, "typicality")
      : new Float32Array(count).fill(1);
    const typical = means.filter((_, k) => typicality[k]! > 0.25);
    const pairs = typical
      .slice(0, Math.floor(typical.length / 2))
      .map((a, k) => [a, typical[typical.length - 1 - k]!] as const);
    if (!pairs.length) return null;
    const middles = await app.pictures.at(
      pairs.map(([a, b]) => a.map((v, i) => Math.fround((v + b[i]!) / 2))),
    );
    const depth = middles.map((middle) => middle.logProb ?? 0);
    return pairs[depth.indexOf(Math.min(...depth))]!;
  });
}
