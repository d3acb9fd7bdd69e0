/**
 * The selected code: its image and numbers, its nearest real images, and the paths that start from
 * it.
 */

import { attempt } from "../../api/attempt";
import { keyOf, offers } from "../../api/backend";
import type { Attribute } from "../../api/backend";
import { floats, rows } from "../../api/wire";
import { said } from "../../data/answers";
import type { App } from "../../data/app";
import { membershipInWords, membershipOf, percent, UNLIKE } from "../../data/membership";
import type { Membership } from "../../data/membership";
import type { Bytes, Decoded } from "../../data/pictures";
import { texts } from "../../data/texts";
import { putWaypoint } from "../../data/waypoints";
import { letter, number } from "../../data/words";
import { Settled } from "../../state/latest";
import type { Selection } from "../../state/state";
import { button, h, picture, select, slider } from "../dom";
import { gallery } from "../gallery";
import { Projection } from "./projection";
import { section } from "./section";

const NEIGHBOURS = 8;

export function selectionPanel(app: App): HTMLElement {
  const view = h("div", { className: "portrait" });
  const belongs = h("div", { className: "membership" });
  const near = h("div", { className: "neighbours" });
  const projection = new Projection(app);
  const tools = h(
    "div",
    { className: "tools" },
    uses(app),
    projection.element,
    walking(app),
    traversing(app),
  );
  const empty = h("p", { className: "note" }, texts.chooseOne);
  const settled = new Settled(160);
  const show = (selection: Selection | null) => {
    for (const part of [view, belongs, near, tools]) part.hidden = !selection;
    empty.hidden = !!selection;
    belongs.classList.add("stale");
    if (!selection) return settled.cancel();
    const known = app.pictures.known(selection.code);
    if (known) portrait(app, view, selection, known);
    settled.run(async (signal) => {
      const [found] = (await attempt(app, () => app.pictures.at([selection.code], signal))) ?? [];
      if (!found || signal.aborted) return;
      if (!known) portrait(app, view, selection, found);
      await Promise.all([
        membership(app, belongs, selection, signal),
        neighbours(app, near, selection, signal),
      ]);
    });
  };
  app.selection.listen(show);
  show(null);
  return section(texts.selected, true, empty, view, belongs, tools, near);
}

function portrait(
  app: App,
  view: HTMLElement,
  { code, title, waypoint }: Selection,
  known: Decoded,
): void {
  const photo = app.photos.get(keyOf(code));
  const pictures = h("div", { className: "pictures" });
  if (photo?.image)
    pictures.append(captioned(photo.image, waypoint === undefined ? title : texts.thePhoto));
  if (known.image)
    pictures.append(
      captioned(known.image, photo?.shownBy ?? `${title}, ${said(app.about.shown_by ?? "")}`),
    );
  const facts = h("dl", {});
  const add = (term: string, words: string, className = "") =>
    facts.append(h("dt", {}, term), h("dd", { className }, words));
  if (known.logProb !== null) {
    add(texts.logDensity, texts.inNats(number(known.logProb)));
    const { threshold } = app.about;
    if (threshold !== null)
      add(
        texts.threshold,
        known.offManifold
          ? texts.belowThreshold(number(threshold - known.logProb))
          : texts.overThreshold(number(known.logProb - threshold)),
        known.offManifold ? "off-manifold" : "",
      );
  }
  if (photo) for (const [term, words] of anomaly(photo.anomaly)) add(term, words);
  view.replaceChildren(pictures, facts);
}

/** Whether the code looks like real ones, and beneath it the parts as bars. */
async function membership(
  app: App,
  belongs: HTMLElement,
  { code }: Selection,
  signal: AbortSignal,
): Promise<void> {
  if (!offers(app.about, "membership")) return;
  const answer = await attempt(app, () => app.backend.membership([code], signal));
  if (signal.aborted) return;
  const found = answer && membershipOf(answer);
  belongs.replaceChildren(...(found ? [verdict(found), bars(found)] : []));
  belongs.classList.remove("stale");
}

function verdict({ pValue }: Membership): HTMLElement {
  const className = pValue < UNLIKE ? "unlike" : "";
  return h(
    "p",
    { className, title: texts.belongsTitle },
    h("b", {}, texts.belongs),
    ` ${membershipInWords(pValue)}`,
  );
}

function bars({ parts }: Membership): HTMLElement {
  const rows = parts.flatMap(([name, share]) => {
    const bar = h("i", { className: share < UNLIKE ? "unlike" : "" });
    bar.style.width = `${100 * share}%`;
    return [
      h("dt", {}, said(name)),
      h("dd", {}, h("span", { className: "bar" }, bar), h("span", {}, percent(share))),
    ];
  });
  return h("dl", { title: texts.partsTitle }, ...rows);
}

/** The anomaly scores of a photo in words; its membership is that of its code, shown beneath. */
function anomaly(row: Readonly<Record<string, unknown>>): [string, string][] {
  const words: [string, string][] = [];
  for (const [name, value] of Object.entries(row)) {
    if (name.startsWith("membership")) continue;
    const title = said(name.replaceAll("_", " "));
    if (typeof value === "number") words.push([title, number(value, 2)]);
    else if (typeof value === "boolean") words.push([title, value ? texts.yes : texts.no]);
    else if (typeof value === "string" && value) words.push([title, value]);
  }
  return words;
}

