/** Whether places look like real codes, in numbers and in words. */

import { floats, rows } from "../api/wire";
import type { Arrays } from "../api/wire";
import { texts } from "./texts";

/** Below this share of real codes that look less real, a place is called unlike them. */
export const UNLIKE = 0.05;

/** How much one place looks like real codes. */
export interface Membership {
  /** Share of real codes that look less real. */
  readonly pValue: number;
  /** By statistic, the share of real codes at least as far out. */
  readonly parts: readonly (readonly [name: string, share: number])[];
}

/** Of the first place of an answer; null where too few real codes are known. */
export function membershipOf(arrays: Arrays): Membership | null {
  if (!arrays.tensors.has("p_value")) return null;
  const names = arrays.about["names"] as readonly string[];
  const [parts] = rows(arrays, "parts");
  return {
    pValue: floats(arrays, "p_value")[0]!,
    parts: names.map((name, k) => [name, parts![k]!]),
  };
}

/** Numbers of the places that are unlike real codes. */
export const unlike = (pValues: ArrayLike<number> | null): number[] =>
  Array.from(pValues ?? []).flatMap((p, k) => (p < UNLIKE ? [k] : []));

export const percent = (share: number): string =>
  share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`;

/** Whether a place looks like real codes, in a few words. */
export function membershipInWords(pValue: number): string {
  const p = pValue < 0.005 ? "p < 0.01" : `p = ${pValue.toFixed(2)}`;
  if (pValue >= UNLIKE) return texts.looksReal(p, percent(pValue));
  return texts.looksUnlike(p, pValue < 0.005 ? texts.fewest : texts.only(percent(pValue)));
}
