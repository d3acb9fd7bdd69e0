/** Between places on a plane and pixels of the canvas. Pixels run down, the plane runs up. */

import type { Place, Window } from "../api/backend";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export class Camera {
  constructor(
    readonly window: Window,
    readonly size: Size,
  ) {}

  /** Pixels per unit of the plane, the same along both axes. */
  get scale(): number {
    return this.size.width / (this.window.right - this.window.left);
  }

  toPixels([x, y]: Place): Place {
    return [(x - this.window.left) * this.scale, (this.window.top - y) * this.scale];
  }

  toPlane([x, y]: Place): Place {
    return [this.window.left + x / this.scale, this.window.top - y / this.scale];
  }

  /** The window after dragging by pixels. */
  panned(dx: number, dy: number): Window {
    const { left, right, bottom, top } = this.window;
    const [x, y] = [dx / this.scale, dy / this.scale];
    return { left: left - x, right: right - x, bottom: bottom + y, top: top + y };
  }

  /** The window `factor` times as wide, with the place under a pixel staying under it. */
  zoomed(factor: number, [px, py]: Place): Window {
    const [x, y] = this.toPlane([px, py]);
    const { left, right, bottom, top } = this.window;
    return {
      left: x + (left - x) * factor,
      right: x + (right - x) * factor,
      bottom: y + (bottom - y) * factor,
      top: y + (top - y) * factor,
    };
  }
}

/** The smallest window around this one that has the shape of the canvas. */
export function fitted(window: Window, size: Size): Window {
  const width = window.right - window.left;
  const height = window.top - window.bottom;
  const aspect = size.width / Math.max(size.height, 1);
  const half = Math.max(width, height * aspect) / 2;
  const [x, y] = [(window.left + window.right) / 2, (window.bottom + window.top) / 2];
  return { left: x - half, right: x + half, bottom: y - half / aspect, top: y + half / aspect };
}

/** The window around places, with a margin as a share of its side. */
export function around(places: readonly Place[], margin: number): Window | null {
  if (!places.length) return null;
  const xs = places.map((place) => place[0]);
  const ys = places.map((place) => place[1]);
  const [left, right, bottom, top] = [
    Math.min(...xs),
    Math.max(...xs),
    Math.min(...ys),
    Math.max(...ys),
  ];
  const half = Math.max((right - left) / 2, (top - bottom) / 2, 1e-3) * (1 + 2 * margin);
  const [x, y] = [(left + right) / 2, (bottom + top) / 2];
  return { left: x - half, right: x + half, bottom: y - half, top: y + half };
}
