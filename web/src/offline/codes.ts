/** The real codes: what they are, and which are near. */

import type { Code, Part } from "../api/backend";
import type { Arrays, Tensor } from "../api/wire";
import { answer, tensor } from "./answer";
import type { OfflineAtlas } from "./atlas";

/** Some fields of some codes. */
export async function codes(
  atlas: OfflineAtlas,
  part: Part,
  offset: number,
  count: number,
  fields: string,
): Promise<Arrays> {
  const all = (await atlas.codes(part)).tensors;
  const total = all.get("labels")!.shape[0]!;
  const [from, to] = [Math.min(offset, total), Math.min(offset + count, total)];
  const some: Record<string, Tensor> = {};
  for (const name of fields.split(",")) {
    const whole = all.get(name);
    if (!whole) continue;
    const width = whole.data.length / total;
    some[name] = {
      shape: [to - from, ...whole.shape.slice(1)],
      data: whole.data.slice(from * width, to * width),
    };
  }
  return answer(some, { total });
}

/** The real codes nearest to some codes, the nearest first. */
export async function neighbours(
  atlas: OfflineAtlas,
  places: readonly Code[],
  k: number,
  part: Part,
): Promise<Arrays> {
  const means = await atlas.means(part);
  const near = atlas.checked(places).map((place) => nearest(means, place, k));
  const count = near[0]?.indices.length ?? 0;
  return answer({
    indices: tensor(Int32Array.from(near.flatMap((one) => one.indices)), near.length, count),
    distances: tensor(Float32Array.from(near.flatMap((one) => one.distances)), near.length, count),
  });
}

/** Numbers of the k rows nearest to a place, and their distances. */
export function nearest(
  means: Float32Array,
  place: Code,
  k: number,
): { indices: number[]; distances: number[] } {
  const d = place.length;
  const squares = new Float64Array(means.length / d);
  for (let row = 0; row < squares.length; row++) {
    let square = 0;
    for (let i = 0; i < d; i++) square += (means[row * d + i]! - place[i]!) ** 2;
    squares[row] = square;
  }
  const limit = Float64Array.from(squares).sort()[Math.min(k, squares.length) - 1] ?? 0;
  const indices = [...squares.keys()]
    .filter((row) => squares[row]! <= limit)
    .sort((a, b) => squares[a]! - squares[b]!)
    .slice(0, k);
  return { indices, distances: indices.map((row) => Math.sqrt(squares[row]!)) };
}

/**
 * For each of n places the number of an image that no other has: the pairs of a place and an image
 * are taken in the order of their distances. Where there are fewer images, the rest take their
 * nearest; equal places share one.
 */
export function eachOnce(means: Float32Array, places: readonly Code[]): number[] {
  const keys = places.map((place) => place.join());
  const first = [...new Set(keys)].map((key) => keys.indexOf(key));
  const near = first.map((k) => nearest(means, places[k]!, first.length));
  const pairs = near.flatMap(({ indices, distances }, place) =>
    indices.map((row, k) => ({ place, row, distance: distances[k]! })),
  );
  const taken = new Map<number, number>();
  const used = new Set<number>();
  for (const { place, row } of pairs.sort((a, b) => a.distance - b.distance)) {
    if (taken.has(place) || used.has(row)) continue;
    taken.set(place, row);
    used.add(row);
  }
  return keys.map((key) => {
    const place = first.indexOf(keys.indexOf(key));
    return taken.get(place) ?? near[place]!.indices[0]!;
  });
}
