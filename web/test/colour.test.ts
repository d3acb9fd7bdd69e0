import { describe, expect, it } from "vitest";
import type { Theme, View } from "../src/state/state";
import { lightness, oklch } from "../src/ui/colour/oklab";
import { categories, table } from "../src/ui/colour/tables";

const VIEWS: View[] = ["log_prob", "realness", "confusion", "energy"];

describe("colour tables", () => {
  it.each(
    VIEWS.flatMap((view) => (["dark", "light"] as Theme[]).map((theme) => [view, theme] as const)),
  )(
    "%s on %s rises or falls in lightness all the way, so it can be read without colour",
    (view, theme) => {
      const bytes = table(view, theme);
      const l = Array.from({ length: 256 }, (_, k) =>
        lightness([bytes[3 * k]! / 255, bytes[3 * k + 1]! / 255, bytes[3 * k + 2]! / 255]),
      );
      const sign = theme === "dark" ? 1 : -1;
      for (let k = 8; k < 256; k += 8) expect(sign * (l[k]! - l[k - 8]!)).toBeGreaterThan(0);
      expect(Math.abs(l[255]! - l[0]!)).toBeGreaterThan(0.6);
    },
  );

  it("knows the colours of a reference conversion", () => {
    expect(oklch(1, 0, 0).map((v) => Math.round(255 * v))).toEqual([255, 255, 255]);
    expect(oklch(0.62796, 0.25768, 29.234).map((v) => Math.round(255 * v))).toEqual([255, 0, 0]);
    expect(lightness([1, 0, 0])).toBeCloseTo(0.62796, 3);
  });

  it("gives each of ten classes a colour of its own", () => {
    expect(new Set(categories(10, "dark").map(String)).size).toBe(10);
  });
});
