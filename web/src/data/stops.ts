/** Setting A, then B, then waypoints; and a journey worth seeing, found among real codes. */

import { attempt } from "../api/attempt";
import type { Code } from "../api/backend";
import { floats, rows } from "../api/wire";
import type { App } from "./app";
import { letter } from "./words";

/** Add a stop at the end, or put it where `index` says. */
export function putStop(app: App, code: Code, index = app.store.state.stops.length): void {
  const { stops } = app.store.state;
  if (stops.length >= app.about.limits.stops && index >= stops.length) {
    return app.say(`A journey has at most ${app.about.limits.stops} stops; remove one first.`, "trouble");
  }
  const next = index < stops.length ? stops.map((stop, k) => (k === index ? code : stop)) : [...stops, code];
  const place = Math.min(index, stops.length);
  app.store.change({ stops: next, chosen: place });
  app.selection.set({ code, title: `Stop ${letter(place)}`, stop: place });
}

/** Take a stop out. */
export function removeStop(app: App, index: number): void {
  const stops = app.store.state.stops.filter((_, k) => k !== index);
  app.store.change({ stops, chosen: Math.max(0, Math.min(index, stops.length - 1)) });
  app.selection.set(null);
  app.say(`Stop ${letter(index)} removed.`, "news");
}

/** The place of the routes that is farthest from the line A to B: with both it spans the plane of the detour. */
export function turningPoint(app: App): Code | null {
  const [a, b, c] = app.store.state.stops;
  if (!a || !b) return null;
  if (c) return c;
  const films = app.journeys.rows.value.flatMap((row) => (row.verb === "travel" && row.film ? [row.film.points] : []));
  let [best, farthest]: [Code | null, number] = [null, 1e-3];
  for (const code of films.flat()) {
    const far = offLine(a, b, code);
    if (far > farthest) [best, farthest] = [code, far];
  }
  return best;
}

export function offLine(a: Code, b: Code, code: Code): number {
  const along = b.map((v, i) => v - a[i]!);
  const from = code.map((v, i) => v - a[i]!);
  const square = along.reduce((sum, v) => sum + v * v, 0) || 1;
  const share = along.reduce((sum, v, i) => sum + v * from[i]!, 0) / square;
  return Math.hypot(...from.map((v, i) => v - share * along[i]!));
}

const CANDIDATES = 48;

/** A and B of the pair of typical real codes whose straight line sinks deepest. */
export async function tellingPair(app: App): Promise<readonly [Code, Code] | null> {
  const part = app.about.counts.held_out >= 2 ? "held_out" : "train";
  const total = app.about.counts[part];
  const count = Math.min(total, 2 * CANDIDATES);
  const offset = Math.floor(Math.random() * (total - count + 1));
  return attempt(app, async () => {
    const answer = await app.backend.codes(part, offset, count, "means,log_prob,typicality");
    const means = rows(answer, "means");
    const typicality = answer.tensors.has("typicality") ? floats(answer, "typicality") : new Float32Array(count).fill(1);
    const typical = means.filter((_, k) => typicality[k]! > 0.25);
    const pairs = typical.slice(0, Math.floor(typical.length / 2)).map((a, k) => [a, typical[typical.length - 1 - k]!] as const);
    if (!pairs.length) return null;
    const middles = await app.pictures.at(pairs.map(([a, b]) => a.map((v, i) => Math.fround((v + b[i]!) / 2))));
    const depth = middles.map((middle) => middle.logProb ?? 0);
    return pairs[depth.indexOf(Math.min(...depth))]!;
  });
}
