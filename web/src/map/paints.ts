/**
 * What colours real codes: their class or their typicality, fainter the further they are from the
 * plane.
 */

import type { Codes, Facts } from "../data/cloud";
import type { Colouring, Theme } from "../state/state";
import { categories, table } from "../ui/colour/tables";

/** RGBA bytes of every code: near the plane they are opaque, far from it faint. */
export function paints(
  codes: Codes,
  facts: Facts | undefined,
  colouring: Colouring,
  classCount: number,
  theme: Theme,
): Uint8Array {
  const count = codes.distance.length;
  const paints = new Uint8Array(4 * count);
  const classes = categories(Math.max(1, classCount), theme).map((rgb) =>
    rgb.map((v) => Math.round(255 * v)),
  );
  const scale = table("confusion", theme);
  const plain = theme === "dark" ? [255, 255, 255] : [24, 34, 60];
  const [near, far] = reach(codes.distance);
  // very many points are dust: faint, so that the density shows through
  const strength =
    (colouring === "plain" ? 0.62 : 0.95) * Math.min(1, Math.max(0.16, (12_000 / count) ** 0.7));
  for (let k = 0; k < count; k++) {
    const label = facts && k < facts.known ? facts.labels[k]! : -1;
    let rgb: ArrayLike<number> = plain;
    if (colouring === "label" && label >= 0) rgb = classes[label % classes.length]!;
    if (colouring === "typicality" && facts && k < facts.known) {
      const at = 3 * Math.round(60 + 195 * Math.min(Math.max(facts.typicality[k]!, 0), 1));
      rgb = scale.subarray(at, at + 3);
    }
    const closeness =
      far > near ? Math.min(Math.max((far - codes.distance[k]!) / (far - near), 0), 1) : 1;
    paints[4 * k] = rgb[0]!;
    paints[4 * k + 1] = rgb[1]!;
    paints[4 * k + 2] = rgb[2]!;
    paints[4 * k + 3] = Math.round(255 * strength * (0.3 + 0.7 * closeness));
  }
  return paints;
}

/** Two distances between which most codes lie. */
function reach(distance: Float32Array): [number, number] {
  const stride = Math.max(1, Math.floor(distance.length / 2_000));
  const some = distance.filter((_, k) => k % stride === 0).sort();
  return [some[Math.floor(0.05 * some.length)] ?? 0, some[Math.floor(0.95 * some.length)] ?? 0];
}
