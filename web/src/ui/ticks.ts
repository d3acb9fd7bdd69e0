/** Round numbers on an axis. */

/** Round numbers from low to high, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  const step = niceStep((high - low) / Math.max(count, 1));
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, k) =>
    Number(((first + k) * step).toPrecision(12)),
  );
}

/** The nearest of 1, 2, 5 times a power of ten above. */
export function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-12)));
  return power * ([1, 2, 5, 10].find((unit) => unit * power >= rough * 0.999) ?? 10);
}
