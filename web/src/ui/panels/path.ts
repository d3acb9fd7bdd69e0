/** The waypoints of a path, its planners and their settings. */

import { offers } from "../../api/backend";
import type { App } from "../../data/app";
import { SHORT, warningsOf } from "../../data/paths";
import { usePhoto } from "../../data/photos";
import { texts } from "../../data/texts";
import { examplePair, removeWaypoint } from "../../data/waypoints";
import { letter, number } from "../../data/words";
import { stroke } from "../colour/tables";
import { button, checkbox, h, picture, select, slider } from "../dom";
import { throughWaypoints } from "./map";
import { section } from "./section";

export function pathPanel(app: App): HTMLElement {
  return section(
    texts.path,
    true,
    waypoints(app),
    placing(app),
    planners(app),
    walking(app),
    pacing(app),
  );
}

/**
 * Find two real codes whose straight line leaves the data distribution, and show the plane that
 * contains the detour.
 */
export async function showExample(app: App): Promise<void> {
  const pair = await examplePair(app);
  if (!pair) return app.say(texts.tooFewCodes, "trouble");
  app.store.change({ waypoints: pair, chosen: 0, frame: 0 });
  const planned = () =>
    app.paths.rows.value.some((row) => row.verb === "travel") &&
    app.paths.rows.value.every((row) => !row.pending);
  if (!planned())
    await new Promise<void>((resolve) => app.paths.rows.listen(() => planned() && resolve()));
  if (app.store.state.waypoints === pair) throughWaypoints(app);
  app.selection.set({ code: pair[0], title: texts.waypoint("A"), waypoint: 0 });
}

function waypoints(app: App): HTMLElement {
  const { store } = app;
  const list = h("ol", { className: "waypoints" });
  let unknown = true; // whether a waypoint is not decoded yet
  const file = h("input", {
    type: "file",
    accept: "image/*",
    hidden: true,
    multiple: true,
    aria: { label: texts.photos },
  });
  file.addEventListener("change", async () => {
    for (const one of file.files ?? []) await usePhoto(app, one);
    file.value = "";
  });
  const add = button(texts.addPhoto, () => file.click(), {
    title: texts.addPhotoTitle,
  });
  const example = button(texts.anExample, () => void showExample(app), {
    className: "primary",
    title: texts.anExampleTitle,
  });
  const clear = button(texts.clear, () => store.change({ waypoints: [], chosen: 0, extras: [] }));
  const show = () => {
    list.replaceChildren(...store.state.waypoints.map((_, index) => waypoint(app, index)));
    clear.hidden = !store.state.waypoints.length;
  };
  store.listen((now, before) => {
    if (now.waypoints === before.waypoints && now.chosen === before.chosen) return;
    unknown = true;
    show();
  });
  app.pictures.news.listen(() => {
    if (unknown) show();
    unknown = store.state.waypoints.some((code) => !app.pictures.known(code));
  });
  show();
  return h(
    "div",
    {},
    list,
    h(
      "div",
      { className: "buttons" },
      example,
      app.about.image && offers(app.about, "photos") ? add : null,
      clear,
    ),
    file,
  );
}

function waypoint(app: App, index: number): HTMLElement {
  const code = app.store.state.waypoints[index]!;
  const known = app.pictures.known(code);
  const image = known?.image;
  const choose = button(
    "",
    () => {
      app.store.look({ chosen: index });
      app.selection.set({ code, title: texts.waypoint(letter(index)), waypoint: index });
    },
    {
      className: "choose",
      title: texts.lookAt(letter(index)),
      aria: { pressed: `${app.store.state.chosen === index}` },
    },
  );
  choose.append(h("span", { className: "quiet" }, texts.waypoint("")), h("b", {}, letter(index)));
  if (image) {
    const canvas = picture(image.bytes, image.height, image.width, image.channels, "");
    canvas.setAttribute("aria-hidden", "true");
    choose.append(canvas);
  }
  const words = known?.logProb != null ? `log q ${number(known.logProb)}` : "…";
  choose.append(
    h(
      "span",
      { className: known?.offManifold ? "off-manifold" : "" },
      known?.offManifold ? `${words}, ${texts.offManifold}` : words,
    ),
  );
  return h(
    "li",
    {},
    choose,
    button("×", () => removeWaypoint(app, index), {
      className: "close",
      aria: { label: texts.remove(letter(index)) },
    }),
  );
}

function placing(app: App): HTMLElement {
  const snap = checkbox(texts.snap, (on) => app.store.change({ snap: on }));
  const closed = checkbox(texts.returnToA, (on) => app.store.change({ closed: on }));
  snap.element.classList.add("long");
  const show = () => (snap.set(app.store.state.snap), closed.set(app.store.state.closed));
  app.store.listen(show);
  show();
  return h("div", { className: "checks" }, snap.element, closed.element);
}

