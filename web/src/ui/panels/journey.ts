/** The stops of the journey, who plans it, and how. */

import { offers } from "../../api/backend";
import type { App } from "../../data/app";
import { SHORT } from "../../data/journeys";
import { usePhoto } from "../../data/photos";
import { removeStop, tellingPair } from "../../data/stops";
import { letter, number } from "../../data/words";
import { stroke } from "../colour/tables";
import { button, checkbox, h, picture, select, slider } from "../dom";
import { throughStops } from "./landscape";
import { section } from "./section";

export function journey(app: App): HTMLElement {
  return section("Journey", true, stops(app), placing(app), planners(app), walking(app), pacing(app));
}

/** Find a pair worth travelling, and turn the plane so that the detour lies in it. */
export async function showTelling(app: App): Promise<void> {
  const pair = await tellingPair(app);
  if (!pair) return app.say("There are too few real codes to choose a journey from.", "trouble");
  app.store.change({ stops: pair, chosen: 0, frame: 0 });
  const planned = () => app.journeys.rows.value.some((row) => row.verb === "travel") && app.journeys.rows.value.every((row) => !row.pending);
  if (!planned()) await new Promise<void>((resolve) => app.journeys.rows.listen(() => planned() && resolve()));
  if (app.store.state.stops === pair) throughStops(app);
  app.selection.set({ code: pair[0], title: "Stop A", stop: 0 });
}

function stops(app: App): HTMLElement {
  const { store } = app;
  const list = h("ol", { className: "stops" });
  let unknown = true; // whether a stop has not been decoded yet
  const file = h("input", { type: "file", accept: "image/*", hidden: true, multiple: true, aria: { label: "Photos to travel between" } });
  file.addEventListener("change", async () => {
    for (const one of file.files ?? []) await usePhoto(app, one);
    file.value = "";
  });
  const add = button("Add a photo …", () => file.click(), { title: "Or drop one anywhere, or paste it" });
  const telling = button("A telling journey", () => void showTelling(app), { className: "primary", title: "Two real images between which the straight line leaves the population" });
  const clear = button("Clear", () => store.change({ stops: [], chosen: 0, extras: [] }));
  const show = () => {
    list.replaceChildren(...store.state.stops.map((_, index) => stop(app, index)));
    clear.hidden = !store.state.stops.length;
  };
  store.listen((now, before) => {
    if (now.stops === before.stops && now.chosen === before.chosen) return;
    unknown = true;
    show();
  });
  app.pictures.news.listen(() => {
    if (unknown) show();
    unknown = store.state.stops.some((code) => !app.pictures.known(code));
  });
  show();
  return h("div", {}, list, h("div", { className: "buttons" }, telling, app.about.image && offers(app.about, "photos") ? add : null, clear), file);
}

function stop(app: App, index: number): HTMLElement {
  const code = app.store.state.stops[index]!;
  const known = app.pictures.known(code);
  const image = known?.image;
  const choose = button("", () => {
    app.store.look({ chosen: index });
    app.selection.set({ code, title: `Stop ${letter(index)}`, stop: index });
  }, { className: "choose", title: `Look at stop ${letter(index)}`, aria: { pressed: `${app.store.state.chosen === index}` } });
  choose.append(h("span", { className: "quiet" }, "Stop "), h("b", {}, letter(index)));
  if (image) {
    const canvas = picture(image.bytes, image.height, image.width, image.channels, "");
    canvas.setAttribute("aria-hidden", "true");
    choose.append(canvas);
  }
  const words = known?.logProb != null ? `log q ${number(known.logProb)}` : "…";
  choose.append(h("span", { className: known?.outside ? "outside" : "" }, known?.outside ? `${words}, outside` : words));
  return h("li", {}, choose, button("×", () => removeStop(app, index), { className: "close", aria: { label: `Remove stop ${letter(index)}` } }));
}

