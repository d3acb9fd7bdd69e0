import { describe, expect, it } from "vitest";
import type { Code } from "../src/api/backend";
import { reconstructionErrors, scored } from "../src/offline/anomaly";
import { mala, stateAt, tuned } from "../src/offline/chains";
import { eachOnce, nearest } from "../src/offline/codes";
import { action, geodesic } from "../src/offline/geodesic";
import { project } from "../src/offline/projection";
import { Random } from "../src/offline/random";
import { linear, slerp } from "../src/offline/straight";
import { paced, typical } from "../src/offline/typical";
import { traverse } from "../src/offline/traverse";
import { arcLengths, norm, quantile, resample, shareBelow } from "../src/offline/vectors";
import { walk } from "../src/offline/walk";
import { joined } from "../src/offline/waypoints";
import { arcOf, clusters, Mixture } from "./mixture";

describe("straight paths", () => {
  it("have equal steps, the straight line in length and the great circle in angle", () => {
    expect(linear([0, 0], [4, 2], 3)).toEqual([
      [0, 0],
      [2, 1],
      [4, 2],
    ]);
    const arc = slerp([1, 0], [0, 3], 3);
    expect(norm(arc[1]!)).toBeCloseTo(2, 12);
    expect(arc[1]![0]).toBeCloseTo(arc[1]![1]!, 12);
    expect(slerp([1, 0], [-1, 0], 3)).toEqual(linear([1, 0], [-1, 0], 3));
  });
});

describe("the walk", () => {
  const how = {
    rule: 2,
    alpha: 0.1,
    beta: -0.1,
    gamma: 0.02,
    arrive: false,
    steps: 400,
    tolerance: 1e-4,
  };

  it("goes where the library's goes, and waypoints as far short", async () => {
    // plan(two_clusters(2, 4.0), (-2, 0.5), (2, 0), "walk", frames=5) in Python
    const { points, converged } = await walk(clusters, [-2, 0.5], [2, 0], how);
    expect([points.length, converged]).toEqual([77, true]);
    const frames = resample(points, 5);
    [
      [-2, 0.5],
      [-1.82543, 0.428163],
      [-1.663789, 0.331314],
      [-1.546719, 0.185713],
      [-1.513862, 0.001082],
    ].forEach((place, k) => {
      expect(frames[k]![0]).toBeCloseTo(place[0]!, 4);
      expect(frames[k]![1]).toBeCloseTo(place[1]!, 4);
    });
    const first = await walk(clusters, [-2, 0.5], [2, 0], { ...how, rule: 1 });
    expect(first.points.length).toBe(81);
    expect(first.points.at(-1)![0]).toBeCloseTo(-1.44028, 4);
  });

  it("arrives where it is to, and is refused where it cannot be taken", async () => {
    const { points, converged } = await walk(clusters, [-2, 0.5], [2, 0], { ...how, arrive: true });
    expect(points.at(-1)).toEqual([2, 0]);
    expect(converged).toBe(true);
    await expect(walk(clusters, [0, 0], [1, 1], { ...how, gamma: 2 })).rejects.toThrow(
      "gamma is 2",
    );
    await expect(walk(clusters, [0, 0], [1, 1], { ...how, rule: 3 })).rejects.toThrow(
      "choose 1 or 2",
    );
  });
});

