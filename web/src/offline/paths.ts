/**
 * Paths between waypoints by several planners, random walks, traversals and projections; and new
 * samples.
 */

import { Refusal } from "../api/backend";
import type { Code, Settings, Verb } from "../api/backend";
import { floats } from "../api/wire";
import type { Arrays, Tensor } from "../api/wire";
import { answer, tensor } from "./answer";
import type { OfflineAtlas } from "./atlas";
import { mala, stateAt, tuned } from "./chains";
import type { Target } from "./chains";
import { nearest } from "./codes";
import type { Density, Membership } from "./density";
import { geodesic } from "./geodesic";
import type { Geodesic } from "./geodesic";
import { evaluated, pixels } from "./images";
import type { LatentMap } from "./latentmap";
import { project } from "./projection";
import { Random } from "./random";
import { linear, slerp } from "./straight";
import { traverse } from "./traverse";
import { add, distance, dot, flat, resample, rounded, scaled, subtract } from "./vectors";
import type { Path } from "./vectors";
import { walk } from "./walk";
import type { Walk } from "./walk";
import { joined } from "./waypoints";

const MOVES = 60; // of a chain, from a real code on
const TUNING = 60; // of them to find its step
const NEAR = 0.5; // of the codes' spread: how near a sample is to a code, by default

/** A planned leg, and whether its planner converged; null where nothing has to. */
interface Leg {
  readonly points: Path;
  readonly converged: boolean | null;
  /** Whether its frames are left for the page to ask for. */
  readonly bare?: boolean;
}

