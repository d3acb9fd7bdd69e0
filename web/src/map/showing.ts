/** Which real codes get a picture: one a cell of the screen, the one nearest to the plane. */

import type { Codes } from "../cloud";
import type { Camera } from "./camera";

const CELL = 58; // pixels
const MOST = 256;

export function chooseThumbnails({ places, distance }: Pick<Codes, "places" | "distance">, camera: Camera): number[] {
  const { width, height } = camera.size;
  const columns = Math.ceil(width / CELL);
  const best = new Map<number, number>();
  for (let k = 0; k < distance.length; k++) {
    const [x, y] = camera.toPixels([places[2 * k]!, places[2 * k + 1]!]);
    if (x < 0 || y < 0 || x >= width || y >= height) continue;
    const cell = Math.floor(y / CELL) * columns + Math.floor(x / CELL);
    const held = best.get(cell);
    if (held === undefined || distance[k]! < distance[held]!) best.set(cell, k);
  }
  return [...best.values()].slice(0, MOST);
}
