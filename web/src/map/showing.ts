/**
 * Which real codes get a picture: those nearest to the plane, as many as do not cover each other.
 */

import type { Place } from "../api/backend";
import type { Codes } from "../data/cloud";
import type { Camera } from "./camera";
import { THUMBNAIL } from "./thumbnails";

const APART = THUMBNAIL + 14; // pixels
const MOST = 256;

export function chooseThumbnails(
  { places, distance }: Pick<Codes, "places" | "distance">,
  camera: Camera,
): number[] {
  const { width, height } = camera.size;
  const cells = new Map<string, Place>();
  const chosen: number[] = [];
  for (const [k, pixel] of nearestFirst(places, distance, camera)) {
    const [column, row] = [Math.floor(pixel[0] / APART), Math.floor(pixel[1] / APART)];
    if (
      pixel[0] < 0 ||
      pixel[1] < 0 ||
      pixel[0] >= width ||
      pixel[1] >= height ||
      crowded(cells, column, row, pixel)
    )
      continue;
    cells.set(`${column},${row}`, pixel);
    chosen.push(k);
    if (chosen.length === MOST) break;
  }
  return chosen;
}

/** Of the codes in view, the best of each small cell, by their distance from the plane. */
function nearestFirst(
  places: Float32Array,
  distance: Float32Array,
  camera: Camera,
): [number, Place][] {
  const { width, height } = camera.size;
  const side = APART / 2;
  const columns = Math.ceil(width / side);
  const best = new Map<number, number>();
  for (let k = 0; k < distance.length; k++) {
    const [x, y] = camera.toPixels([places[2 * k]!, places[2 * k + 1]!]);
    if (x < 0 || y < 0 || x >= width || y >= height) continue;
    const cell = Math.floor(y / side) * columns + Math.floor(x / side);
    const held = best.get(cell);
    if (held === undefined || distance[k]! < distance[held]!) best.set(cell, k);
  }
  return [...best.values()]
    .sort((a, b) => distance[a]! - distance[b]!)
    .map((k) => [k, camera.toPixels([places[2 * k]!, places[2 * k + 1]!])]);
}

function crowded(
  cells: ReadonlyMap<string, Place>,
  column: number,
  row: number,
  [x, y]: Place,
): boolean {
  for (let i = column - 1; i <= column + 1; i++) {
    for (let j = row - 1; j <= row + 1; j++) {
      const other = cells.get(`${i},${j}`);
      if (other && Math.abs(other[0] - x) < APART && Math.abs(other[1] - y) < APART) return true;
    }
  }
  return false;
}
