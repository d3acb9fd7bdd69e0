/**
 * Very many points, summed up on the processor: every pixel gathers the colours and the opacity of the points in it, as
 * dust that is denser where more of it lies. A million points are a few milliseconds here, where a software renderer
 * takes a microsecond for each vertex, and no order among them decides what is seen.
 */

import type { Window } from "../backend";

const DENSEST = 0.7; // opacity
const OPAQUE = 255 * 16; // sum of opacities from which on nothing more can be told apart

/** What is seen of a sum of opacities, in 0..255, and by what the sum of colours is multiplied for it. */
const SEEN = Float32Array.from({ length: OPAQUE + 1 }, (_, sum) => 255 * DENSEST * (1 - Math.exp(-sum / 255)));
const SHARE = SEEN.map((seen, sum) => (sum ? seen / 255 / sum : 0));

export class Dust {
  /** Rows of the picture that have dust, from the bottom: the first, and the first after the last. */
  rows: readonly [number, number] = [0, 0];
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
    this.clear(width, height);
    const { sums, touched, bytes } = this;
    const scaleX = width / (view.right - view.left);
    const scaleY = height / (view.top - view.bottom);
    const [left, bottom] = [0.5 * (side - 1) + view.left * scaleX, 0.5 * (side - 1) + view.bottom * scaleY];
    let [count, first, last] = [0, height, 0];
    for (let k = 0; k < places.length; k += 2) {
      const x = Math.floor(places[k]! * scaleX - left);
      const y = Math.floor(places[k + 1]! * scaleY - bottom);
      if (x < 0 || y < 0 || x + side > width || y + side > height) continue;
      const opacity = paints[2 * k + 3]!;
      const [red, green, blue] = [paints[2 * k]! * opacity, paints[2 * k + 1]! * opacity, paints[2 * k + 2]! * opacity];
      if (y < first) first = y;
      if (y + side > last) last = y + side;
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
      const share = opacity < OPAQUE ? SHARE[opacity]! : DENSEST / opacity;
      bytes[at] = sums[at]! * share;
      bytes[at + 1] = sums[at + 1]! * share;
      bytes[at + 2] = sums[at + 2]! * share;
      bytes[at + 3] = SEEN[Math.min(opacity, OPAQUE)]!;
    }
    this.rows = [Math.min(first, last), last];
    return bytes;
  }

  private clear(width: number, height: number): void {
    if (this.touched.length !== width * height) {
      this.sums = new Float32Array(4 * width * height);
      this.bytes = new Uint8Array(4 * width * height);
      this.touched = new Int32Array(width * height);
      return;
    }
    const [first, last] = this.rows.map((row) => 4 * row * width) as [number, number];
    this.sums.fill(0, first, last);
    this.bytes.fill(0, first, last);
  }
}