function planners(app: App): HTMLElement {
  const { store, about } = app;
  const boxes = about.planners.map(({ name }) => {
    const box = checkbox(name, (on) => {
      const chosen = about.planners
        .map((one) => one.name)
        .filter((one) => (one === name ? on : store.state.planners.includes(one)));
      store.change({ planners: chosen });
    });
    box.element.style.setProperty("--swatch", stroke(name).colour);
    box.element.classList.add("planner");
    return { name, box };
  });
  const show = () => boxes.forEach(({ name, box }) => box.set(store.state.planners.includes(name)));
  store.listen(show);
  show();
  return h(
    "fieldset",
    { className: "planners" },
    h("legend", {}, texts.planners),
    ...boxes.map(({ box }) => box.element),
  );
}

/** The walk's two weights: their ratio decides how far from B it ends. */
function walking(app: App): HTMLElement {
  const { store } = app;
  const power = (value: number) => 10 ** value;
  const set = (key: "alpha" | "gamma", value: number) => ({
    walk: { ...store.state.walk, [key]: Number(power(value).toPrecision(3)) },
  });
  const alpha = slider(
    texts.push,
    { min: -3, max: 0, step: 0.05, value: -1 },
    (v) => power(v).toPrecision(2),
    {
      input: (v) => store.drag(set("alpha", v)),
      change: (v) => store.change(set("alpha", v)),
    },
  );
  const gamma = slider(
    texts.pull,
    { min: -3, max: 0, step: 0.05, value: -1.7 },
    (v) => power(v).toPrecision(2),
    {
      input: (v) => store.drag(set("gamma", v)),
      change: (v) => store.change(set("gamma", v)),
    },
  );
  const arrive = checkbox(texts.arrive, (on) =>
    store.change({ walk: { ...store.state.walk, arrive: on } }),
  );
  const left = h("p", { className: "note", role: "status" });
  const element = h(
    "fieldset",
    { className: "walk" },
    h("legend", {}, "z′ = z + α ∇ log D(z) + γ (B − z)"),
    h("div", { className: "pair" }, alpha.element, gamma.element),
    arrive.element,
    left,
  );
  const show = () => {
    const { walk, planners } = store.state;
    element.hidden = !planners.includes("walk");
    alpha.set(Math.log10(walk.alpha));
    gamma.set(Math.log10(walk.gamma));
    arrive.set(walk.arrive);
    const result = app.paths.rows.value.find((row) => row.id === "walk")?.result;
    const short = result?.metrics["distance_left"];
    left.textContent =
      short === undefined
        ? ""
        : short >= SHORT
          ? texts.endsShort(Math.round(100 * short))
          : texts.arrives;
  };
  store.listen(show);
  app.paths.rows.listen(show);
  show();
  return element;
}

/** Names of the attributes, the class first. */
const kinds = (all: App["about"]["attributes"]): string[] =>
  [
    ...all.filter((one) => one.kind === "classes"),
    ...all.filter((one) => one.kind !== "classes"),
  ].map((one) => one.name);

function pacing(app: App): HTMLElement {
  const { store, about } = app;
  const frames = slider(
    texts.frames,
    { min: 3, max: Math.min(65, about.limits.frames), step: 2, value: 17 },
    (n) => `${n}`,
    { change: (n) => store.change({ frames: n }) },
  );
  const pace = select(
    texts.atEqualSteps,
    [
      ["latent", texts.ofLatentSpace],
      ["perceived", texts.ofPicture],
    ],
    (value) => store.change({ pace: value }),
  );
  const keep = select(
    texts.keep,
    [
      ["", texts.nothing],
      ...kinds(about.attributes).map((name) => [name, texts.ofA(name)] as const),
    ],
    (name) => store.change({ preserve: name ? [name] : [] }),
  );
  const doubts = h("p", { className: "note doubts", role: "status" });
  const show = () => {
    frames.set(store.state.frames);
    pace.set(store.state.pace);
    keep.set(store.state.preserve[0] ?? "");
    doubts.textContent = store.state.preserve.length ? warningsOf(app.paths.rows.value) : "";
  };
  store.listen(show);
  app.paths.rows.listen(show);
  show();
  const keeps = offers(about, "keep");
  const choices = [about.image && offers(about, "pace") && pace.element, keeps && keep.element];
  return h(
    "div",
    {},
    frames.element,
    h("div", { className: "pair" }, ...choices),
    doubts,
    keeps ? null : h("p", { className: "note" }, texts.keepNeedsServe),
  );
}
