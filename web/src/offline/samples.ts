/** New codes from the density of the folder. */

import { Refusal } from "../api/backend";
import type { Code } from "../api/backend";
import { floats } from "../api/wire";
import type { Arrays } from "../api/wire";
import { answer, tensor } from "./answer";
import type { OfflineAtlas } from "./atlas";
import { mala, stateAt, tuned } from "./chains";
import type { Target } from "./chains";
import { nearest } from "./codes";
import { evaluated, pixels } from "./images";
import { Random } from "./random";
import { add, dot, flat, rounded, scaled, subtract } from "./vectors";

const MOVES = 60; // of a chain, from a real code on
const TUNING = 60; // of them to find its step
const NEAR = 0.5; // of the codes' spread: how near a sample is to a code, by default

interface Sample {
  readonly n: number;
  readonly temperature?: number;
  readonly near?: Code;
  readonly width?: number;
  readonly where?: Readonly<Record<string, unknown>>;
  readonly seed?: number;
}

/**
 * New codes by MALA chains on q(z)^(1/T), or on q(z)^(1/T) N(z; c, w² I) near a code c, from random
 * real codes on, of a class where a condition names one, or of the nearest ones.
 */
export async function sample(
  atlas: OfflineAtlas,
  asked: Sample,
  signal: AbortSignal,
): Promise<Arrays> {
  const { n, temperature = 1, near, seed = 0 } = asked;
  const map = atlas.density(signal);
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
  const warnings = asked.where
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
  { n, near, where = {} }: Sample,
  random: Random,
): Promise<Code[]> {
  const [{ tensors }, means] = [await atlas.codes("train"), await atlas.means("train")];
  const d = atlas.facts.dimension;
  let rows = [
    ...(near
      ? nearest(means, atlas.checked([near])[0]!, n).indices
      : Array.from({ length: means.length / d }, (_, k) => k)),
  ];
  for (const [name, value] of Object.entries(where)) {
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
