import { expect, it } from "vitest";
import { fromWire, renamed, toWire } from "../src/api/names";

it("settings and facts change their names on the way, and keep their values", () => {
  expect(toWire({ waypoints: [[1, 2]], frames: 5 })).toEqual({ stops: [[1, 2]], frames: 5 });
  expect(fromWire({ edge: -3, limits: { stops: 9 }, classes: ["edge"] })).toEqual({
    threshold: -3,
    limits: { waypoints: 9 },
    classes: ["edge"],
  });
  const tensor = { shape: [1], data: Uint8Array.of(1) };
  const arrays = renamed({
    tensors: new Map([["along/outside", tensor]]),
    about: { along: { notes: ["one"] } },
  });
  expect(arrays).toEqual({
    tensors: new Map([["traverse/off_manifold", tensor]]),
    about: { traverse: { warnings: ["one"] } },
  });
});
