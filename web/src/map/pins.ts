/**
 * Waypoints as buttons on the map, each with the image that it decodes to; they are dragged,
 * focused, and moved by keys.
 */

import type { Code, Place } from "../api/backend";
import type { Decoded } from "../data/pictures";
import { texts } from "../data/texts";
import { letter, number } from "../data/words";
import { h, picture } from "../ui/dom";
import type { Camera } from "./camera";

export interface Pinned {
  readonly code: Code;
  readonly place: Place;
  readonly distance: number; // from the plane
  readonly decoded: Decoded | undefined;
}

export interface Moves {
  /** A waypoint is at a pixel now; `done` once it is let go. */
  move(index: number, pixel: Place, done: boolean): void;
  choose(index: number): void;
  remove(index: number): void;
}

const STEP = 6;

export class Pins {
  readonly element = h("div", { className: "pins" });
  private pins: { button: HTMLButtonElement; image: Decoded["image"] }[] = [];
  private camera: Camera | null = null;

  constructor(private readonly moves: Moves) {}

  draw(waypoints: readonly Pinned[], chosen: number, camera: Camera, off: number): void {
    this.camera = camera;
    while (this.pins.length > waypoints.length) this.pins.pop()!.button.remove();
    while (this.pins.length < waypoints.length) this.pins.push(this.made(this.pins.length));
    waypoints.forEach((waypoint, index) => {
      const pin = this.pins[index]!;
      const [x, y] = camera.toPixels(waypoint.place);
      pin.button.style.transform = `translate(${x}px, ${y}px)`;
      pin.button.classList.toggle("chosen", index === chosen);
      pin.button.classList.toggle("off-plane", waypoint.distance > off);
      pin.button.classList.toggle("below", y < 90);
      pin.button.classList.toggle("off-manifold", !!waypoint.decoded?.offManifold);
      pin.button.setAttribute("aria-label", labelOf(waypoint, index, off));
      if (waypoint.decoded?.image && waypoint.decoded.image !== pin.image) {
        const { bytes, height, width, channels } = waypoint.decoded.image;
        const canvas = picture(bytes, height, width, channels, "");
        canvas.setAttribute("aria-hidden", "true");
        pin.button.querySelector("canvas")?.remove();
        pin.button.append(canvas);
        pin.image = waypoint.decoded.image;
      }
    });
  }

  focus(index: number): void {
    this.pins[index]?.button.focus();
  }

  private made(index: number): { button: HTMLButtonElement; image: Decoded["image"] } {
    const button = h(
      "button",
      { type: "button", className: "pin" },
      h("span", { className: "disc" }, letter(index)),
    );
    this.element.append(button);
    this.draggable(button, index);
    button.addEventListener("focus", () => this.moves.choose(index));
    button.addEventListener("keydown", (event) => this.key(event, index));
    return { button, image: null };
  }

  private draggable(button: HTMLButtonElement, index: number): void {
    let at: Place | null = null;
    let moved = false;
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.stopPropagation();
      button.setPointerCapture(event.pointerId);
      [at, moved] = [[event.clientX, event.clientY], false];
      this.moves.choose(index);
    });
    button.addEventListener("pointermove", (event) => {
      if (!at) return;
      if (!moved && Math.hypot(event.clientX - at[0], event.clientY - at[1]) < 4) return;
      moved = true;
      this.moves.move(index, this.within(event), false);
    });
    const end = (event: PointerEvent) => {
      if (at && moved) this.moves.move(index, this.within(event), true);
      at = null;
    };
    button.addEventListener("pointerup", end);
    button.addEventListener("pointercancel", end);
  }

  private key(event: KeyboardEvent, index: number): void {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
      event.key
    ];
    if (way && this.camera && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      event.stopPropagation();
      const { x, y } = this.place(index);
      const step = event.shiftKey ? 5 * STEP : STEP;
      this.moves.move(index, [x + way[0]! * step, y + way[1]! * step], true);
    }
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.moves.remove(index);
    }
  }

  private place(index: number): { x: number; y: number } {
    const box = this.element.getBoundingClientRect();
    const disc = this.pins[index]!.button.querySelector(".disc")!.getBoundingClientRect();
    return { x: disc.x + disc.width / 2 - box.x, y: disc.y + disc.height / 2 - box.y };
  }

  private within(event: PointerEvent): Place {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.x, event.clientY - box.y];
  }
}

function labelOf(waypoint: Pinned, index: number, off: number): string {
  const words = [texts.waypoint(letter(index))];
  if (waypoint.decoded?.logProb != null)
    words.push(`${texts.logDensity} ${number(waypoint.decoded.logProb)}`);
  if (waypoint.decoded)
    words.push(waypoint.decoded.offManifold ? texts.offManifold : texts.aboveThreshold);
  if (waypoint.distance > off) words.push(texts.offPlane(number(waypoint.distance)));
  return `${words.join(", ")}. ${texts.pinKeys}`;
}
