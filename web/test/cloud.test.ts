import { describe, expect, it } from "vitest";
import type { About, Axes, Backend } from "../src/api/backend";
import type { Tensor } from "../src/api/wire";
import { Cloud, scattered, shown } from "../src/data/cloud";

describe("how many codes are shown", () => {
  const counts = { train: 180_000, held_out: 20 };
  it("is their number where all are", () => {
    expect(shown({ counts }, "train")).toBe("180,000");
    expect(shown({ counts, population: counts }, "held_out")).toBe("20");
  });
  it("tells of how many they are a sample", () => {
    const population = { train: 9_000_000, held_out: 20 };
    expect(shown({ counts, population }, "train")).toBe("180,000 of 9,000,000");
  });
  it("is limited", () => {
    const many = { train: 5_000_000, held_out: 3 };
    expect(shown({ counts: many, population: many }, "train")).toBe("200,000 of 5,000,000");
  });
});

describe("places of many codes", () => {
  const tensor = (data: Tensor["data"], shape: number[]): Tensor => ({ data, shape });

  it("are rounded on the way, and unfolded here", () => {
    const tensors = new Map([
      ["xy", tensor(Uint16Array.of(0, 65_535, 65_535, 0), [2, 2])],
      ["distance", tensor(Uint8Array.of(0, 255), [2])],
    ]);
    const about = { bounds: { left: -2, right: 4, bottom: 1, top: 3 }, farthest: 0.5 };
    const [places, distance] = scattered({ tensors, about });
    expect([...places]).toEqual([-2, 3, 4, 1]);
    expect([...distance]).toEqual([0, 0.5]);
  });

  it("are fetched in part where a raster shows all, and then as far as they are missing", async () => {
    const asked: [offset: number, count: number][] = [];
    const rasters: number[] = [];
    const backend = {
      points: (_: Axes, __: string, offset: number, count: number) => {
        asked.push([offset, count]);
        const tensors = new Map([
          ["xy", tensor(new Float32Array(2 * count).fill(offset), [count, 2])],
          ["distance", tensor(new Float32Array(count), [count])],
        ]);
        return Promise.resolve({ tensors, about: {} });
      },
      codes: (_: string, __: number, count: number) =>
        Promise.resolve({
          tensors: new Map([["labels", tensor(new Int16Array(count), [count])]]),
          about: {},
        }),
      raster: (_: Axes, __: string, ___: object, side: number) => {
        rasters.push(side);
        const counts = new Uint8Array(side * side);
        counts[7] = 255;
        return Promise.resolve({
          tensors: new Map([["counts", tensor(counts, [side, side])]]),
          about: { densest: 40, total: 9_000_000 },
        });
      },
    } as unknown as Backend;
    const about = {
      counts: { train: 120_000, held_out: 20 },
      population: { train: 9_000_000, held_out: 20 },
    } as unknown as About;
    const cloud = new Cloud(backend, about, { say: () => undefined } as never);
    const axes = { origin: [0, 0], axes: [[1, 0], [0, 1]] } as const;
    const window = { left: 0, right: 1, bottom: 0, top: 1 };
    expect([cloud.sampled("train"), cloud.sampled("held_out")]).toEqual([true, false]);
    await cloud.place(axes, "train", false);
    cloud.count(axes, "train", window);
    await new Promise((done) => setTimeout(done));
    cloud.count(axes, "train", window); // which is there
    expect(asked).toEqual([[0, 50_000]]);
    expect(rasters.length).toBe(1);
    expect(cloud.raster.value?.counts[7]).toBe(40);
    await cloud.place(axes, "train", true);
    await cloud.place(axes, "train", false);
    expect(asked.slice(1)).toEqual([
      [50_000, 50_000],
      [100_000, 20_000],
    ]);
    const { places } = cloud.codes.value!;
    expect([places.length, places[0], places[100_000], places[239_999]]).toEqual([
      240_000, 0, 50_000, 100_000,
    ]);
    expect(cloud.facts.value.get("train")!.known).toBe(120_000);
    await cloud.place({ ...axes, origin: [1, 1] }, "train", false);
    expect(cloud.raster.value).toBe(null); // it was of another plane
  });
});
