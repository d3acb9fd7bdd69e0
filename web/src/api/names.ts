/** Names on the wire beside those of this page: no other file knows the names on the wire. */

import type { Verb } from "./backend";
import type { Arrays } from "./wire";

export const ROUTES: Readonly<Record<Verb, string>> = {
  travel: "travel",
  traverse: "along",
  random_walk: "explore",
  project: "repair",
  sample: "sample",
};

/** Of settings that are sent. */
const SENT: Readonly<Record<string, string>> = { waypoints: "stops", condition: "where" };

/** Of facts and arrays that are received. */
const RECEIVED: Readonly<Record<string, string>> = {
  along: "traverse",
  explore: "random_walk",
  repair: "project",
  edge: "threshold",
  outside: "off_manifold",
  stops: "waypoints",
  notes: "warnings",
  score: "anomaly",
  oddness: "anomaly_score",
  odd: "is_outlier",
};

export const toWire = (settings: object): object =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [SENT[name] ?? name, value]));

/** Facts with the page's names, at every depth. */
export function fromWire(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromWire);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [RECEIVED[name] ?? name, fromWire(one)]),
  );
}

/** Arrays with the page's names; those of a path are `planner/name`. */
export function renamed({ tensors, about }: Arrays): Arrays {
  const named = [...tensors].map(
    ([name, tensor]) =>
      [
        name
          .split("/")
          .map((part) => RECEIVED[part] ?? part)
          .join("/"),
        tensor,
      ] as const,
  );
  return { tensors: new Map(named), about: fromWire(about) as Arrays["about"] };
}