describe("the typical path", () => {
  const how = { strength: 1, share: 0.2, nodes: 33, iterations: 300, tolerance: 0.02, widths: [0] };
  const usual = { ...how, bend: 0.5, width: 0.4, pace: 1.25 };
  const middle = { mean: [0, 0], spread: 2 };
  const arc = new Mixture(arcOf(9), 0.35);

  // prettier-ignore: Typical(threshold=..., widths=(0.0,)).plan(toys.arc() or two_clusters(2, 4.0), ..., frames=5)
  const planned: [string, Mixture, number, [number, number][]][] = [
    ["turns", arc, -2.769, [[2, 0.3], [1.2521, 1.5155], [-0.1456, 1.959], [-1.4506, 1.276], [-2, 0]]],
    ["bends", arc, -1.6, [[2, 0.3], [1.7087, 1.0294], [1.0571, 1.6425], [0.0773, 2.0883], [-1, 2.5]]],
    ["crosses", clusters, -3, [[-2, 0.5], [-1.2402, 0.3775], [0.1935, 0.167], [1.6142, 0.3464], [2, -0.3]]],
    ["is near", clusters, -3, [[-2, 0.5], [-1.9351, 0.2564], [-1.8372, 0.0381], [-1.6855, -0.1451], [-1.5, -0.3]]],
  ];
  it.each(planned)("%s where the library's does", async (_, density, threshold, frames) => {
    const ends: [Code, Code] = [frames[0]!, frames[4]!];
    const { points, converged } = await typical(density, middle, ends, { ...usual, threshold }, 5);
    expect([points[0], points[4], converged]).toEqual([...ends, true]);
    frames.forEach((place, k) =>
      place.forEach((x, i) => expect(points[k]![i]).toBeCloseTo(x, 2)),
    );
  });

  it("is the geodesic where that has the likelier middle, and is refused without a speed", async () => {
    // without bending the turn round the mean crosses nothing but empty space
    const flat = { ...usual, threshold: -3, bend: 0 };
    const ends: readonly [Code, Code] = [
      [-2, 1],
      [2, 1],
    ];
    const { points } = await typical(clusters, middle, ends, { ...flat, width: 0 }, 5);
    const straight = await geodesic(clusters, ends, { ...flat, nodes: 33 }, 5);
    points.forEach((z, k) => {
      resample(straight.points, 5)[k]!.forEach((x, i) => expect(z[i]).toBeCloseTo(x, 12));
    });
    await expect(typical(arc, middle, ends, { ...flat, pace: 1 }, 5)).rejects.toThrow("more than 1");
  });

  it("keeps the speed limit", () => {
    const points = paced([[0], [0.1], [0.2], [4], [4.1]], 9, 1.25);
    const steps = points.slice(1).map((z, k) => z[0]! - points[k]![0]!);
    expect(Math.max(...steps)).toBeLessThan(1.26 * (4.1 / 8));
    expect(Math.max(...steps)).toBeGreaterThan(1.2 * (4.1 / 8));
  });
});

describe("the geodesic", () => {
  // geodesic(toys.arc(), ...) in Python, with these floors at its three widths
  const arc = new Mixture(arcOf(9), 0.35, { 0.6: -3.59, 0.3: -3.108, 0: -2.769 });
  const how = { share: 0.2, widths: null, nodes: 17, iterations: 300, tolerance: 0.02 };

  it.each([
    [3, 6004.1333],
    [1, 778.561],
  ])("prices a given path as the library does at strength %d", async (strength, price) => {
    // action(points, toys.arc(), -2.769, strength) in Python, of the straight line
    const { value } = await action(arc, -2.769, strength)(linear([2, 0], [-2, 0], 17));
    expect(value / price).toBeCloseTo(1, 5);
  });

  it("has the gradient of its price", async () => {
    const energy = action(arc, -2.769, 3);
    const points = [
      [2, 0],
      [1.2, 1.1],
      [-0.4, 1.5],
      [-2, 0],
    ];
    const { slopes } = await energy(points);
    const moved = (k: number, i: number, by: number) =>
      points.map((z, row) => z.map((x, column) => (row === k && column === i ? x + by : x)));
    for (const [k, i] of [
      [0, 1],
      [1, 0],
      [1, 1],
      [2, 0],
      [3, 0],
    ] as const) {
      const [up, down] = [await energy(moved(k, i, 1e-5)), await energy(moved(k, i, -1e-5))];
      expect(slopes[k]![i]! / ((up.value - down.value) / 2e-5)).toBeCloseTo(1, 4);
    }
  });

  it.each([
    [3, 141.535],
    [1, 60.137],
  ])("costs no more than the library's at strength %d", async (strength, energy) => {
    const found = await geodesic(
      arc,
      [
        [2, 0],
        [-2, 0],
      ],
      { ...how, strength },
      17,
    );
    expect(found.converged).toBe(true);
    expect(found.energy).toBeLessThan(1.01 * energy);
    expect([found.points[0], found.points[16]]).toEqual([
      [2, 0],
      [-2, 0],
    ]);
  });

  it("is the straight line where nothing is costly", async () => {
    const found = await geodesic(
      arc,
      [
        [2, 0],
        [-2, 0],
      ],
      { ...how, strength: 0 },
      5,
    );
    expect(arcLengths(found.points).at(-1)).toBeCloseTo(4, 6);
  });
});

describe("projection", () => {
  it("ends where log q is the target, as the library's example does", async () => {
    const { point, converged } = await project(clusters, [9, 0], -2);
    expect(converged).toBe(true);
    expect(point[0]).toBeCloseTo(2.6539, 3);
    expect(await project(clusters, [2, 0], -2)).toEqual({
      point: [2, 0],
      moved: 0,
      converged: true,
    });
  });
});

