import { expect, it } from "vitest";
import type { Arrays } from "../src/api/wire";
import { membershipInWords, membershipOf, unlike } from "../src/data/membership";
import { inWords } from "../src/data/paths";
import type { Row } from "../src/data/paths";

const arrays = (tensors: Record<string, [number[], number[]]>, about = {}): Arrays => ({
  tensors: new Map(
    Object.entries(tensors).map(([name, [shape, data]]) => [
      name,
      { shape, data: Float32Array.from(data) },
    ]),
  ),
  about,
});

it("reads the membership of the first place, and none where there is none", () => {
  const names = { names: ["log-density", "distance from the mean"] };
  const answer = arrays({ p_value: [[2], [0.25, 0]], parts: [[2, 2], [0.5, 0.125, 0, 1]] }, names);
  expect(membershipOf(answer)).toEqual({
    pValue: 0.25,
    parts: [
      ["log-density", 0.5],
      ["distance from the mean", 0.125],
    ],
  });
  expect(membershipOf(arrays({}, { names: [] }))).toBeNull();
});

it("says whether a place looks like real codes", () => {
  const said = [0.43, 0.05, 0.02, 0].map(membershipInWords);
  expect(said).toEqual([
    "p = 0.43, looks like real codes: 43 % of them look less so",
    "p = 0.05, looks like real codes: 5 % of them look less so",
    "p = 0.02, unlike real codes: only 2 % of them look less so",
    "p < 0.01, unlike real codes: less than 1 % of them look less so",
  ]);
});

it("counts the frames of a path that are unlike real codes", () => {
  const path = (pValues: number[] | null, offManifold: number[]) =>
    inWords({
      verb: "travel",
      result: { points: [[0], [1], [2]], offManifold, pValues, metrics: {} },
    } as unknown as Row).replaceAll("\u00a0", " ");
  expect(unlike([0.5, 0.049, 0.05])).toEqual([1]);
  expect(path([0.5, 0.01, 0.02], [0, 0, 0])).toBe("2 unlike real codes");
  expect(path([0.5, 0.01, 0.2], [0, 1, 0])).toBe("1 of 3 off-manifold · 1 unlike real codes");
  expect(path([0.5, 0.1, 0.2], [0, 0, 0])).toBe("none off-manifold");
  expect(path(null, [0, 0, 0])).toBe("none off-manifold");
});
