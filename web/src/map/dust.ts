/**
 * Very many points, summed up on the processor: every pixel gathers the colours and the opacity of
 * the points in it, as dust that is denser where more of it lies. A million points are a few
 * milliseconds here, where a software renderer takes a microsecond for each vertex, and no order
 * among them decides what is seen.
 */

import type { Window } from "../api/backend";
import type { Raster } from "../data/cloud";

const DENSEST = 0.7; // opacity
const VEIL = 110; // sum of opacities of a cell with as many codes as the dense ones of its window
const [LEAST, DENSER] = [0.08, 2]; // of a veil, where there is any code, and where they are densest
const OPAQUE = 255 * 16; // sum of opacities from which on nothing more can be told apart

/**
 * What is seen of a sum of opacities, in 0..255, and by what the sum of colours is multiplied for
 * it.
 */
const SEEN = Float32Array.from(
  { length: OPAQUE + 1 },
  (_, sum) => 255 * DENSEST * (1 - Math.exp(-sum / 255)),
);
const SHARE = SEEN.map((seen, sum) => (sum ? seen / 255 / sum : 0));

export class Dust {
  /**
   * Rows of the picture that have dust, from the bottom: the first, and the first after the last.
   */
  rows: readonly [number, number] = [0, 0];
  private opacities = new Float32Array(0);
  private colours = new Float32Array(0); // red, green and blue times opacity, where points have several colours
  private bytes = new Uint8Array(0);
  private several = false;
  private size = "";

  /**
   * Premultiplied RGBA bytes of width x height pixels, the top row last, of points `side` pixels
   * wide.
   *
   * n points of opacity a in a pixel let (1 - a)^n through: about exp(-n a), of which the sum n a
   * is kept. Even the densest dust lets something of the density through.
   *
   * In the window of a raster its counts stand for the points, where these are of one colour: where
   * codes are dense for this window, the veil is as thick in any window.
   */
  settle(
    places: Float32Array,
    paints: Uint8Array,
    view: Window,
    width: number,
    height: number,
    side: number,
    raster: Raster | null = null,
  ): Uint8Array {
    this.clear(width, height);
    this.several = areSeveral(paints);
    if (this.several) raster = null;
    if (this.several && this.colours.length !== 3 * width * height)
      this.colours = new Float32Array(3 * width * height);
    this.rows = this.gather(places, paints, view, width, height, side, raster?.window ?? null);
    if (raster) this.veil(raster, view, width, height);
    const [from, to] = this.rows.map((row) => row * width) as [number, number];
    if (this.several) this.mix(from, to);
    else this.tint(from, to, paints);
    return this.bytes;
  }

  /** Sum up the points in each pixel, and return the rows that have some. */
  private gather(
    places: Float32Array,
    paints: Uint8Array,
    view: Window,
    width: number,
    height: number,
    side: number,
    without: Window | null,
  ): [number, number] {
    const { opacities, colours, several } = this;
    const scaleX = width / (view.right - view.left);
    const scaleY = height / (view.top - view.bottom);
    const [left, bottom] = [
      0.5 * (side - 1) + view.left * scaleX,
      0.5 * (side - 1) + view.bottom * scaleY,
    ];
    let [first, last] = [height, 0];
    for (let k = 0; k < places.length; k += 2) {
      if (without && isWithin(without, places[k]!, places[k + 1]!)) continue;
      const x = Math.floor(places[k]! * scaleX - left);
      const y = Math.floor(places[k + 1]! * scaleY - bottom);
      if (!(x >= 0 && y >= 0 && x + side <= width && y + side <= height)) continue;
      if (y < first) first = y;
      if (y + side > last) last = y + side;
      const opacity = paints[2 * k + 3]!;
      for (let j = 0; j < side; j++) {
        const row = (y + j) * width + x;
        for (let at = row; at < row + side; at++) {
          opacities[at]! += opacity;
          if (!several) continue;
          colours[3 * at]! += opacity * paints[2 * k]!;
          colours[3 * at + 1]! += opacity * paints[2 * k + 1]!;
          colours[3 * at + 2]! += opacity * paints[2 * k + 2]!;
        }
      }
    }
    return [Math.min(first, last), last];
  }

