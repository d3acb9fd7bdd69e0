/** What the colours mean. */

import type { App } from "../data/app";
import { texts } from "../data/texts";
import { number } from "../data/words";
import type { Theme, View } from "../state/state";
import { categories, css, table } from "../ui/colour/tables";
import { h } from "../ui/dom";
import { ticks } from "../ui/ticks";
import { fieldOf } from "./field";

const NAMES: Record<View, readonly [string, string]> = {
  log_prob: [texts.logDensity, texts.nats],
  energy: [texts.energy, texts.nats],
  realness: [texts.realness, "D(z)"],
  confusion: [texts.confusion, texts.bits],
};

const WIDTH = 236; // pixels, as in the style sheet
const APART = 36; // pixels from number to number
const SEARCHED = 24; // classes, from which on the list has a search field
const APART_ON_PHONES = 58; // the same where the bar is 150 pixels wide

export class Legend {
  readonly element = h("figure", { className: "legend" });
  private classes: { readonly theme: Theme; readonly key: HTMLElement } | null = null;

  constructor(private readonly app: App) {
    app.chart.plane.listen(() => this.draw());
    app.theme.listen(() => this.draw());
    app.store.listen(
      (now, before) =>
        (now.view !== before.view ||
          now.points !== before.points ||
          now.contours !== before.contours) &&
        this.draw(),
    );
  }

  private draw(): void {
    const { app } = this;
    const plane = app.chart.plane.value;
    const { view, points, contours } = app.store.state;
    const parts: Node[] = [];
    if (plane) {
      const field = fieldOf(plane, view);
      const [name, unit] = NAMES[view];
      parts.push(
        h("figcaption", {}, h("b", {}, name), h("span", {}, unit)),
        this.bar(view),
        this.scale(field),
      );
      if (contours && plane.grids.log_prob)
        parts.push(
          h(
            "p",
            {},
            field.spacing === 1
              ? texts.contourEachNat
              : texts.contoursEvery(number(field.spacing, field.spacing < 1 ? 1 : 0)),
            ...(field.threshold === null
              ? []
              : [h("span", { className: "threshold-key" }), texts.threshold]),
          ),
        );
    }
    if (points === "label" && app.about.classes.length) parts.push(this.classKey());
    this.element.replaceChildren(...parts);
    this.element.hidden = !parts.length;
  }

  /** Made once for a theme, so that it keeps what was searched for. */
  private classKey(): HTMLElement {
    const theme = this.app.theme.value;
    if (this.classes?.theme !== theme)
      this.classes = { theme, key: classKey(this.app.about.classes, theme) };
    return this.classes.key;
  }

  private bar(view: View): HTMLCanvasElement {
    const canvas = h("canvas", { width: 256, height: 1, className: "bar" });
    canvas.setAttribute("aria-hidden", "true");
    const image = new ImageData(256, 1);
    const colours = table(view, this.app.theme.value);
    for (let k = 0; k < 256; k++)
      image.data.set([colours[3 * k]!, colours[3 * k + 1]!, colours[3 * k + 2]!, 255], 4 * k);
    canvas.getContext("2d")!.putImageData(image, 0, 0);
    return canvas;
  }

  private scale(field: ReturnType<typeof fieldOf>): HTMLElement {
    const { low, middle, share, high } = field;
    const at = (value: number) =>
      value < middle
        ? (share * (value - low)) / (middle - low)
        : share + ((1 - share) * (value - middle)) / (high - middle);
    const scale = h("div", { className: "scale" });
    let [last, lastOnPhones] = [-Infinity, -Infinity];
    for (const value of ticks(low, high, 5)) {
      const x = at(value) * WIDTH;
      if (x - last < APART) continue;
      last = x;
      const tick = h("span", {}, number(value, high - low < 3 ? 1 : 0));
      const half = `${tick.textContent.length / 2}ch`; // a number is centred under its place, as far as the bar has room
      if (x - lastOnPhones < APART_ON_PHONES) tick.className = "close";
      else lastOnPhones = x;
      tick.style.left = `clamp(${half}, ${(100 * x) / WIDTH}%, 100% - ${half})`;
      scale.append(tick);
    }
    return scale;
  }
}

/** The colours of all classes, in a list that scrolls; many can be searched. */
export function classKey(classes: readonly string[], theme: Theme): HTMLElement {
  const colours = categories(classes.length, theme);
  const items = classes.map((name, k) => {
    const dot = h("i");
    dot.style.background = css(colours[k]!);
    return h("li", { title: name }, dot, name);
  });
  const list = h(
    "ul",
    { className: "classes", tabIndex: 0, aria: { label: texts.classes } },
    ...items,
  );
  if (classes.length <= SEARCHED) return list;
  const search = h("input", {
    type: "search",
    placeholder: texts.searchOf(classes.length),
    aria: { label: texts.searchClasses },
  });
  search.addEventListener("input", () => {
    const found = matches(classes, search.value);
    items.forEach((item, k) => (item.hidden = !found[k]));
  });
  return h("div", { className: "class-key" }, search, list);
}

/** Which classes have these letters in their name, in upper or lower case. */
export function matches(classes: readonly string[], letters: string): boolean[] {
  const wanted = letters.trim().toLowerCase();
  return classes.map((name) => name.toLowerCase().includes(wanted));
}