describe("a traversal", () => {
  it("goes in equal steps, keeps what is to be kept, and stays above the threshold", async () => {
    // within one cluster: traverse(two_clusters(2, 4.0), (2, 0), (0, 1), by=0.5) is the straight
    // line
    const { points, reached } = await traverse(clusters, [2, 0], [0, 1], 0.5, [[1, 0]], -2, 3);
    expect(points).toEqual([
      [2, 0],
      [2, 0.25],
      [2, 0.5],
    ]);
    expect(reached).toBeCloseTo(1, 12);
    const threshold = -2;
    const far = await traverse(clusters, [2, 0.3], [0, 1], 3, [], threshold, 13);
    // the highest place of a cluster with log q = -2: log(1 / 2) - log(2 π / 4) - y² / (2 / 4) = -2
    const highest = Math.sqrt(0.5 * (2 - Math.log(Math.PI)));
    expect(far.points.at(-1)![1]).toBeLessThanOrEqual(highest + 1e-6);
    expect(far.points.at(-1)![1]).toBeGreaterThan(highest - 0.07); // a step is 1 / 16
    for (const value of await clusters.logProb(far.points))
      expect(value).toBeGreaterThanOrEqual(threshold);
  });

  it("slides along the threshold where the direction leads below it, and is refused where nothing is free", async () => {
    const arc = new Mixture(arcOf(9), 0.35);
    const { points, reached } = await traverse(arc, [2, 0], [0, 1], 1.6, [], -2.6, 9);
    expect(reached).toBeCloseTo(1, 6);
    points.forEach((z, k) => expect(z[1]).toBeCloseTo(0.2 * k, 9)); // equal steps along the direction
    expect(points.at(-1)![0]).toBeLessThan(1.9); // the straight line would have stayed at 2
    for (const value of await arc.logProb(points)) expect(value).toBeGreaterThanOrEqual(-2.6);
    await expect(traverse(arc, [2, 0], [0, 1], 1, [[0, 2]], -3, 9)).rejects.toThrow(
      "leaves nothing to change",
    );
  });
});

describe("waypoints", () => {
  it("share the frames by length, and every waypoint is a frame", () => {
    const waypoints = [
      [0, 0],
      [1, 0],
      [1, 3],
      [-1, 3],
    ];
    const legs = waypoints.slice(1).map((waypoint, k) => linear(waypoints[k]!, waypoint, 10));
    const { points, waypoints: numbers } = joined(legs, 11);
    expect(numbers).toEqual([0, 2, 7, 10]);
    numbers.forEach((number, k) => expect(points[number]).toEqual(waypoints[k]));
    expect(points[3]![1]).toBeCloseTo(0.6, 6);
    expect(points[8]![0]).toBeCloseTo(1 / 3, 6);
  });
});

describe("chains", () => {
  it("leave the law of a cluster as it is, and one seed gives one answer", async () => {
    const single = new Mixture([[1, -1]], 0.5);
    const run = async () => {
      const random = new Random(3);
      const target = (codes: readonly Code[]) => single.slopes(codes);
      let { state, steps } = await tuned(
        target,
        await stateAt(
          target,
          Array.from({ length: 200 }, () => [1, -1]),
        ),
        60,
        random,
      );
      for (let k = 0; k < 40; k++) state = (await mala(target, state, steps, random)).state;
      return state.codes;
    };
    const codes = await run();
    const [mean, second] = [0, 1].map(
      (power) => codes.reduce((sum, z) => sum + (power ? (z[0]! - 1) ** 2 : z[0]!), 0) / 200,
    ) as [number, number];
    expect(Math.abs(mean - 1)).toBeLessThan(0.15);
    expect(Math.abs(Math.sqrt(second) - 0.5)).toBeLessThan(0.1);
    expect(await run()).toEqual(codes);
  });

  it("draw numbers of N(0, 1)", () => {
    const random = new Random(0);
    const draws = Array.from({ length: 4000 }, () => random.normal(1)[0]!);
    const mean = draws.reduce((sum, x) => sum + x, 0) / 4000;
    const variance = draws.reduce((sum, x) => sum + x * x, 0) / 4000;
    expect(Math.abs(mean)).toBeLessThan(0.06);
    expect(Math.abs(variance - 1)).toBeLessThan(0.09);
  });
});

