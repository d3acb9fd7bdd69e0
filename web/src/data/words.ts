/** Numbers and waypoints in words. */

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Waypoints are lettered in their order. */
export const letter = (index: number): string => LETTERS[index % 26]!;

/** −12.3, with a proper minus. */
export const number = (value: number, digits = 1): string =>
  Number.isFinite(value) ? value.toFixed(digits).replace("-", "−") : "–";
