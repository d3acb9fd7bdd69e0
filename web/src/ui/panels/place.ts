/** The place that is looked at: its picture and numbers, its real neighbours, and where one can go from it. */

import { attempt } from "../../api/attempt";
import { keyOf, offers } from "../../api/backend";
import type { Attribute } from "../../api/backend";
import { floats, rows } from "../../api/wire";
import type { App } from "../../data/app";
import type { Bytes, Decoded } from "../../data/pictures";
import { putStop } from "../../data/stops";
import { letter, number } from "../../data/words";
import { Settled } from "../../state/latest";
import type { Selection } from "../../state/state";
import { button, h, picture, select, slider } from "../dom";
import { section } from "./section";
import { Uphill } from "./uphill";

const NEIGHBOURS = 8;

export function place(app: App): HTMLElement {
  const view = h("div", { className: "portrait" });
  const near = h("div", { className: "neighbours" });
  const uphill = new Uphill(app);
  const tools = h("div", { className: "tools" }, uses(app), uphill.element, wandering(app), changing(app));
  const empty = h("p", { className: "note" }, "Choose a stop, a frame of a strip, or a draw: it is shown here with its nearest real images, and journeys can begin from it.");
  const settled = new Settled(160);
  const show = (selection: Selection | null) => {
    for (const part of [view, near, tools]) part.hidden = !selection;
    empty.hidden = !!selection;
    if (!selection) return settled.cancel();
    const known = app.pictures.known(selection.code);
    if (known) portrait(app, view, selection, known);
    settled.run(async (signal) => {
      const [found] = (await attempt(app, () => app.pictures.at([selection.code], signal))) ?? [];
      if (!found || signal.aborted) return;
      if (!known) portrait(app, view, selection, found);
      await neighbours(app, near, selection, signal);
    });
  };
  app.selection.listen(show);
  show(null);
  return section("Place", true, empty, view, tools, near);
}

function portrait(app: App, view: HTMLElement, { code, title }: Selection, known: Decoded): void {
  const photo = app.photos.get(keyOf(code));
  const pictures = h("div", { className: "pictures" });
  if (photo?.image) pictures.append(captioned(photo.image, "the photo"));
  if (known.image) pictures.append(captioned(known.image, photo ? "what the model sees" : title));
  const facts = h("dl", {});
  const add = (term: string, words: string, className = "") => facts.append(h("dt", {}, term), h("dd", { className }, words));
  if (known.logProb !== null) {
    add("log-density", `${number(known.logProb)} nats`);
    const { edge } = app.about;
    if (edge !== null) add("population", known.outside ? `outside, ${number(edge - known.logProb)} nats under its edge` : `inside, ${number(known.logProb - edge)} nats over its edge`, known.outside ? "outside" : "");
  }
  if (photo) for (const [term, words] of oddness(photo.score)) add(term, words);
  view.replaceChildren(pictures, facts);
}

/** The score's row in words, its one number first. */
function oddness(score: Readonly<Record<string, unknown>>): [string, string][] {
  const words: [string, string][] = [];
  for (const [name, value] of Object.entries(score)) {
    if (typeof value === "number") words.push([name.replaceAll("_", " "), number(value, 2)]);
    else if (typeof value === "boolean") words.push([name.replaceAll("_", " "), value ? "yes" : "no"]);
    else if (typeof value === "string" && value) words.push([name.replaceAll("_", " "), value]);
  }
  return words;
}

function captioned(image: Bytes, caption: string): HTMLElement {
  return h("figure", {}, picture(image.bytes, image.height, image.width, image.channels, caption), h("figcaption", {}, caption));
}