it("finds the nearest rows, and quantiles between the known ones", () => {
  const means = Float32Array.of(0, 0, 3, 4, 1, 0, 1, 0);
  expect(nearest(means, [1, 0], 3)).toEqual({ indices: [2, 3, 0], distances: [0, 0, 1] });
  expect(nearest(means, [0, 0], 9).indices).toEqual([0, 2, 3, 1]);
  expect([0, 0.25, 1].map((share) => quantile([-4, 0, 2], share))).toEqual([-4, -2, 2]);
  expect([-5, -4, -2, 0, 1, 2, 3].map((value) => shareBelow([-4, 0, 2], value))).toEqual([
    0, 0, 0.25, 0.5, 0.75, 1, 1,
  ]);
  expect([-9, -3, 0].map((value) => shareBelow([-Infinity, -Infinity, -3], value))).toEqual([
    0.5, 1, 1,
  ]);
  expect(quantile([-Infinity, -Infinity, 2], 0.25)).toBe(-Infinity);
});

it("a photo is ranked by the harmonic mean p-value of its parts", () => {
  const arrays = {
    learned: [0, 0, 2, 0, 1, 1, 9, 9],
    means: [0, 0, 10, 0],
    distance: [-1, 5],
    error: [Math.log(0.1), Math.log(0.5)],
    sharpness: [0, 7],
    texture: [0.5, 7],
    centre: [1, 0, 0, 0, 0],
    scale: [2, 1, 1, 1, 0.5],
    ranked: [0.1, 0.5, 2],
    log_prob: [-3, -1],
    neighbours: [1],
  };
  const tensors = new Map(
    Object.entries(arrays).map(([name, data]) => [
      name,
      { shape: [data.length], data: Float32Array.from(data) },
    ]),
  );
  const photo = { code: [1, 0], logProb: 3, realness: 0.5, error: 0.1 * Math.E, sharpness: 0, texture: 0, width: null };
  const row = scored(photo, { tensors, about: {} });
  expect(row["rarity"]).toBeCloseTo(-2); // (-3 - 1) / 2
  expect(row["excess_distance"]).toBeCloseTo(1); // three codes at 1, and log 1 + 1
  expect(row["excess_error"]).toBeCloseTo(1); // beside its nearest neighbour
  expect(row["excess_texture"]).toBeCloseTo(-1);
  // Φ(2) = 0.97725, Φ(-1) = 0.15866 twice, Φ(0) of the sum; either side of 1, 0 and -1 with 1/10
  const terms = 1 / 0.97725 + 2 / 0.158655 + 1 / 0.5 + 0.1 * (1 / 0.31731 + 1 + 1 / 0.31731);
  expect(row["anomaly_score"]).toBeCloseTo(Math.log(terms / 4.3), 4);
  expect(row).toMatchObject({ typicality: 1, p_value: 0.5, is_outlier: false });
  const score = (logProb: number) =>
    scored({ ...photo, logProb }, { tensors, about: {} })["anomaly_score"];
  expect(score(-81)).toBeCloseTo(804.608 - Math.log(4.3), 2); // -log Φ(-40); the sum is smaller
  expect(score(-81)).toBeGreaterThan(score(-80.9) as number);
});

it("an image and its reconstruction differ by the numbers of the library", () => {
  const size = { channels: 1, height: 2, width: 2 };
  const [image, soft] = [Float32Array.from([0, 0.1, 0, 0]), Float32Array.from([0, 0.05, 0, 0.05])];
  const found = reconstructionErrors(image, soft, size);
  expect(found.error).toBeCloseTo(0.00125);
  expect(found.sharpness).toBeCloseTo(Math.log(4), 2);
  expect(found.texture).toBeCloseTo((Math.log(101) - Math.log(26)) / 2, 3);
});

describe("images along a path", () => {
  const means = Float32Array.from([0, 1, 10]);

  it("are each there once, the nearest pair first, and fewer are shared", () => {
    expect(eachOnce(means, [[0.6], [0.9], [9]])).toEqual([0, 1, 2]);
    expect(eachOnce(means, [[0.4], [0.3]])).toEqual([1, 0]);
    expect(eachOnce(means, [[0], [0.1], [0.2], [0.3]])).toEqual([0, 0, 2, 1]);
  });

  it("are the same at equal places", () => {
    expect(eachOnce(means, [[0.1], [10], [0.1]])).toEqual([0, 2, 0]);
  });
});
