/**
 * Markov chains that leave a density as it is: MALA, many chains at a time, each with a step of its
 * own.
 */

import type { Code } from "../api/backend";
import type { Random } from "./random";
import { add, dot, scaled, subtract } from "./vectors";

const ACCEPTED = 0.574; // the share at which MALA moves fastest in many dimensions (Roberts and Rosenthal 1998)
const GAIN = 4; // of the steps by which log a follows the acceptance
const FADING = 0.6;

/** log p of each code, up to a constant, and its gradient. */
export type Target = (
  codes: readonly Code[],
) => Promise<{ readonly logProb: ArrayLike<number>; readonly score: readonly Code[] }>;

export interface State {
  readonly codes: readonly Code[];
  readonly logProb: readonly number[];
  readonly score: readonly Code[];
}

export async function stateAt(target: Target, codes: readonly Code[]): Promise<State> {
  const { logProb, score } = await target(codes);
  return { codes, logProb: Array.from(logProb), score };
}

/**
 * One step of every chain: propose z' = z + a grad log p(z) + sqrt(2 a) eps, and go there with
 * probability min(1, p(z') T(z | z') / p(z) T(z' | z)).
 */
export async function mala(
  target: Target,
  state: State,
  steps: readonly number[],
  random: Random,
): Promise<{ state: State; chance: number[] }> {
  const noise = state.codes.map((z) => random.normal(z.length));
  const there = await stateAt(
    target,
    state.codes.map((z, k) =>
      add(add(z, state.score[k]!, steps[k]!), noise[k]!, Math.sqrt(2 * steps[k]!)),
    ),
  );
  const chance = state.codes.map((z, k) => {
    const back = subtract(subtract(z, there.codes[k]!), scaled(there.score[k]!, steps[k]!));
    const ratio =
      there.logProb[k]! -
      state.logProb[k]! -
      dot(back, back) / (4 * steps[k]!) +
      dot(noise[k]!, noise[k]!) / 2;
    return Number.isNaN(ratio) ? 0 : Math.min(1, Math.exp(ratio));
  });
  const goes = chance.map((share) => random.uniform() < share);
  const choose = <T>(before: readonly T[], after: readonly T[]) =>
    goes.map((go, k) => (go ? after : before)[k]!);
  return {
    state: {
      codes: choose(state.codes, there.codes),
      logProb: choose(state.logProb, there.logProb),
      score: choose(state.score, there.score),
    },
    chance,
  };
}

/**
 * A warm-up that finds each chain's step: log a grows by 4 k^-0.6 (acceptance - 0.574), and its
 * mean over the second half is taken.
 */
export async function tuned(
  target: Target,
  state: State,
  count: number,
  random: Random,
): Promise<{ state: State; steps: number[] }> {
  let logs: number[] = state.codes.map(() => 0);
  const sums: number[] = state.codes.map(() => 0);
  const half = Math.floor(count / 2);
  for (let k = 1; k <= count; k++) {
    const moved = await mala(target, state, logs.map(Math.exp), random);
    state = moved.state;
    logs = logs.map((log, i) => log + GAIN * k ** -FADING * (moved.chance[i]! - ACCEPTED));
    if (k > half) logs.forEach((log, i) => (sums[i]! += log));
  }
  return { state, steps: sums.map((sum) => Math.exp(sum / (count - half))) };
}
