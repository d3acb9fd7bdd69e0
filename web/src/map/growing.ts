/**
 * The map while a run trains: the codes of held-out images, and the density that D_z has learned so
 * far.
 */

import type { Window } from "../api/backend";
import { floats } from "../api/wire";
import type { Arrays } from "../api/wire";
import { understood } from "../data/chart";
import type { Plane } from "../data/chart";
import { texts } from "../data/texts";
import { number } from "../data/words";
import type { Signal } from "../state/latest";
import type { Theme } from "../state/state";
import { categories } from "../ui/colour/tables";
import { h } from "../ui/dom";
import { fieldOf } from "./field";
import { classKey } from "./legend";
import { Scene } from "./scene";

/** One answer of `progress/map`. */
export interface Growth {
  readonly step: number | null; // of the networks; null once they have learned
  readonly window: Window;
  readonly places: Float32Array;
  readonly labels: ArrayLike<number>; // empty where there are none
  readonly classes: readonly string[];
  readonly plane: Plane | null; // with the density, once a D_z learns
}

export class Growing {
  readonly element = h("figure", { className: "growing", hidden: true });
  private readonly canvas = h("canvas");
  private readonly scene = Scene.on(this.canvas);
  private readonly caption = h("figcaption");
  private readonly key = h("div");
  private shown: Growth | null = null;

  constructor(private readonly theme: Signal<Theme>) {
    this.canvas.setAttribute("role", "img");
    this.element.append(
      this.scene ? this.canvas : h("p", { className: "missing" }, texts.noWebGLGrowing),
      this.caption,
      this.key,
    );
    theme.listen(() => this.draw());
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  show(answer: Arrays): void {
    this.shown = grown(answer);
    this.element.hidden = false;
    this.resize();
    this.draw();
  }

  private resize(): void {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (width && height) this.scene?.resize(width, height);
  }

  private draw(): void {
    const { shown, scene, theme } = this;
    if (!shown) return;
    this.caption.textContent = inWords(shown);
    this.canvas.setAttribute("aria-label", `${inWords(shown)} ${extent(shown)}`);
    this.key.replaceChildren(
      ...(shown.labels.length ? [classKey(shown.classes, theme.value)] : []),
    );
    if (!scene) return;
    scene.show(shown.plane && fieldOf(shown.plane, "log_prob"));
    scene.scatter(shown.places, paints(shown, theme.value));
    scene.style(
      "log_prob",
      theme.value,
      { contours: true, relief: true, muted: shown.labels.length > 0 },
      true,
    );
    scene.lookAt(shown.window);
  }
}

export function grown(answer: Arrays): Growth {
  const { step, window, classes } = answer.about as Pick<Growth, "step" | "window" | "classes">;
  const plane = answer.tensors.has("realness") ? understood(answer, "growing", null) : null;
  return {
    step,
    window,
    classes,
    plane,
    places: floats(answer, "xy"),
    labels: answer.tensors.get("labels")?.data ?? [],
  };
}

/** RGBA bytes of every code: by its class, where it has one. */
export function paints({ places, labels, classes }: Growth, theme: Theme): Uint8Array {
  const colours = categories(Math.max(1, classes.length), theme);
  const plain = theme === "dark" ? [1, 1, 1] : [0.1, 0.14, 0.24];
  const bytes = new Uint8Array(2 * places.length);
  for (let k = 0; k < places.length / 2; k++) {
    const rgb = colours[labels[k] ?? -1] ?? plain;
    bytes.set([...rgb.map((v) => Math.round(255 * v)), 240], 4 * k);
  }
  return bytes;
}

/** The map in a sentence or two. */
export function inWords({ step, places, plane }: Growth): string {
  const images = (places.length / 2).toLocaleString("en");
  if (step === null) return texts.grownMap(images);
  return (plane ? texts.growingMap : texts.growingCodes)(images, step.toLocaleString("en"));
}

/** Its size, for those who cannot see it. */
function extent({ window, plane }: Growth): string {
  const width = number(window.right - window.left);
  const heights = plane?.grids.log_prob?.values;
  if (!heights || plane.threshold === null) return texts.extent(width);
  const inside = heights.filter((value) => value >= plane.threshold!).length / heights.length;
  return texts.extentAbove(width, number(100 * inside, 0));
}
