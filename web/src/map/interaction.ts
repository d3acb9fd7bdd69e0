/** Pointers, wheel and keys on the map, told as what they mean. */

import type { Place, Window } from "../api/backend";
import type { Camera } from "./camera";

export interface Meanings {
  camera(): Camera | null;
  look(window: Window): void;
  home(): void;
  /** Set a waypoint here; `other` where the way of placing it that is not chosen is meant. */
  put(pixel: Place, other: boolean): void;
  hover(pixel: Place | null): void;
  cursor(pixel: Place | null): void;
}

const STILL = 5; // pixels that a click may move
const STEP = 16;

export function listen(element: HTMLElement, to: Meanings): void {
  pointers(element, to);
  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      zoom(
        to,
        Math.exp(Math.max(-0.5, Math.min(0.5, event.deltaY * lines * 0.0016))),
        within(element, event),
      );
    },
    { passive: false },
  );
  keys(element, to);
}

function pointers(element: HTMLElement, to: Meanings): void {
  const down = new Map<number, Place>();
  let start: Place | null = null;
  let dragging = false;
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target !== element) return;
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, within(element, event));
    if (down.size === 1) [start, dragging] = [within(element, event), false];
  });
  element.addEventListener("pointermove", (event) => {
    const now = within(element, event);
    const before = down.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") to.hover(event.target === element ? now : null);
      return;
    }
    if (!dragging && start && distance(now, start) < STILL && down.size === 1) return;
    dragging = true;
    to.hover(null);
    const camera = to.camera();
    if (camera && down.size === 1) to.look(camera.panned(now[0] - before[0], now[1] - before[1]));
    if (camera && down.size === 2) {
      const other = [...down].find(([id]) => id !== event.pointerId)![1];
      zoom(to, distance(before, other) / Math.max(distance(now, other), 1), other);
    }
    down.set(event.pointerId, now);
  });
  const up = (event: PointerEvent) => {
    if (!down.delete(event.pointerId)) return;
    if (!dragging && event.type === "pointerup") to.put(within(element, event), event.shiftKey);
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", () => to.hover(null));
}

function keys(element: HTMLElement, to: Meanings): void {
  let cursor: Place | null = null;
  const move = (place: Place | null) => {
    cursor = place;
    to.cursor(place);
  };
  element.addEventListener("blur", () => move(null));
  element.addEventListener("pointerdown", () => move(null));
  element.addEventListener("keydown", (event) => {
    if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) return;
    const camera = to.camera();
    if (!camera) return;
    const { width, height } = camera.size;
    const at = cursor ?? [width / 2, height / 2];
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
      event.key
    ];
    if (way) {
      const step = event.shiftKey ? 4 * STEP : STEP;
      const [x, y] = [at[0] + way[0]! * step, at[1] + way[1]! * step];
      const kept: Place = [
        Math.min(Math.max(x, 24), width - 24),
        Math.min(Math.max(y, 24), height - 24),
      ];
      if (kept[0] !== x || kept[1] !== y) to.look(camera.panned(kept[0] - x, kept[1] - y));
      move(kept);
    } else if (event.key === "Enter" || event.key === " ") to.put(at as Place, event.shiftKey);
    else if (event.key === "+" || event.key === "=") zoom(to, 1 / 1.25, at as Place);
    else if (event.key === "-" || event.key === "_") zoom(to, 1.25, at as Place);
    else if (event.key === "0") to.home();
    else if (event.key === "Escape") move(null);
    else return;
    event.preventDefault();
  });
}

function zoom(to: Meanings, factor: number, pixel: Place): void {
  const camera = to.camera();
  if (camera) to.look(camera.zoomed(factor, pixel));
}

function within(element: HTMLElement, event: MouseEvent): Place {
  const box = element.getBoundingClientRect();
  return [event.clientX - box.x, event.clientY - box.y];
}

const distance = (a: Place, b: Place) => Math.hypot(a[0] - b[0], a[1] - b[1]);