export function path(
  atlas: OfflineAtlas,
  verb: Verb,
  settings: Settings,
  signal: AbortSignal,
): Promise<Arrays> {
  const asked = settings as never;
  if (verb === "travel") return travel(atlas, asked, signal);
  if (verb === "random_walk") return randomWalk(atlas, asked, signal);
  if (verb === "project") return projection(atlas, asked, signal);
  if (verb === "sample") return sample(atlas, asked, signal);
  return follow(atlas, asked, signal);
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

async function travel(atlas: OfflineAtlas, asked: Travel, signal: AbortSignal): Promise<Arrays> {
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
      await leg(atlas.map(signal), planner, visited[k - 1]!, visited[k]!, asked.frames, options),
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
  planner: string,
  start: Code,
  end: Code,
  frames: number,
  options: Readonly<Record<string, unknown>>,
): Promise<Leg> {
  if (planner === "linear") return { points: linear(start, end, frames), converged: null };
  if (planner === "slerp") return { points: slerp(start, end, frames), converged: null };
  if (planner === "walk") {
    const { points } = await walk(map, start, end, options as unknown as Walk);
    return { points: resample(points, frames), converged: null };
  }
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
    [`${name}/images`]: bare ? null : await pixels(atlas, frames, signal),
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
async function follow(
  atlas: OfflineAtlas,
  { start, attribute, by, keep = [], frames = 17 }: Traverse,
  signal: AbortSignal,
): Promise<Arrays> {
  const began = performance.now();
  const map = dense(atlas, signal);
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
async function projection(
  atlas: OfflineAtlas,
  asked: { start: Code; share?: number },
  signal: AbortSignal,
): Promise<Arrays> {
  const began = performance.now();
  const map = dense(atlas, signal);
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
async function randomWalk(
  atlas: OfflineAtlas,
  asked: RandomWalk,
  signal: AbortSignal,
): Promise<Arrays> {
  const { frames = 17, stride = 10, width = 0, tuning = 200, seed = 0 } = asked;
  const began = performance.now();
  const map = dense(atlas, signal);
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

interface Sample {
  readonly n: number;
  readonly temperature?: number;
  readonly near?: Code;
  readonly width?: number;
  readonly condition?: Readonly<Record<string, unknown>>;
  readonly seed?: number;
}

/**
 * New codes by MALA chains on q(z)^(1/T), or on q(z)^(1/T) N(z; c, w² I) near a code c, from random
 * real codes on, of a class where a condition names one, or of the nearest ones.
 */
async function sample(atlas: OfflineAtlas, asked: Sample, signal: AbortSignal): Promise<Arrays> {
  const { n, temperature = 1, near, seed = 0 } = asked;
  const map = dense(atlas, signal);
  if (!(n >= 1 && n <= atlas.facts.limits.codes))
    throw new Refusal(`${n} samples were asked for; choose 1 to ${atlas.facts.limits.codes}`, 400);
  if (!(temperature > 0))
    throw new Refusal(`the temperature is ${temperature}; choose a number above 0`, 400);
  const random = new Random(seed);
  const width = asked.width ?? NEAR * atlas.facts.spread;
  const target: Target = async (codes) => {
    const { logProb, score } = await map.slopes(codes);
    const away = codes.map((z) => (near ? subtract(z, near) : z.map(() => 0)));
    return {
      logProb: Array.from(
        logProb,
        (value, k) => value / temperature - dot(away[k]!, away[k]!) / (2 * width ** 2),
      ),
      score: score.map((slope, k) =>
        add(scaled(slope, 1 / temperature), away[k]!, -1 / width ** 2),
      ),
    };
  };
  const found = await tuned(
    target,
    await stateAt(target, await starts(atlas, asked, random)),
    TUNING,
    random,
  );
  let state = found.state;
  const chances: number[] = [];
  for (let k = 0; k < MOVES; k++) {
    const moved = await mala(target, state, found.steps, random);
    state = moved.state;
    chances.push(...moved.chance);
  }
  const points = state.codes.map(rounded);
  const warnings = asked.condition
    ? ["the chains start at real images of this class; only the density keeps them in it"]
    : [];
  return answer(
    {
      points: tensor(flat(points, atlas.facts.dimension), n, atlas.facts.dimension),
      images: await pixels(atlas, points, signal),
      ...(await evaluated(atlas, points, signal)),
    },
    {
      info: {
        acceptance: chances.reduce((sum, chance) => sum + chance, 0) / chances.length,
        moves: MOVES,
      },
      warnings,
    },
  );
}

/** Real codes that chains start from. */
async function starts(
  atlas: OfflineAtlas,
  { n, near, condition = {} }: Sample,
  random: Random,
): Promise<Code[]> {
  const [{ tensors }, means] = [await atlas.codes("train"), await atlas.means("train")];
  const d = atlas.facts.dimension;
  let rows = [
    ...(near
      ? nearest(means, atlas.checked([near])[0]!, n).indices
      : Array.from({ length: means.length / d }, (_, k) => k)),
  ];
  for (const [name, value] of Object.entries(condition)) {
    const label = name === "class" ? atlas.facts.classes.indexOf(String(value)) : -1;
    if (label < 0)
      throw new Refusal(
        `samples with ${name} ${String(value)} need the server; open the run with latent-atlas serve`,
        400,
      );
    const labels = tensors.get("labels")!.data;
    if (near) rows = nearest(means, near, means.length / d).indices;
    rows = rows.filter((row) => labels[row] === label);
    if (near) rows = rows.slice(0, n);
  }
  if (!rows.length)
    throw new Refusal("no real code is of this kind, so there is nowhere to start from", 400);
  return Array.from({ length: n }, () => random.below(rows.length)).map((k) =>
    Array.from(floats({ tensors, about: {} }, "means").subarray(rows[k]! * d, (rows[k]! + 1) * d)),
  );
}

function dense(atlas: OfflineAtlas, signal: AbortSignal): LatentMap {
  if (!atlas.facts.has_log_prob)
    throw new Refusal(
      "this map's boundary has no density, so codes cannot be projected or sampled",
      400,
    );
  return atlas.map(signal);
}

/** The width of the folder's levels that is nearest to one asked for. */
function nearestWidth(atlas: OfflineAtlas, width: number): number {
  const widths = atlas.facts.folder.levels.map((level) => Math.tan(level.angle));
  return widths.reduce((best, one) =>
    Math.abs(one - width) < Math.abs(best - width) ? one : best,
  );
}
