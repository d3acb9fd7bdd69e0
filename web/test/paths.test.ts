import { expect, it } from "vitest";
import { Refusal } from "../src/api/backend";
import type { About, Backend, Code } from "../src/api/backend";
import type { Arrays } from "../src/api/wire";
import { Paths, warningsOf } from "../src/data/paths";
import type { Row } from "../src/data/paths";
import type { Decoded } from "../src/data/pictures";
import { DEFAULTS } from "../src/state/state";
import { Store } from "../src/state/store";

const pictures = { at: () => Promise.reject(new Error("there is no decoder to ask")) };
const about = {
  planners: ["walk", "geodesic", "linear"].map((name) => ({ name, options: [] })),
} as unknown as About;

/** A path of two frames, whose first lies where it starts. */
function result(name: string, start: readonly number[]): Arrays {
  const points = { shape: [2, 2], data: Float32Array.of(...start, 1, 1) };
  return {
    tensors: new Map([[`${name}/points`, points]]),
    about: { [name]: { metrics: { length_ratio: 1 } } },
  };
}

/**
 * A backend that answers in order, one each time it is told to, and the planners it was asked for.
 */
function backend() {
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  const path = (_: string, settings: Record<string, unknown>) =>
    new Promise<Arrays>((resolve, reject) => {
      const name = (settings["planners"] as string[])[0]!;
      asked.push(name);
      const fails = name === "geodesic" && (settings["waypoints"] as number[][])[0]![0] === 9;
      answers.push(() =>
        fails
          ? reject(new Refusal("no way", 400))
          : resolve(result(name, (settings["waypoints"] as number[][])[0]!)),
      );
    });
  const settle = async () => {
    answers.shift()?.();
    await new Promise((resolve) => setTimeout(resolve));
  };
  return { asked, settle, path: { compute: path } as unknown as Backend };
}

it("plans the quick paths first and at once, and each only once", async () => {
  const { asked, settle, path } = backend();
  const store = new Store({ ...DEFAULTS, planners: ["walk", "geodesic", "linear"] });
  const paths = new Paths(path, about, store, pictures, () => {});
  store.change({
    waypoints: [
      [0, 0],
      [1, 1],
    ],
  });
  expect(asked).toEqual(["linear", "geodesic"]);
  for (let k = 0; k < 4; k++) await settle();
  expect(asked).toEqual(["linear", "geodesic", "walk"]);
  expect(paths.rows.value.map((row) => [row.id, row.pending, row.result?.points.length])).toEqual([
    ["walk", false, 2],
    ["geodesic", false, 2],
    ["linear", false, 2],
  ]);
  store.change({ waypoints: [] });
  store.undo();
  await settle();
  expect(asked.length).toBe(3);
});

it("skips paths whose waypoints have moved since, and shows the last ones meanwhile", async () => {
  const { asked, settle, path } = backend();
  const store = new Store({ ...DEFAULTS, planners: ["geodesic", "linear"] });
  const paths = new Paths(path, about, store, pictures, () => {});
  store.change({
    waypoints: [
      [0, 0],
      [1, 1],
    ],
  });
  await settle(); // linear of the first waypoints; the geodesic is on its way
  for (const x of [2, 3, 4])
    store.drag({
      waypoints: [
        [x, 0],
        [1, 1],
      ],
    });
  await settle(); // that geodesic: from here on one after the other, since a gesture is under way
  expect(asked).toEqual(["linear", "geodesic", "linear"]);
  expect(paths.rows.value.find((row) => row.id === "linear")).toMatchObject({
    pending: true,
    result: {
      points: [
        [0, 0],
        [1, 1],
      ],
    },
  });
  for (let k = 0; k < 4; k++) await settle();
  expect(asked).toEqual(["linear", "geodesic", "linear", "geodesic"]);
  expect(paths.rows.value.every((row) => !row.pending && row.result?.points[0]![0] === 4)).toBe(
    true,
  );
});

it("says in the row why there is no path", async () => {
  const { settle, path } = backend();
  const store = new Store({ ...DEFAULTS, planners: ["geodesic"] });
  const paths = new Paths(path, about, store, pictures, () => {});
  store.change({
    waypoints: [
      [9, 0],
      [1, 1],
    ],
  });
  await settle();
  expect(paths.rows.value[0]).toMatchObject({ error: "no way", pending: false, result: null });
});

it("shows the codes of a path before its images, and decodes these once", async () => {
  const { settle, path } = backend();
  const decoded: Code[][] = [];
  const answers: (() => void)[] = [];
  const image = { bytes: Uint8Array.of(7), height: 1, width: 1, channels: 1 };
  const at = (codes: readonly Code[]) =>
    new Promise<Decoded[]>((resolve) => {
      decoded.push([...codes]);
      answers.push(() =>
        resolve(codes.map(() => ({ image, logProb: 0, offManifold: false, typicality: null }))),
      );
    });
  const store = new Store({ ...DEFAULTS, planners: ["linear"] });
  const paths = new Paths(
    path,
    { ...about, image: { channels: 1, height: 1, width: 1 } },
    store,
    { at },
    () => {},
  );
  store.change({ waypoints: [[0, 0]] });
  expect(paths.rows.value[0]).toMatchObject({
    id: "linear",
    waiting: true,
    pending: false,
    result: null,
  });
  store.change({
    waypoints: [
      [0, 0],
      [1, 1],
    ],
  });
  await settle();
  expect(paths.rows.value[0]).toMatchObject({
    waiting: false,
    pending: false,
    result: {
      points: [
        [0, 0],
        [1, 1],
      ],
      images: [],
    },
  });
  answers.shift()!();
  await settle();
  expect(paths.rows.value[0]!.result!.images).toEqual([image, image]);
  paths.refresh();
  expect(decoded).toEqual([
    [
      [0, 0],
      [1, 1],
    ],
  ]);
});

it("says each thing to be known of paths once", () => {
  const row = (...warnings: string[]) => ({ result: { warnings } }) as unknown as Row;
  expect(warningsOf([row("a is so"), row(), row("a is so", "b is not")])).toBe("A is so. B is not.");
  expect(warningsOf([])).toBe("");
});
