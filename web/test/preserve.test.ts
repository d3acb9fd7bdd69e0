import { describe, expect, it } from "vitest";
import type { Code } from "../src/backend";
import { ClassOdds, Direction, LogDensity, Network, OneClass } from "../src/folder/attributes";
import type { Attribute } from "../src/folder/attributes";
import { Constraint, nearest, retract } from "../src/folder/constraint";
import type { Density, Membership } from "../src/folder/density";
import { geodesic } from "../src/folder/geodesic";
import { preserve } from "../src/folder/preserve";
import { linear } from "../src/folder/straight";
import type { Path } from "../src/folder/vectors";
import { resample } from "../src/folder/vectors";
import { walk } from "../src/folder/walk";
import { arcOf, clusters, Mixture } from "./mixture";

const height = new Direction([0, 2], "height");
const network = new Network([0.5, 0], [2, 1], [
  { weight: [[1, 0.5], [-1, 0.5], [0.3, -0.8]], bias: [0.1, -0.2, 0] },
  { weight: [[1, -1, 0.5], [-0.7, 1.2, 0.3]], bias: [0.2, 0.1] },
  { weight: [[4, -3], [-4, 3], [0.5, 0.5]], bias: [0, 0.3, -0.5] },
]);
const classes = new ClassOdds(network, 0.5);
const arc = new Mixture(arcOf(9), 0.35, { 0.6: -3.59, 0.3: -3.108, 0: -2.769 });

const straight = async (_: Density & Membership, from: Code, to: Code) => ({ points: linear(from, to, 5) as Path, converged: null });

function near(points: Path, wanted: Path, digits: number): void {
  expect(points.length).toBe(wanted.length);
  wanted.forEach((place, k) => place.forEach((x, i) => expect(points[k]![i]).toBeCloseTo(x, digits)));
}

describe("attributes", () => {
  it("have the values and the gradients of the library's probe", async () => {
    // ClassProbe(network, ("l", "r", "o"), 1.0, 0.0).values and .slopes in Python
    const { values, slopes } = await classes.read([[-2, 0.2], [1, -0.5]]);
    near(values, [[-8.49112, 4.50667, -4.52586], [1.88869, -3.46469, -2.1855]], 4);
    near(slopes[0]!, [[3.78059, -3.26493], [-1.66018, 1.44017], [1.61842, -1.40423]], 4);
    near(slopes[1]!, [[1.98225, 0.08623], [-3.19271, -0.0055], [-1.45656, -0.10655]], 4);
    expect((await new OneClass(classes, 2, "o").read([[1, -0.5]])).values[0]![0]).toBeCloseTo(-2.1855, 4);
  });

  it("are kept around their value, and a class above its margin", async () => {
    expect(await height.bounds([7, 0.2], 0.5)).toEqual({ lower: [-0.3], upper: [0.7] });
    expect(await classes.bounds([1, -0.5])).toEqual({ lower: [0.5, -Infinity, -Infinity], upper: [Infinity, Infinity, Infinity] });
  });
});

describe("a constraint", () => {
  it("takes codes the shortest way in, and leaves those that are in", async () => {
    const between = await Constraint.around([0, 1], [height], 0.25);
    const { points, inside } = await retract(between, [[3, 2], [5, 1.1], [0, -4]]);
    near(points, [[3, 1.25 - 2.5e-4], [5, 1.1], [0, 0.75 + 2.5e-4]], 5);
    expect(points[1]).toEqual([5, 1.1]);
    expect(inside).toEqual([true, true, true]);
  });

  it("finds the nearest place that is in the population as well", async () => {
    const both = (await Constraint.around([2, 0.3], [height], 0.01)).above(new LogDensity(clusters), -2);
    const { point, inside } = await nearest(both, [4, 0.3], [2, 0.3]);
    expect(inside).toBe(true);
    // log q = -2 at this height: log(1 / 2) - log(2 π / 4) - ((x - 2)² + y²) / (2 / 4) = -2; some 0.002 lower goes further
    expect(point[0]).toBeCloseTo(2 + Math.sqrt(0.5 * (2 - Math.log(Math.PI)) - 0.29 ** 2), 2);
    expect((await clusters.logProb([point]))[0]).toBeGreaterThanOrEqual(-2);
  });
});

describe("a journey that keeps", () => {
  const keep = (map: Mixture, ends: readonly [Code, Code], what: readonly Attribute[], floor: number, plan: Parameters<typeof preserve>[5]) => preserve(map, ends, what, floor, 5, plan);

  // preserve(two_clusters(2, 4.0), (-2, 0.2), (2, 0.9), [height], floor=-2.5, frames=5) in Python
  it("a coordinate goes where the library's goes", async () => {
    const { points, metrics, notes } = await keep(clusters, [[-2, 0.2], [2, 0.9]], [height], -2.5, straight);
    near(points, [[-2, 0.2], [-1.19695, 0.18067], [0, 0.1001], [1.20628, 0.21821], [2, 0.2999]], 3);
    expect(metrics["drift height"]).toBeLessThanOrEqual(0.1);
    expect([metrics["broken"], metrics["progress"], notes]).toEqual([0, expect.closeTo(1, 4), []]);
  });

  it("a coordinate is walked as in the library", async () => {
    const how = { rule: 2, alpha: 0.1, beta: -0.1, gamma: 0.02, arrive: true, steps: 400, tolerance: 1e-4 };
    const walked = async (judged: Density & Membership, from: Code, to: Code) => {
      const found = await walk(judged, from, to, how);
      return { points: resample(found.points, 5), converged: found.converged };
    };
    const { points } = await keep(clusters, [[-2, 0.2], [2, 0.9]], [height], -2.5, walked);
    near(points, [[-2, 0.2], [-1.35588, 0.10537], [-1.18322, 0.10006], [1.19007, 0.14546], [2, 0.2999]], 2);
  });

  it.each(["linear", "geodesic"])("a class keeps it in every frame, by %s", async (planner) => {
    const how = { strength: 1, share: 0.2, widths: null, nodes: 17, iterations: 300, tolerance: 0.02 };
    const bent = async (judged: Density & Membership, from: Code, to: Code) => {
      const { points, converged } = await geodesic(judged, [from, to], how, 5);
      return { points: resample(points, 5), converged };
    };
    const { points, metrics } = await keep(arc, [[2, 0], [-2, 0]], [classes], -2.9, planner === "linear" ? straight : bent);
    // preserve(toys.arc(), (2, 0), (-2, 0), [probe], planner=..., floor=-2.9, frames=5) in Python
    const middle = planner === "linear" ? [1.27729, 0.6835] : [1.43324, 0.88543];
    near([points[0]!, points[4]!], [[2, 0], [0.52032, 1.34966]], 2);
    near([points[2]!], [middle], planner === "linear" ? 2 : 1);
    expect(metrics["broken"]).toBe(0);
    expect(metrics["progress"]).toBeCloseTo(1.21641, 2);
    for (const odds of (await classes.read(points)).values) expect(odds[0]).toBeGreaterThanOrEqual(0.5);
    for (const value of await arc.logProb(points)) expect(value).toBeGreaterThanOrEqual(-2.9);
  });

  it("what cannot be kept in the population is only kept, and it is said", async () => {
    const { points, metrics, notes } = await keep(clusters, [[-2, 3], [2, 0]], [height], -2.5, straight);
    expect(notes[0]).toContain("no end was found");
    expect(metrics["broken"]).toBe(0);
    for (const [, y] of points) expect(Math.abs(y! - 3)).toBeLessThanOrEqual(0.1);
  });
});
