import { describe, expect, it } from "vitest";
import { DEFAULTS, fromHash, toHash } from "../src/state/state";
import type { State } from "../src/state/state";
import { Store } from "../src/state/store";

const full: State = {
  ...DEFAULTS,
  plane: {
    kind: "through",
    codes: [
      [0.5, 1, 2],
      [3, 4, 5],
      [6, 7, 8.25],
    ],
  },
  window: { left: -1, right: 2.5, bottom: -3, top: 0 },
  view: "confusion",
  contours: false,
  waypoints: [[0.1, 0.2, 0.3].map(Math.fround), [1, 2, 3]],
  walk: { alpha: 0.3, gamma: 0.01, arrive: true },
  extras: [
    {
      verb: "traverse",
      title: "smile & more",
      settings: { start: [1, 2, 3], attribute: "class", by: 1 },
    },
  ],
  frame: 0.25,
};

describe("the address", () => {
  it("holds the whole state", () => {
    expect(fromHash(`#${toHash(full)}`, 3)).toEqual(full);
    expect(toHash(DEFAULTS)).toBe("");
  });

  it("is as by default where it is broken", () => {
    for (const hash of [
      "view=%22x%22",
      "waypoints=[[1,2]]",
      "window={}",
      "frames=-1",
      "waypoints=[",
      "nonsense=1",
      "plane=7",
      "level=null",
    ]) {
      expect(fromHash(hash, 3)).toEqual(DEFAULTS);
    }
  });

  it("refuses waypoints of another dimension and numbers that are none", () => {
    expect(fromHash(toHash(full), 4).waypoints).toEqual([]);
    expect(fromHash("waypoints=[[null,1]]", 2).waypoints).toEqual([]);
  });
});

describe("undo", () => {
  it("takes back a gesture as one, and gives it again", () => {
    const store = new Store(DEFAULTS);
    store.change({ waypoints: [[0, 0]] });
    store.drag({ waypoints: [[1, 0]] });
    store.drag({ waypoints: [[2, 0]] });
    store.change({ waypoints: [[3, 0]] });
    store.undo();
    expect(store.state.waypoints).toEqual([[0, 0]]);
    store.undo();
    expect(store.state.waypoints).toEqual([]);
    expect(store.canUndo).toBe(false);
    store.redo();
    store.redo();
    expect(store.state.waypoints).toEqual([[3, 0]]);
  });

  it("leaves the window where it is, and forgets what could be redone after a change", () => {
    const store = new Store(DEFAULTS);
    store.change({ view: "energy" });
    const window = { left: 0, right: 1, bottom: 0, top: 1 };
    store.look({ window });
    store.undo();
    expect(store.state).toEqual({ ...DEFAULTS, window });
    store.change({ view: "realness" });
    expect(store.canRedo).toBe(false);
  });

  it("tells listeners what it was and what it is", () => {
    const store = new Store(DEFAULTS);
    const heard: string[] = [];
    const leave = store.listen((now, before) => heard.push(`${before.view}>${now.view}`));
    store.change({ view: "energy" });
    leave();
    store.change({ view: "realness" });
    expect(heard).toEqual(["log_prob>energy"]);
  });
});
