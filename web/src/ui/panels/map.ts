/** Which plane is shown, and what lies on it. */

import { offers } from "../../api/backend";
import type { PlaneKind } from "../../api/backend";
import type { App } from "../../data/app";
import { shown } from "../../data/cloud";
import { texts } from "../../data/texts";
import { turningPoint } from "../../data/waypoints";
import { number } from "../../data/words";
import type { Colouring } from "../../state/state";
import { button, checkbox, h, select, slider } from "../dom";
import { section } from "./section";

export function mapPanel(app: App): HTMLElement {
  const { store } = app;
  const contours = checkbox(texts.contours, (on) => store.change({ contours: on }));
  const relief = checkbox(texts.relief, (on) => store.change({ relief: on }));
  const arrows = checkbox(texts.arrows, (on) => store.change({ arrows: on }));
  const pictures = checkbox(texts.thumbnails, (on) => store.change({ pictures: on }));
  const points = select(texts.realCodes, colourings(app), (value) =>
    store.change({ points: value as Colouring }),
  );
  const part = select(
    texts.of,
    [
      ["train", texts.trainingSet(shown(app.about, "train"))],
      ["held_out", texts.heldOutSet(shown(app.about, "held_out"))],
    ],
    (value) => store.change({ part: value as "train" | "held_out" }),
  );
  const level = slider(
    texts.noiseLevel,
    { min: 0, max: Math.max(0, app.about.levels.length - 1), step: 1, value: 0 },
    (k) => angle(app, k),
    {
      input: (k) => store.drag({ level: k }),
      change: (k) => store.change({ level: k }),
    },
  );
  level.input.disabled = app.about.levels.length < 2;
  const show = () => {
    const { state } = store;
    contours.set(state.contours);
    relief.set(state.relief);
    arrows.set(state.arrows);
    pictures.set(state.pictures);
    points.set(state.points);
    part.set(state.part);
    level.set(state.level);
  };
  store.listen(show);
  show();
  const ticks = h(
    "div",
    { className: "checks" },
    contours.element,
    relief.element,
    arrows.element,
    app.about.image ? pictures.element : null,
  );
  return section(
    texts.map,
    true,
    planes(app),
    level.element,
    ticks,
    h("div", { className: "pair" }, points.element, part.element),
  );
}

function colourings(app: App): [string, string][] {
  const all: [string, string][] = [
    ["none", texts.hidden],
    ["plain", texts.plain],
    ["label", texts.byClass],
    ["typicality", texts.byTypicality],
  ];
  return all.filter(([value]) => value !== "label" || app.about.classes.length > 0);
}

const angle = (app: App, k: number) => {
  const t = app.about.levels[k] ?? 0;
  return t === 0 ? texts.noNoise : `${number(t, 2)} rad`;
};

/** The choice of a plane: the widest one, the one of the path, or that of two attributes. */
function planes(app: App): HTMLElement {
  const { store } = app;
  const names = app.about.attributes
    .filter((one) => one.kind !== "classes")
    .map((one) => [one.name, one.name] as const);
  const kinds: [string, string][] = [
    ["principal", texts.principal],
    ["through", texts.through],
    ["attributes", texts.twoAttributes],
    ["embedding", texts.embedding],
  ];
  const kind = select(
    texts.plane,
    kinds.filter(
      ([value]) =>
        (value !== "attributes" || names.length > 1) &&
        (value !== "embedding" || offers(app.about, "embedding")),
    ),
    (value) => choose(value as PlaneKind["kind"]),
  );
  const first = select(texts.across, names, () => choose("attributes"));
  const second = select(texts.up, names, () => choose("attributes"));
  if (names[1]) second.set(names[1][0]);
  const again = button(texts.turnPlane, () => choose("through"), {
    className: "wide",
  });
  const two = h("div", { className: "pair" }, first.element, second.element);
  const note = h("p", { className: "note" }, texts.embeddingNote);

  function choose(value: PlaneKind["kind"]): void {
    if (value === "attributes") {
      const pair = [first.input.value, second.input.value] as const;
      if (pair[0] === pair[1]) return app.say(texts.differentAttributes, "trouble");
      store.change({ plane: { kind: "attributes", attributes: pair }, window: null });
    } else if (value === "through") throughWaypoints(app);
    else store.change({ plane: { kind: value }, window: null });
    show();
  }
  function show(): void {
    const { plane } = store.state;
    kind.set(plane.kind);
    two.hidden = plane.kind !== "attributes";
    note.hidden = plane.kind !== "embedding";
    again.hidden = plane.kind !== "through";
    if (plane.kind !== "attributes") return;
    first.set(plane.attributes[0]);
    second.set(plane.attributes[1]);
  }
  store.listen(show);
  show();
  return h("div", { className: "planes" }, kind.element, two, again, note);
}

/**
 * The plane through A, B and C, or, without a C, the code at which the paths are farthest from the
 * straight line.
 */
export function throughWaypoints(app: App): boolean {
  const [a, b] = app.store.state.waypoints;
  const c = turningPoint(app);
  if (!a || !b || !c) {
    app.say(a && b ? texts.straightPaths : texts.setBoth, "trouble");
    return false;
  }
  app.store.change({ plane: { kind: "through", codes: [a, b, c] }, window: null });
  return true;
}
