/** Everything that the page shows, as one plain object, and the same in the address's hash. */

import type { Code, Part, PlaneKind, Window } from "../api/backend";

export type View = "log_prob" | "realness" | "confusion" | "energy";
export type Theme = "dark" | "light";
export type Colouring = "none" | "plain" | "label" | "typicality";

/** A path or samples from one code, kept as what was asked, so that the address reproduces them. */
export interface Extra {
  readonly verb: "traverse" | "random_walk" | "sample";
  readonly title: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface Walk {
  readonly alpha: number;
  readonly gamma: number;
  readonly arrive: boolean;
}

export interface State {
  readonly plane: PlaneKind;
  readonly window: Window | null;
  readonly view: View;
  readonly level: number;
  readonly contours: boolean;
  readonly arrows: boolean;
  readonly relief: boolean;
  readonly points: Colouring;
  readonly pictures: boolean;
  readonly part: Part;
  readonly snap: boolean;
  readonly waypoints: readonly Code[];
  readonly chosen: number;
  readonly closed: boolean;
  readonly planners: readonly string[];
  readonly frames: number;
  readonly pace: string;
  readonly walk: Walk;
  readonly preserve: readonly string[];
  readonly extras: readonly Extra[];
  readonly frame: number;
}

export const DEFAULTS: State = {
  plane: { kind: "principal" },
  window: null,
  view: "log_prob",
  level: 0,
  contours: true,
  arrows: false,
  relief: true,
  points: "plain",
  pictures: true,
  part: "train",
  snap: false,
  waypoints: [],
  chosen: 0,
  closed: false,
  planners: ["linear", "typical", "geodesic"],
  frames: 17,
  pace: "latent",
  walk: { alpha: 0.1, gamma: 0.02, arrive: false },
  preserve: [],
  extras: [],
  frame: 0,
};

const CHOICES: Partial<Record<keyof State, readonly unknown[]>> = {
  view: ["log_prob", "realness", "confusion", "energy"],
  points: ["none", "plain", "label", "typicality"],
  part: ["train", "held_out"],
  pace: ["latent", "perceived"],
};

/**
 * The hash of a state: only what differs from the defaults, each value as JSON with codes packed.
 */
export function toHash(state: State): string {
  const query = new URLSearchParams();
  for (const key of Object.keys(DEFAULTS) as (keyof State)[]) {
    if (JSON.stringify(state[key]) !== JSON.stringify(DEFAULTS[key]))
      query.set(key, JSON.stringify(pack(state[key])));
  }
  return query.toString();
}

/** The state of a hash. What is broken or unknown is as by default: an old address still opens. */
export function fromHash(hash: string, dimension: number): State {
  const state: Record<string, unknown> = { ...DEFAULTS };
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!(key in DEFAULTS)) continue;
    try {
      const value = unpack(JSON.parse(text));
      if (fits(key as keyof State, value, dimension)) state[key] = value;
    } catch {
      // not JSON: as by default
    }
  }
  return state as unknown as State;
}

function fits(key: keyof State, value: unknown, dimension: number): boolean {
  const choices = CHOICES[key];
  if (choices) return choices.includes(value);
  if (key === "waypoints") return isCodes(value, dimension);
  if (key === "window") return isWindow(value);
  if (key === "plane") return isPlane(value, dimension);
  if (key === "walk") return isWalk(value);
  if (key === "extras") return Array.isArray(value) && value.every(isExtra);
  if (key === "planners" || key === "preserve")
    return Array.isArray(value) && value.every((name) => typeof name === "string");
  if (key === "frames") return Number.isInteger(value) && (value as number) >= 2;
  return (
    typeof value === typeof DEFAULTS[key] &&
    (typeof value !== "number" || (Number.isFinite(value) && value >= 0))
  );
}

export function isCodes(value: unknown, dimension: number): value is Code[] {
  return (
    Array.isArray(value) &&
    value.every(
      (code) => Array.isArray(code) && code.length === dimension && code.every(Number.isFinite),
    )
  );
}

function isWindow(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { left, right, bottom, top } = value as Record<string, number>;
  return [left, right, bottom, top].every(Number.isFinite) && left! < right! && bottom! < top!;
}

function isPlane(value: unknown, dimension: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  const plane = value as { kind?: string; codes?: unknown; attributes?: unknown };
  if (plane.kind === "through") return isCodes(plane.codes, dimension) && plane.codes.length === 3;
  if (plane.kind === "attributes")
    return Array.isArray(plane.attributes) && plane.attributes.length === 2;
  return plane.kind === "principal" || plane.kind === "embedding";
}

function isWalk(value: unknown): boolean {
  const walk = value as Walk | null;
  return (
    !!walk &&
    Number.isFinite(walk.alpha) &&
    Number.isFinite(walk.gamma) &&
    typeof walk.arrive === "boolean"
  );
}

function isExtra(value: unknown): boolean {
  const extra = value as Extra | null;
  return (
    !!extra &&
    ["traverse", "random_walk", "sample"].includes(extra.verb) &&
    typeof extra.title === "string" &&
    !!extra.settings
  );
}

/** The code that is selected: a waypoint, a frame of a path, a sample, a real code. */
export interface Selection {
  readonly code: Code;
  readonly title: string;
  readonly waypoint?: number;
}

const PACKED = "~";

/**
 * Lists of three or more numbers as text, a third of their length in JSON: single precision, in
 * base 64.
 */
function pack(value: unknown): unknown {
  if (Array.isArray(value)) {
    if (value.length < 3 || !value.every((item) => typeof item === "number"))
      return value.map(pack);
    const bytes = new Uint8Array(Float32Array.from(value as number[]).buffer);
    return (
      PACKED +
      btoa(String.fromCharCode(...bytes))
        .replace(/\+/g, "-")
        .replace(/\//g, "_")
        .replace(/=+$/, "")
    );
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item)]));
}

function unpack(value: unknown): unknown {
  if (typeof value === "string" && value.startsWith(PACKED)) {
    const text = atob(value.slice(1).replace(/-/g, "+").replace(/_/g, "/"));
    return [...new Float32Array(Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer)];
  }
  if (Array.isArray(value)) return value.map(unpack);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
}