function captioned(image: Bytes, caption: string): HTMLElement {
  return h(
    "figure",
    {},
    picture(image.bytes, image.height, image.width, image.channels, caption),
    h("figcaption", {}, caption),
  );
}

/** The nearest real images, a button each, by distance in Z. */
async function neighbours(
  app: App,
  near: HTMLElement,
  { code }: Selection,
  signal: AbortSignal,
): Promise<void> {
  const { part } = app.store.state;
  const k = Math.min(NEIGHBOURS, app.about.counts[part]);
  const answer = await attempt(app, () => app.backend.neighbours([code], k, part, signal));
  if (!answer) return;
  const indices = [...answer.tensors.get("indices")!.data];
  const distances = floats(answer, "distances");
  const sprite = app.about.image
    ? await attempt(app, () => app.backend.thumbnails(part, indices, 64, signal))
    : null;
  if (signal.aborted) return;
  const columns = Math.ceil(Math.sqrt(indices.length));
  const use = async (index: number) => {
    const one = await attempt(app, () => app.backend.codes(part, index, 1, "means"));
    if (one) app.selection.set({ code: rows(one, "means")[0]!, title: texts.realImage(index) });
  };
  const items = indices.map((index, n) => ({
    picture: sprite && cut(sprite, n, columns, indices.length),
    says: texts.atDistance(texts.realImage(index), number(distances[n]!, 2)),
    words: number(distances[n]!, 2),
    choose: () => void use(index),
  }));
  near.replaceChildren(h("h3", {}, texts.nearestReal), gallery(items));
}

function cut(sprite: ImageBitmap, n: number, columns: number, count: number): HTMLCanvasElement {
  const [width, height] = [sprite.width / columns, sprite.height / Math.ceil(count / columns)];
  const canvas = h("canvas", {
    width: Math.round(width),
    height: Math.round(height),
    className: "picture",
  });
  canvas
    .getContext("2d")!
    .drawImage(
      sprite,
      (n % columns) * width,
      Math.floor(n / columns) * height,
      width,
      height,
      0,
      0,
      canvas.width,
      canvas.height,
    );
  return canvas;
}

function uses(app: App): HTMLElement {
  const use = (index: number) => () =>
    app.selection.value && putWaypoint(app, app.selection.value.code, index);
  const add = button(
    texts.addWaypoint,
    () => app.selection.value && putWaypoint(app, app.selection.value.code),
  );
  const box = h(
    "div",
    { className: "buttons" },
    button(texts.useAs("A"), use(0)),
    button(texts.useAs("B"), use(1)),
    add,
  );
  app.selection.listen((selection) => (box.hidden = selection?.waypoint !== undefined));
  return box;
}

function walking(app: App): HTMLElement {
  const walk = (seed: number) => {
    const { selection, store } = app;
    if (!selection.value) return;
    const settings = {
      start: selection.value.code,
      frames: store.state.frames,
      stride: 10,
      width: 0,
      seed,
    };
    store.change({
      extras: [
        ...store.state.extras,
        { verb: "random_walk", title: texts.walkAround(short(selection.value)), settings },
      ],
    });
  };
  return h(
    "div",
    { className: "buttons" },
    button(texts.walk, () => walk(Math.floor(Math.random() * 1e6)), {
      title: texts.walkTitle,
    }),
  );
}

const short = (selection: Selection) =>
  selection.waypoint === undefined ? texts.here : letter(selection.waypoint);

/**
 * How far an attribute can be changed: the range of the codes, or, for the log-odds of a class,
 * some nats.
 */
const reach = ({ low, high }: Attribute): number =>
  low === null || high === null ? 8 : high - low;

/** More or less of an attribute, with another kept. */
function traversing(app: App): HTMLElement {
  const { about, store } = app;
  const followed = about.attributes.filter((one) => one.kind !== "classes");
  if (!followed.length || !offers(about, "traverse")) return h("div", { hidden: true });
  const chosen = () => followed.find((one) => one.name === which.input.value) ?? followed[0]!;
  const which = select(
    texts.change,
    followed.map((one) => [one.name, one.name]),
    () => amount.set(amount.input.valueAsNumber),
  );
  const words = (v: number) => {
    const value = `${v > 0 ? "+" : ""}${number(v * reach(chosen()), 1)}`;
    return chosen().kind === "class" ? texts.inNats(value) : value;
  };
  const amount = slider(texts.by, { min: -1, max: 1, step: 0.05, value: 0.5 }, words, {
    change: () => {},
  });
  const kept = select(
    texts.keeping,
    [["", texts.nothing], ...about.attributes.map((one) => [one.name, one.name] as const)],
    () => {},
  );
  const go = button(texts.go, () => {
    const { selection } = app;
    const { name } = chosen();
    const by = amount.input.valueAsNumber * reach(chosen());
    if (!selection.value || by === 0) return;
    const keep = kept.input.value && kept.input.value !== name ? [kept.input.value] : [];
    const settings = {
      start: selection.value.code,
      attribute: name,
      by,
      keep,
      frames: Math.min(store.state.frames, 17),
    };
    store.change({
      extras: [
        ...store.state.extras,
        { verb: "traverse", title: by > 0 ? texts.more(name) : texts.less(name), settings },
      ],
    });
  });
  return h(
    "fieldset",
    { className: "traverse" },
    h("legend", {}, texts.traverse),
    h("div", { className: "pair" }, which.element, kept.element),
    amount.element,
    h("div", { className: "buttons" }, go),
  );
}