  /** Add the counts of a raster to the pixels of its window. */
  private veil(
    { window, side, counts, usual }: Raster,
    view: Window,
    width: number,
    height: number,
  ): void {
    const cells = (low: number, size: number, from: number, pixel: number, count: number) =>
      Int32Array.from({ length: count }, (_, k) =>
        Math.floor(((from + (k + 0.5) * pixel - low) / size) * side),
      );
    const [wide, high] = [window.right - window.left, window.top - window.bottom];
    const [x, y] = [(view.right - view.left) / width, (view.top - view.bottom) / height];
    const columns = cells(window.left, wide, view.left, x, width);
    const rows = cells(window.bottom, high, view.bottom, y, height);
    let [first, last] = this.rows;
    rows.forEach((row, at) => {
      if (row < 0 || row >= side) return;
      let some = false;
      columns.forEach((column, k) => {
        const count = column < 0 || column >= side ? 0 : counts[row * side + column]!;
        if (!count) return;
        some = true;
        const dense = Math.min(count / usual, DENSER);
        this.opacities[at * width + k]! += Math.round(VEIL * Math.max(dense, LEAST));
      });
      if (some) [first, last] = [Math.min(first, at), Math.max(last, at + 1)];
    });
    this.rows = [Math.min(first, last), last];
  }

  private mix(from: number, to: number): void {
    const { opacities, colours } = this;
    const pixels = new Uint32Array(this.bytes.buffer);
    for (let at = from; at < to; at++) {
      const opacity = opacities[at]!;
      if (opacity === 0) continue;
      const share = opacity < OPAQUE ? SHARE[opacity]! : DENSEST / opacity;
      pixels[at] = packed(
        colours[3 * at]! * share,
        colours[3 * at + 1]! * share,
        colours[3 * at + 2]! * share,
        SEEN[Math.min(opacity, OPAQUE)]!,
      );
    }
  }

  private tint(from: number, to: number, [red = 0, green = 0, blue = 0]: Uint8Array): void {
    const { opacities } = this;
    const pixels = new Uint32Array(this.bytes.buffer);
    for (let at = from; at < to; at++) {
      const opacity = opacities[at]!;
      if (opacity === 0) continue;
      const seen = SEEN[Math.min(opacity, OPAQUE)]!;
      pixels[at] = packed((red * seen) / 255, (green * seen) / 255, (blue * seen) / 255, seen);
    }
  }

  private clear(width: number, height: number): void {
    if (this.size !== `${width}x${height}`) {
      this.size = `${width}x${height}`;
      this.opacities = new Float32Array(width * height);
      this.colours = new Float32Array(0);
      this.bytes = new Uint8Array(4 * width * height);
      return;
    }
    const [first, last] = this.rows.map((row) => row * width) as [number, number];
    this.opacities.fill(0, first, last);
    if (this.several) this.colours.fill(0, 3 * first, 3 * last);
    this.bytes.fill(0, 4 * first, 4 * last);
  }
}

const isWithin = ({ left, right, bottom, top }: Window, x: number, y: number) =>
  x >= left && x < right && y >= bottom && y < top;

/** Four bytes as one number, the red one lowest. */
const packed = (red: number, green: number, blue: number, opacity: number) =>
  red | (green << 8) | (blue << 16) | (opacity << 24);

/** Whether the points differ in more than their opacity: else one sum a pixel will do. */
function areSeveral(paints: Uint8Array): boolean {
  for (let k = 4; k < paints.length; k += 4) {
    if (paints[k] !== paints[0] || paints[k + 1] !== paints[1] || paints[k + 2] !== paints[2])
      return true;
  }
  return false;
}
