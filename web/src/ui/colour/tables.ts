/**
 * The maps' colours: tables of 256, computed so that lightness alone tells the order, with or
 * without colour vision.
 */

import type { Theme, View } from "../../state/state";
import { oklch } from "./oklab";
import type { Rgb } from "./oklab";

/** A colour at a share of the table: lightness, chroma, hue in degrees. */
type Knot = readonly [at: number, l: number, c: number, hue: number];

/** Where the density threshold lies on the table of log-density. */
export const THRESHOLD = 0.3;

const TABLES: Record<Theme, Record<View, readonly Knot[]>> = {
  dark: {
    log_prob: [
      [0, 0.17, 0.022, 265],
      [THRESHOLD, 0.31, 0.05, 258],
      [0.5, 0.45, 0.085, 225],
      [0.7, 0.62, 0.1, 185],
      [0.86, 0.79, 0.12, 140],
      [1, 0.93, 0.13, 102],
    ],
    energy: [
      [0, 0.19, 0.03, 300],
      [0.35, 0.4, 0.13, 320],
      [0.7, 0.62, 0.17, 20],
      [1, 0.92, 0.1, 80],
    ],
    confusion: [
      [0, 0.16, 0.02, 285],
      [0.4, 0.37, 0.11, 305],
      [0.75, 0.62, 0.17, 15],
      [1, 0.93, 0.09, 85],
    ],
    realness: [
      [0, 0.19, 0.045, 50],
      [0.25, 0.36, 0.08, 58],
      [0.5, 0.56, 0.02, 90],
      [0.75, 0.73, 0.09, 235],
      [1, 0.92, 0.05, 230],
    ],
  },
  light: {
    log_prob: [
      [0, 0.975, 0.008, 240],
      [THRESHOLD, 0.91, 0.026, 225],
      [0.5, 0.79, 0.075, 200],
      [0.7, 0.62, 0.1, 210],
      [0.86, 0.46, 0.105, 245],
      [1, 0.29, 0.1, 272],
    ],
    energy: [
      [0, 0.97, 0.012, 80],
      [0.35, 0.8, 0.09, 45],
      [0.7, 0.55, 0.16, 10],
      [1, 0.28, 0.1, 320],
    ],
    confusion: [
      [0, 0.975, 0.008, 80],
      [0.4, 0.83, 0.085, 65],
      [0.75, 0.57, 0.17, 20],
      [1, 0.3, 0.11, 310],
    ],
    realness: [
      [0, 0.97, 0.025, 75],
      [0.25, 0.83, 0.065, 68],
      [0.5, 0.7, 0.015, 100],
      [0.75, 0.53, 0.095, 240],
      [1, 0.32, 0.09, 255],
    ],
  },
};

/** RGB bytes, 256 x 3. */
export function table(view: View, theme: Theme): Uint8Array {
  const knots = TABLES[theme][view];
  const bytes = new Uint8Array(256 * 3);
  for (let k = 0; k < 256; k++)
    bytes.set(
      mix(knots, k / 255).map((v) => Math.round(255 * v)),
      3 * k,
    );
  return bytes;
}

function mix(knots: readonly Knot[], at: number): Rgb {
  const right = Math.max(
    1,
    knots.findIndex((knot) => knot[0] >= at),
  );
  const [a, b] = [knots[right - 1]!, knots[right]!];
  const share = (at - a[0]) / (b[0] - a[0]);
  const between = (i: 1 | 2) => a[i] + share * (b[i] - a[i]);
  const turn = ((b[3] - a[3] + 540) % 360) - 180; // the shorter way round
  return oklch(between(1), between(2), a[3] + share * turn);
}

/**
 * Colours of classes: hues in golden steps at three lightnesses, so that neighbours differ in both.
 */
export function categories(count: number, theme: Theme): Rgb[] {
  const levels = theme === "dark" ? [0.8, 0.68, 0.9] : [0.45, 0.6, 0.33];
  return Array.from({ length: count }, (_, k) =>
    oklch(levels[k % 3]!, 0.19, (25 + 137.508 * k) % 360),
  );
}

/**
 * How a path is drawn: colour-blind-safe colours after Okabe and Ito 2008, and dashes that tell
 * them apart without.
 */
export interface Stroke {
  readonly colour: string;
  readonly dash: string;
}

const STROKES: Record<string, Stroke> = {
  linear: { colour: "#56b4e9", dash: "7 5" },
  slerp: { colour: "#cc79a7", dash: "7 5" },
  walk: { colour: "#e69f00", dash: "11 4 2 4" },
  geodesic: { colour: "#1fbf8f", dash: "" },
  typical: { colour: "#e34a6f", dash: "" },
  flow: { colour: "#4f7cff", dash: "11 4 2 4" },
  string: { colour: "#9a8cff", dash: "2 4" },
  graph: { colour: "#d9c94a", dash: "14 4" },
  pullback: { colour: "#e07b54", dash: "2 4" },
  auto: { colour: "#8fd16a", dash: "" },
  traverse: { colour: "#f08bd0", dash: "" },
  random_walk: { colour: "#c5b4ff", dash: "3 3" },
  sample: { colour: "#f0e442", dash: "" },
};

export const stroke = (name: string): Stroke => STROKES[name] ?? { colour: "#b0b0b0", dash: "4 4" };

export const css = ([r, g, b]: Rgb) =>
  `rgb(${[r, g, b].map((v) => Math.round(255 * v)).join(" ")})`;
