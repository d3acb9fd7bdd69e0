import { describe, expect, it } from "vitest";
import { Dust } from "../src/map/dust";

const view = { left: 0, right: 4, bottom: 0, top: 4 };

describe("dust", () => {
  it("lays a point where it is, and nothing elsewhere", () => {
    const bytes = new Dust().settle(
      Float32Array.of(1.5, 2.5),
      Uint8Array.of(255, 0, 0, 255),
      view,
      4,
      4,
      1,
    );
    const at = 4 * (2 * 4 + 1);
    expect(bytes[at + 3]).toBe(Math.floor(255 * 0.7 * (1 - Math.exp(-1))));
    expect(bytes[at]).toBe(bytes[at + 3]);
    expect(bytes.reduce((sum, value) => sum + value, 0)).toBe(bytes[at]! + bytes[at + 3]!);
  });

  it("is the denser the more points there are, and mixes their colours", () => {
    const places = Float32Array.of(0.5, 0.5, 0.5, 0.5, 0.5, 0.5);
    const paints = Uint8Array.of(255, 0, 0, 60, 0, 255, 0, 60, 0, 0, 255, 60);
    const one = new Dust().settle(places.subarray(0, 2), paints.subarray(0, 4), view, 4, 4, 1)[3]!;
    const all = new Dust().settle(places, paints, view, 4, 4, 1).slice(0, 4);
    expect(all[3]).toBe(Math.floor(255 * 0.7 * (1 - Math.exp(-180 / 255))));
    expect(all[3]).toBeGreaterThan(2 * one);
    expect(all[0]).toBe(all[1]);
  });

  it("leaves nothing of the frame before", () => {
    const dust = new Dust();
    dust.settle(Float32Array.of(1, 1), Uint8Array.of(9, 9, 9, 255), view, 4, 4, 1);
    expect(
      dust
        .settle(Float32Array.of(9, 9), Uint8Array.of(9, 9, 9, 255), view, 4, 4, 1)
        .every((value) => value === 0),
    ).toBe(true);
  });

  it("looks the same of one colour as of several, and forgets neither", () => {
    const places = Float32Array.from({ length: 200 }, (_, k) => (k * 0.37) % 4);
    const paints = Uint8Array.from({ length: 400 }, (_, k) =>
      k % 4 === 3 ? 30 + (k % 90) : 50 * (k % 4),
    );
    const other = Uint8Array.of(...paints.subarray(0, 396), 1, 2, 3, 0); // a last point of another colour, unseen
    const dust = new Dust();
    const one = dust.settle(places, paints, view, 4, 4, 2).slice();
    const several = dust.settle(places, other, view, 4, 4, 2).slice();
    several.forEach((value, k) => expect(Math.abs(value - one[k]!)).toBeLessThanOrEqual(4)); // the last point's share
    expect(dust.settle(places, paints, view, 4, 4, 2)).toEqual(one);
  });

  it("takes a raster for the points in its window, and leaves none of its cells empty", () => {
    const counts = new Float32Array(16);
    counts[5] = 999;
    counts[6] = 60;
    counts[10] = 1;
    const raster = {
      part: "train",
      window: { left: 0, right: 2, bottom: 0, top: 2 },
      side: 4,
      counts,
      usual: 120,
      total: 1060,
    } as const;
    const places = Float32Array.of(0.1, 0.1, 3.5, 3.5); // within the window, and beyond it
    const paints = Uint8Array.of(9, 9, 9, 100, 9, 9, 9, 100);
    const alpha = (bytes: Uint8Array) => Array.from({ length: 64 }, (_, k) => bytes[4 * k + 3]!);
    const dust = new Dust();
    const seen = alpha(dust.settle(places, paints, view, 8, 8, 1, raster));
    const where = seen.flatMap((value, k) => (value ? [k] : []));
    expect(where).toEqual([1 * 8 + 1, 1 * 8 + 2, 2 * 8 + 2, 7 * 8 + 7]);
    const veil = (sum: number) => Math.floor(255 * 0.7 * (1 - Math.exp(-sum / 255)));
    expect([seen[9], seen[10], seen[18]]).toEqual([veil(220), veil(55), veil(9)]);
    expect(seen[63]).toBe(veil(100));
    // The same cells are as thick from near.
    const near = alpha(dust.settle(places, paints, raster.window, 8, 8, 1, raster));
    expect([near[2 * 8 + 2], near[2 * 8 + 3]]).toEqual([veil(220), veil(220)]);
    dust.settle(places, paints, view, 8, 8, 1, raster);
    expect(dust.rows).toEqual([1, 8]);
    const several = paints.slice();
    several[0] = 200;
    expect(alpha(dust.settle(places, several, view, 8, 8, 1, raster))[9]).toBe(0);
  });
});