/** The nearest real images, a button each, by distance in Z. */
async function neighbours(app: App, near: HTMLElement, { code }: Selection, signal: AbortSignal): Promise<void> {
  const { part } = app.store.state;
  const k = Math.min(NEIGHBOURS, app.about.counts[part]);
  const answer = await attempt(app, () => app.backend.neighbours([code], k, part, signal));
  if (!answer) return;
  const indices = [...answer.tensors.get("indices")!.data];
  const distances = floats(answer, "distances");
  const sprite = app.about.image ? await attempt(app, () => app.backend.thumbnails(part, indices, 64, signal)) : null;
  if (signal.aborted) return;
  const columns = Math.ceil(Math.sqrt(indices.length));
  const items = indices.map((index, n) => {
    const says = `Real image ${index}, at distance ${number(distances[n]!, 2)}`;
    const use = async () => {
      const one = await attempt(app, () => app.backend.codes(part, index, 1, "means"));
      if (one) app.selection.set({ code: rows(one, "means")[0]!, title: `Real image ${index}` });
    };
    const item = button("", () => void use(), { title: says, aria: { label: says } });
    if (sprite) item.append(cut(sprite, n, columns, indices.length));
    item.append(h("span", {}, number(distances[n]!, 2)));
    return h("li", {}, item);
  });
  near.replaceChildren(h("h3", {}, "Nearest real images"), h("ol", {}, ...items));
}

function cut(sprite: ImageBitmap, n: number, columns: number, count: number): HTMLCanvasElement {
  const [width, height] = [sprite.width / columns, sprite.height / Math.ceil(count / columns)];
  const canvas = h("canvas", { width: Math.round(width), height: Math.round(height), className: "picture" });
  canvas.setAttribute("aria-hidden", "true");
  canvas.getContext("2d")!.drawImage(sprite, (n % columns) * width, Math.floor(n / columns) * height, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function uses(app: App): HTMLElement {
  const use = (index: number) => () => app.selection.value && putStop(app, app.selection.value.code, index);
  const add = button("Add as next stop", () => app.selection.value && putStop(app, app.selection.value.code));
  const box = h("div", { className: "buttons" }, button("Use as A", use(0)), button("Use as B", use(1)), add);
  app.selection.listen((selection) => (box.hidden = selection?.stop !== undefined));
  return box;
}

function wandering(app: App): HTMLElement {
  const wander = (seed: number) => {
    const { selection, store } = app;
    if (!selection.value) return;
    const wishes = { start: selection.value.code, frames: store.state.frames, stride: 10, width: 0, seed };
    store.change({ extras: [...store.state.extras, { verb: "explore", title: `around ${short(selection.value)}`, wishes }] });
  };
  return h("div", { className: "buttons" }, button("Wander from here", () => wander(Math.floor(Math.random() * 1e6)), { title: "A random walk through the population around this place" }));
}

const short = (selection: Selection) => (selection.stop === undefined ? "here" : letter(selection.stop));

/** How far an attribute goes each way: the range of the codes, or, for the log-odds of a class, some nats. */
const reach = ({ low, high }: Attribute): number => (low === null || high === null ? 8 : high - low);

/** More or less of an attribute, with another kept. */
function changing(app: App): HTMLElement {
  const { about, store } = app;
  const followed = about.attributes.filter((one) => one.kind !== "classes");
  if (!followed.length || !offers(about, "along")) return h("div", { hidden: true });
  const chosen = () => followed.find((one) => one.name === which.input.value) ?? followed[0]!;
  const which = select("Change", followed.map((one) => [one.name, one.name]), () => amount.set(amount.input.valueAsNumber));
  const words = (v: number) => `${v > 0 ? "+" : ""}${number(v * reach(chosen()), 1)}${chosen().kind === "class" ? " nats" : ""}`;
  const amount = slider("by", { min: -1, max: 1, step: 0.05, value: 0.5 }, words, { change: () => {} });
  const kept = select("keeping", [["", "nothing"], ...about.attributes.map((one) => [one.name, one.name] as const)], () => {});
  const go = button("Go", () => {
    const { selection } = app;
    const { name } = chosen();
    const by = amount.input.valueAsNumber * reach(chosen());
    if (!selection.value || by === 0) return;
    const keep = kept.input.value && kept.input.value !== name ? [kept.input.value] : [];
    const wishes = { start: selection.value.code, attribute: name, by, keep, frames: Math.min(store.state.frames, 17) };
    store.change({ extras: [...store.state.extras, { verb: "along", title: `${by > 0 ? "more" : "less"} ${name}`, wishes }] });
  });
  return h("fieldset", { className: "along" }, h("legend", {}, "Along an attribute"), h("div", { className: "pair" }, which.element, kept.element), amount.element, h("div", { className: "buttons" }, go));
}