function placing(app: App): HTMLElement {
  const snap = checkbox("Clicks take the nearest real image", (on) => app.store.change({ snap: on }));
  const closed = checkbox("Return to A", (on) => app.store.change({ closed: on }));
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
      const chosen = about.planners.map((one) => one.name).filter((one) => (one === name ? on : store.state.planners.includes(one)));
      store.change({ planners: chosen });
    });
    box.element.style.setProperty("--swatch", stroke(name).colour);
    box.element.classList.add("planner");
    return { name, box };
  });
  const show = () => boxes.forEach(({ name, box }) => box.set(store.state.planners.includes(name)));
  store.listen(show);
  show();
  return h("fieldset", { className: "planners" }, h("legend", {}, "Planners"), ...boxes.map(({ box }) => box.element));
}

/** The walk's two weights: their ratio says how far short of B it stops. */
function walking(app: App): HTMLElement {
  const { store } = app;
  const power = (value: number) => 10 ** value;
  const set = (key: "alpha" | "gamma", value: number) => ({ walk: { ...store.state.walk, [key]: Number(power(value).toPrecision(3)) } });
  const alpha = slider("α, push", { min: -3, max: 0, step: 0.05, value: -1 }, (v) => power(v).toPrecision(2), {
    input: (v) => store.drag(set("alpha", v)),
    change: (v) => store.change(set("alpha", v)),
  });
  const gamma = slider("γ, pull", { min: -3, max: 0, step: 0.05, value: -1.7 }, (v) => power(v).toPrecision(2), {
    input: (v) => store.drag(set("gamma", v)),
    change: (v) => store.change(set("gamma", v)),
  });
  const arrive = checkbox("Fade the push, to arrive at B", (on) => store.change({ walk: { ...store.state.walk, arrive: on } }));
  const left = h("p", { className: "note", role: "status" });
  const element = h("fieldset", { className: "walk" }, h("legend", {}, "z′ = z + α ∇ log D(z) + γ (B − z)"), h("div", { className: "pair" }, alpha.element, gamma.element), arrive.element, left);
  const show = () => {
    const { walk, planners } = store.state;
    element.hidden = !planners.includes("walk");
    alpha.set(Math.log10(walk.alpha));
    gamma.set(Math.log10(walk.gamma));
    arrive.set(walk.arrive);
    const film = app.journeys.rows.value.find((row) => row.id === "walk")?.film;
    const short = film?.metrics["distance_left"];
    left.textContent = short === undefined ? "" : short >= SHORT ? `It stops short of B with ${Math.round(100 * short)} % of the way left: there the push and the pull cancel.` : "It arrives at B.";
  };
  store.listen(show);
  app.journeys.rows.listen(show);
  show();
  return element;
}

/** Names of the attributes, the class first: that is what people want to keep. */
const kinds = (all: App["about"]["attributes"]): string[] => [...all.filter((one) => one.kind === "classes"), ...all.filter((one) => one.kind !== "classes")].map((one) => one.name);

function pacing(app: App): HTMLElement {
  const { store, about } = app;
  const frames = slider("Frames", { min: 3, max: Math.min(65, about.limits.frames), step: 2, value: 17 }, (n) => `${n}`, { change: (n) => store.change({ frames: n }) });
  const pace = select("at equal steps of", [["latent", "the latent space"], ["perceived", "the picture"]], (value) => store.change({ pace: value }));
  const keep = select("Keep", [["", "nothing"], ...kinds(about.attributes).map((name) => [name, `${name} of A`] as const)], (name) => store.change({ preserve: name ? [name] : [] }));
  const show = () => {
    frames.set(store.state.frames);
    pace.set(store.state.pace);
    keep.set(store.state.preserve[0] ?? "");
  };
  store.listen(show);
  show();
  return h("div", {}, frames.element, h("div", { className: "pair" }, about.image && offers(about, "pace") ? pace.element : null, offers(about, "keep") ? keep.element : h("p", { className: "note" }, "Keeping a property along a path needs latent-atlas serve.")));
}
