/** Paths between waypoints by several planners, random walks, traversals and projections. */

import { Refusal } from "../api/backend";
import type { Code } from "../api/backend";
import type { Arrays, Tensor } from "../api/wire";
import { answer, tensor } from "./answer";
import type { OfflineAtlas } from "./atlas";
import { mala, stateAt, tuned } from "./chains";
import type { Target } from "./chains";
import type { Density, Membership } from "./density";
import { geodesic } from "./geodesic";
import type { Geodesic } from "./geodesic";
import { evaluated, pixels } from "./images";
import { project } from "./projection";
import { Random } from "./random";
import { linear, slerp } from "./straight";
import { traverse } from "./traverse";
import { typical } from "./typical";
import type { Middle, Typical } from "./typical";
import { add, distance, dot, flat, resample, rounded, scaled } from "./vectors";
import type { Path } from "./vectors";
import { walk } from "./walk";
import type { Walk } from "./walk";
import { joined } from "./waypoints";

/** A planned leg, and whether its planner converged; null where nothing has to. */
interface Leg {
  readonly points: Path;
  readonly converged: boolean | null;
  /** Whether its frames are left for the page to ask for. */
  readonly bare?: boolean;
}

interface Travel {
  readonly waypoints: readonly Code[];
  readonly planners: readonly string[];
  readonly frames: number;
  readonly closed: boolean;
  readonly preserve?: readonly string[];
  readonly pace?: string;
  readonly images?: boolean;
  readonly options?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export async function travel(
  atlas: OfflineAtlas,
  asked: Travel,
  signal: AbortSignal,
): Promise<Arrays> {
  const { pace = "latent", frames, closed } = asked;
  if (asked.preserve?.length)
    throw new Refusal(
      "keeping a property along a path needs the server; open the run with latent-atlas serve",
      400,
    );
  if (pace !== "latent")
    throw new Refusal(
      "an even change of the pictures needs the server; open the run with latent-atlas serve",
      400,
    );
  const waypoints = atlas.checked(asked.waypoints);
  const visited = closed ? [...waypoints, waypoints[0]!] : waypoints;
  if (visited.length < 2 || frames < visited.length)
    throw new Refusal(`${frames} frames cannot show ${visited.length} waypoints`, 400);
  const same = visited.findIndex(
    (waypoint, k) => k > 0 && distance(waypoint, visited[k - 1]!) === 0,
  );
  if (same > 0)
    throw new Refusal(
      `ends ${same - 1} and ${same} follow each other and are the same code; leave one of them out`,
      400,
    );
  const tensors: Record<string, Tensor | null> = {};
  const about: Record<string, unknown> = {};
  for (const planner of asked.planners) {
    try {
      const began = performance.now();
      const found = {
        ...(await planned(atlas, planner, visited, asked, signal)),
        bare: asked.images === false,
      };
      const told = await describe(
        atlas,
        planner,
        found,
        visited,
        (performance.now() - began) / 1000,
        signal,
      );
      Object.assign(tensors, told.tensors);
      about[planner] = told.facts;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      about[planner] = { error: error.message };
    }
  }
  return answer(tensors, about);
}

async function planned(
  atlas: OfflineAtlas,
  planner: string,
  visited: readonly Code[],
  asked: Travel,
  signal: AbortSignal,
): Promise<Leg> {
  const known = atlas.facts.planners.find((one) => one.name === planner);
  if (!known)
    throw new Refusal(
      `planner '${planner}' needs the server; here are ${atlas.facts.planners.map((one) => one.name).join(", ")}`,
      400,
    );
  const options = Object.fromEntries(known.options.map((option) => [option.name, option.default]));
  for (const [name, value] of Object.entries(asked.options?.[planner] ?? {})) {
    if (!(name in options)) throw new Refusal(`planner '${planner}' has no setting '${name}'`, 400);
    options[name] = value;
  }
  const legs: Leg[] = [];
  for (let k = 1; k < visited.length; k++)
    legs.push(
      await leg(
        atlas.map(signal),
        atlas.facts.folder.middle,
        planner,
        [visited[k - 1]!, visited[k]!],
        asked.frames,
        options,
      ),
    );
  if (legs.length === 1) return legs[0]!;
  const short = legs.find(
    (one, k) =>
      distance(one.points[one.points.length - 1]!, visited[k + 1]!) >
      1e-3 * distance(visited[k]!, visited[k + 1]!),
  );
  if (short)
    throw new Refusal(
      `planner '${planner}' ends short of a waypoint, and a path visits its waypoints exactly; choose a planner that arrives, or let the walk arrive`,
      400,
    );
  const converged = legs.map((one) => one.converged);
  return {
    points: joined(
      legs.map((one) => one.points),
      asked.frames,
    ).points,
    converged: converged.includes(null) ? null : converged.every(Boolean),
  };
}

async function leg(
  map: Density & Membership,
  middle: Middle,
  planner: string,
  [start, end]: readonly [Code, Code],
  frames: number,
  options: Readonly<Record<string, unknown>>,
): Promise<Leg> {
  if (planner === "linear") return { points: linear(start, end, frames), converged: null };
  if (planner === "slerp") return { points: slerp(start, end, frames), converged: null };
  if (planner === "walk") {
    const { points } = await walk(map, start, end, options as unknown as Walk);
    return { points: resample(points, frames), converged: null };
  }
  if (planner === "typical")
    return typical(map, middle, [start, end], options as unknown as Typical, frames);
  const { points, converged } = await geodesic(
    map,
    [start, end],
    options as unknown as Geodesic,
    frames,
  );
  return { points: resample(points, frames), converged };
}

/** The answer for a path: its frames, and the metrics that the library measures. */
async function describe(
  atlas: OfflineAtlas,
  name: string,
  { points, converged, bare = false }: Leg,
  visited: readonly Code[],
  seconds: number,
  signal: AbortSignal,
) {
  const frames = points.map(rounded);
  const d = atlas.facts.dimension;
  const { log_prob: logProb, off_manifold: offManifold } = await evaluated(atlas, frames, signal);
  const steps = frames.slice(1).map((frame, k) => distance(frame, frames[k]!));
  const direct = distance(visited[0]!, visited[visited.length - 1]!);
  const straight = visited
    .slice(1)
    .reduce((sum, waypoint, k) => sum + distance(waypoint, visited[k]!), 0);
  const inner = offManifold ? [...offManifold.data].slice(1, -1) : [];
  const metrics: Record<string, number> = {
    distance_left:
      distance(visited[visited.length - 1]!, frames[frames.length - 1]!) / Math.max(direct, 1e-30),
    length_ratio: steps.reduce((sum, step) => sum + step, 0) / Math.max(straight, 1e-30),
    largest_jump: Math.max(...steps),
    ...(logProb ? { lowest: Math.min(...logProb.data) } : {}),
    ...(inner.length
      ? { off_manifold: inner.reduce((sum, one) => sum + one, 0) / inner.length }
      : {}),
  };
  const warnings =
    converged === false
      ? ["the path did not converge; give more iterations, or a larger tolerance"]
      : [];
  const tensors = {
    [`${name}/points`]: tensor(flat(frames, d), frames.length, d),
    [`${name}/images`]:
      bare && atlas.networks.has("decode") ? null : await pixels(atlas, frames, signal, true),
    [`${name}/log_prob`]: logProb,
    [`${name}/off_manifold`]: offManifold,
  };
  return { tensors, facts: { metrics, converged, seconds, warnings } };
}

async function one(
  atlas: OfflineAtlas,
  name: string,
  found: Leg,
  signal: AbortSignal,
  began: number,
  more: Readonly<Record<string, number>> = {},
): Promise<Arrays> {
  const ends = [found.points[0]!, found.points[found.points.length - 1]!];
  const { tensors, facts } = await describe(
    atlas,
    name,
    found,
    ends,
    (performance.now() - began) / 1000,
    signal,
  );
  return answer(tensors, { [name]: { ...facts, metrics: { ...facts.metrics, ...more } } });
}

interface Traverse {
  readonly start: Code;
  readonly attribute: string | Code;
  readonly by?: number;
  readonly keep?: readonly string[];
  readonly frames?: number;
}

/** A path from one code along an attribute, with others kept. */
export async function follow(
  atlas: OfflineAtlas,
  { start, attribute, by, keep = [], frames = 17 }: Traverse,
  signal: AbortSignal,
): Promise<Arrays> {
  const began = performance.now();
  const map = atlas.density(signal);
  const u =
    typeof attribute === "string" ? atlas.direction(attribute) : atlas.checked([attribute])[0]!;
  if (!by)
    throw new Refusal(`'${String(attribute)}' would not change; say by how much it is to`, 400);
  const unit = scaled(u, 1 / Math.sqrt(dot(u, u)));
  const kept = keep.map((name) => atlas.direction(name));
  const { points, reached } = await traverse(
    map,
    atlas.checked([start])[0]!,
    unit,
    by,
    kept,
    map.threshold(atlas.facts.folder.off_manifold_share),
    frames,
  );
  return one(atlas, "traverse", { points, converged: null }, signal, began, { reached });
}

/** One code projected to high density: where it was, and where it is. */
export async function projection(
  atlas: OfflineAtlas,
  asked: { start: Code; share?: number },
  signal: AbortSignal,
): Promise<Arrays> {
  const began = performance.now();
  const map = atlas.density(signal);
  const [start] = atlas.checked([asked.start]) as [Code];
  const { point, moved, converged } = await project(
    map,
    start,
    map.threshold(asked.share ?? atlas.facts.folder.off_manifold_share),
  );
  return one(atlas, "project", { points: [start, point], converged }, signal, began, { moved });
}

interface RandomWalk {
  readonly start: Code;
  readonly frames?: number;
  readonly stride?: number;
  readonly width?: number;
  readonly tuning?: number;
  readonly seed?: number;
}

/** A random walk on the density around one code. */
export async function randomWalk(
  atlas: OfflineAtlas,
  asked: RandomWalk,
  signal: AbortSignal,
): Promise<Arrays> {
  const { frames = 17, stride = 10, width = 0, tuning = 200, seed = 0 } = asked;
  const began = performance.now();
  const map = atlas.density(signal);
  const level = width ? map.noised(nearestWidth(atlas, width)) : map;
  const target: Target = (codes) => level.slopes(codes);
  const random = new Random(seed);
  const start = atlas.checked([asked.start])[0]!;
  let state = await stateAt(target, [start]);
  const { steps } = await tuned(target, state, tuning, random);
  const points = [start];
  while (points.length < frames) {
    for (let k = 0; k < stride; k++) state = (await mala(target, state, steps, random)).state;
    const [z, score] = [state.codes[0]!, state.score[0]!];
    const mean = add(z, score, width ** 2);
    const [here, there] = await map.logProb([z, mean]);
    points.push(
      (
        await project(
          map,
          there! >= here! ? mean : z,
          map.threshold(atlas.facts.folder.off_manifold_share),
        )
      ).point,
    );
  }
  return one(atlas, "random_walk", { points, converged: null }, signal, began);
}

/** The width of the folder's levels that is nearest to one asked for. */
function nearestWidth(atlas: OfflineAtlas, width: number): number {
  const widths = atlas.facts.folder.levels.map((level) => Math.tan(level.angle));
  return widths.reduce((best, one) =>
    Math.abs(one - width) < Math.abs(best - width) ? one : best,
  );
}
