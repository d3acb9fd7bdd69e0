/**
 * Very many points, summed up on the processor: every pixel gathers the colours and the opacity of the points in it, as
 * dust that is denser where more of it lies. A million points are a few milliseconds here, where a software renderer
 * takes a microsecond for each vertex, and no order among them decides what is seen.
 */

import type { Window } from "../backend";

const DENSEST = 0.7; // opacity

export class Dust {
  private sums = new Float32Array(0); // red, green, blue times opacity, and opacity
  private bytes = new Uint8Array(0);
  private touched = new Int32Array(0);

  /**
   * Premultiplied RGBA bytes of width x height pixels, the top row last, of points `side` pixels wide.
   *
   * n points of opacity a in a pixel let (1 - a)^n through: about exp(-n a), of which the sum n a is kept. Even the
   * densest dust lets something of the land through.
   */
  settle(places: Float32Array, paints: Uint8Array, view: Window, width: number, height: number, side: number): Uint8Array {
    this.clear(width * height);
    const { sums, touched, bytes } = this;
    const scaleX = width / (view.right - view.left);
    const scaleY = height / (view.top - view.bottom);
    let count = 0;
    for (let k = 0; k < places.length; k += 2) {
      const x = Math.floor((places[k]! - view.left) * scaleX - 0.5 * (side - 1));
      const y = Math.floor((places[k + 1]! - view.bottom) * scaleY - 0.5 * (side - 1));
      if (x < 0 || y < 0 || x + side > width || y + side > height) continue;
      const opacity = paints[2 * k + 3]!;
      const [red, green, blue] = [paints[2 * k]! * opacity, paints[2 * k + 1]! * opacity, paints[2 * k + 2]! * opacity];
      for (let j = 0; j < side; j++) {
        for (let i = 0; i < side; i++) {
          const at = 4 * ((y + j) * width + x + i);
          if (sums[at + 3] === 0) touched[count++] = at;
          sums[at]! += red;
          sums[at + 1]! += green;
          sums[at + 2]! += blue;
          sums[at + 3]! += opacity;
        }
      }
    }
    for (let k = 0; k < count; k++) {
      const at = touched[k]!;
      const opacity = sums[at + 3]!;
      const seen = DENSEST * (1 - Math.exp(-opacity / 255));
      const share = seen / opacity;
      bytes[at] = sums[at]! * share;
      bytes[at + 1] = sums[at + 1]! * share;
      bytes[at + 2] = sums[at + 2]! * share;
      bytes[at + 3] = 255 * seen;
    }
    return bytes;
  }

  private clear(pixels: number): void {
    if (this.touched.length !== pixels) {
      this.sums = new Float32Array(4 * pixels);
      this.bytes = new Uint8Array(4 * pixels);
      this.touched = new Int32Array(pixels);
      return;
    }
    this.sums.fill(0);
    this.bytes.fill(0);
  }
}
