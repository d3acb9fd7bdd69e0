import { describe, expect, it } from "vitest";
import { finer, read } from "../src/data/grid";
import type { Grid } from "../src/data/grid";
import { inPixels } from "../src/map/arrows";
import { around, Camera, fitted } from "../src/map/camera";
import { matches } from "../src/map/legend";
import { chooseThumbnails } from "../src/map/showing";
import { THUMBNAIL } from "../src/map/thumbnails";
import { niceStep, ticks } from "../src/ui/ticks";

const window = { left: -2, right: 2, bottom: -1, top: 3 };

function sampled(side: number, f: (x: number, y: number) => number): Grid {
  const values = Float32Array.from({ length: side * side }, (_, k) =>
    f(
      window.left + ((k % side) / (side - 1)) * 4,
      window.bottom + (Math.floor(k / side) / (side - 1)) * 4,
    ),
  );
  return { values, side, window };
}

describe("search among classes", () => {
  it("finds letters anywhere in a name, in upper or lower case", () => {
    expect(matches(["Ankle boot", "Bag", "Sandal"], " an")).toEqual([true, false, true]);
    expect(matches(["a", "b"], "")).toEqual([true, true]);
  });
});

describe("camera", () => {
  const camera = new Camera(window, { width: 400, height: 400 });

  it("goes to pixels and back, with the plane's top at the canvas's top", () => {
    expect(camera.toPixels([-2, 3])).toEqual([0, 0]);
    expect(camera.toPixels([2, -1])).toEqual([400, 400]);
    expect(camera.toPlane(camera.toPixels([0.3, 1.7]))).toEqual([
      expect.closeTo(0.3),
      expect.closeTo(1.7),
    ]);
  });

  it("keeps the place under the pointer where it is while zooming and dragging", () => {
    const pixel = [130, 70] as const;
    const place = camera.toPlane(pixel);
    expect(new Camera(camera.zoomed(0.5, pixel), camera.size).toPixels(place)).toEqual([
      expect.closeTo(130),
      expect.closeTo(70),
    ]);
    expect(new Camera(camera.panned(25, -10), camera.size).toPixels(place)).toEqual([
      expect.closeTo(155),
      expect.closeTo(60),
    ]);
  });

  it("fits a window into a canvas without cutting it or stretching it", () => {
    const wide = fitted(window, { width: 800, height: 400 });
    expect(wide).toEqual({ left: -4, right: 4, bottom: -1, top: 3 });
    expect(
      around(
        [
          [0, 0],
          [4, 2],
        ],
        0.25,
      ),
    ).toEqual({ left: -1, right: 5, bottom: -2, top: 4 });
    expect(around([], 0.25)).toBeNull();
  });

  it("ticks at round numbers", () => {
    expect(niceStep(0.7)).toBe(1);
    expect(niceStep(2)).toBe(2);
    expect(ticks(-1, 3, 4)).toEqual([-1, 0, 1, 2, 3]);
    expect(ticks(0, 0.3, 3)).toEqual([0, 0.1, 0.2, 0.3]);
  });
});

describe("grid", () => {
  it("reads planes exactly between nodes, and nothing outside", () => {
    const slope = sampled(5, (x, y) => 2 * x - y + 1);
    expect(read(slope, [0.31, 0.77])).toBeCloseTo(2 * 0.31 - 0.77 + 1, 5);
    expect(read(slope, [2, 3])).toBeCloseTo(2, 5);
    expect(read(slope, [2.01, 0])).toBeNull();
  });

  it("becomes finer through its own values, and follows a curve at third order", () => {
    const f = (x: number, y: number) => Math.sin(x) * Math.cos(0.7 * y);
    const error = (side: number) => {
      const fine = finer(sampled(side, f), 4);
      const exact = sampled(fine.side, f);
      let worst = 0;
      for (let j = 4; j < fine.side - 4; j++)
        for (let i = 4; i < fine.side - 4; i++)
          worst = Math.max(
            worst,
            Math.abs(fine.values[j * fine.side + i]! - exact.values[j * fine.side + i]!),
          );
      return worst;
    };
    const coarse = sampled(6, f);
    expect(finer(coarse, 3).values[3 * 16 + 6]).toBe(coarse.values[6 + 2]);
    expect(error(33)).toBeLessThan(error(17) / 7);
  });
});

it("arrows point along the score and are never longer than a cell", () => {
  const lengths = inPixels(Float32Array.of(1, 0, 0, -100, 0, 0), 20);
  expect(lengths[0]).toBeGreaterThan(0);
  expect(lengths[3]).toBeLessThan(-19);
  expect(Math.abs(lengths[3]!)).toBeLessThanOrEqual(20);
  expect([lengths[1], lengths[4], lengths[5]]).toEqual([0, 0, 0]);
});

it("pictures lie within the view, do not cover each other, and are of the codes nearest to the plane", () => {
  const camera = new Camera(window, { width: 400, height: 400 });
  const places = Float32Array.from(
    { length: 4_000 },
    (_, k) => -3 + 6 * ((Math.floor(k / 2) * (k % 2 ? 0.5698403 : 0.7548777)) % 1),
  ); // spread evenly
  const distance = Float32Array.from({ length: 2_000 }, (_, k) => (k * 0.414) % 1);
  const chosen = chooseThumbnails({ places, distance }, camera).map((k) =>
    camera.toPixels([places[2 * k]!, places[2 * k + 1]!]),
  );
  expect(chosen.length).toBeGreaterThan(20);
  chosen.forEach((a, k) => {
    expect(Math.min(...a)).toBeGreaterThanOrEqual(0);
    for (const b of chosen.slice(k + 1))
      expect(Math.max(Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]))).toBeGreaterThan(THUMBNAIL);
  });
  const two = { places: Float32Array.of(0, 0, 0.05, 0), distance: Float32Array.of(0.9, 0.1) };
  expect(chooseThumbnails(two, camera)).toEqual([1]);
});
