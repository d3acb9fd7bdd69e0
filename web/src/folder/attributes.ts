/** What a journey can keep: properties a(z) of a code, of one number or several, each with its gradient. */

import type { Code } from "../backend";
import type { Density } from "./density";
import type { Path } from "./vectors";
import { add, dot, norm, scaled, subtract } from "./vectors";

/** Of each code its values, and the gradient of each. */
export interface Read {
  readonly values: readonly (readonly number[])[];
  readonly slopes: readonly (readonly Code[])[];
}

export interface Bounds {
  readonly lower: readonly number[];
  readonly upper: readonly number[];
}

export interface Attribute {
  readonly name: string;
  read(codes: Path): Promise<Read>;
  /** Between which values a journey from here keeps it. */
  bounds(start: Code, tolerance: number): Promise<Bounds>;
}

/** a(z_A) ± tolerance. */
async function around(attribute: Attribute, start: Code, tolerance: number): Promise<Bounds> {
  const values = (await attribute.read([start])).values[0]!;
  return { lower: values.map((value) => value - tolerance), upper: values.map((value) => value + tolerance) };
}

/** a(z) = <z, u>. */
export class Direction implements Attribute {
  private readonly unit: Code;

  constructor(
    vector: Code,
    readonly name: string,
  ) {
    this.unit = scaled(vector, 1 / norm(vector));
  }

  async read(codes: Path): Promise<Read> {
    return { values: codes.map((z) => [dot(z, this.unit)]), slopes: codes.map(() => [this.unit]) };
  }

  bounds(start: Code, tolerance: number): Promise<Bounds> {
    return around(this, start, tolerance);
  }
}

/** a(z) = log q(z): to be in the population is an attribute that is bounded from below. */
export class LogDensity implements Attribute {
  readonly name = "log q";

  constructor(private readonly density: Density) {}

  async read(codes: Path): Promise<Read> {
    const { logProb, score } = await this.density.slopes(codes);
    return { values: Array.from(logProb, (value) => [value]), slopes: score.map((slope) => [slope]) };
  }

  async bounds(_: Code, floor: number): Promise<Bounds> {
    return { lower: [floor], upper: [Infinity] };
  }
}

/** f(z) = W_3 s(W_2 s(W_1 (z - m) / c + b_1) + b_2) + b_3 with s(h) = h sigmoid(h); see `travel/probes.py`. */
export class Network {
  constructor(
    private readonly mean: Code,
    private readonly scale: Code,
    private readonly layers: readonly { readonly weight: Path; readonly bias: Code }[],
  ) {}

  /** f(z), and the gradient of each of its values. */
  at(z: Code): { values: number[]; slopes: Code[] } {
    let hidden: Code = z.map((x, i) => (x - this.mean[i]!) / this.scale[i]!);
    const bends: Code[] = []; // s'(h) before each layer but the first
    this.layers.forEach(({ weight, bias }, layer) => {
      if (layer) {
        bends.push(hidden.map((h) => sigmoid(h) * (1 + h * (1 - sigmoid(h)))));
        hidden = hidden.map((h) => h * sigmoid(h));
      }
      hidden = weight.map((row, i) => dot(row, hidden) + bias[i]!);
    });
    const slopes = hidden.map((_, output) => {
      let back: Code = this.layers.at(-1)!.weight[output]!;
      for (let layer = this.layers.length - 2; layer >= 0; layer--) back = through(this.layers[layer]!.weight, back.map((b, i) => b * bends[layer]![i]!));
      return back.map((b, i) => b / this.scale[i]!);
    });
    return { values: [...hidden], slopes };
  }
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Wᵀ v. */
function through(weight: Path, v: Code): Code {
  const sum = new Array<number>(weight[0]!.length).fill(0);
  weight.forEach((row, i) => row.forEach((x, j) => (sum[j]! += v[i]! * x)));
  return sum;
}

/** a_c(z) = log p(c|z) / (1 - p(c|z)), of every class. To keep it is to keep the likeliest class of A above the margin. */
export class ClassOdds implements Attribute {
  readonly name = "class";

  constructor(
    private readonly network: Network,
    private readonly margin: number,
  ) {}

  async read(codes: Path): Promise<Read> {
    const all = codes.map((z) => this.network.at(z)).map(({ values, slopes }) => odds(values, slopes));
    return { values: all.map((one) => one.values), slopes: all.map((one) => one.slopes) };
  }

  async bounds(start: Code): Promise<Bounds> {
    const { values } = this.network.at(start);
    const kept = values.indexOf(Math.max(...values));
    return { lower: values.map((_, c) => (c === kept ? this.margin : -Infinity)), upper: values.map(() => Infinity) };
  }
}

/** The log-odds of one class. */
export class OneClass implements Attribute {
  constructor(
    private readonly all: ClassOdds,
    private readonly number: number,
    readonly name: string,
  ) {}

  async read(codes: Path): Promise<Read> {
    const { values, slopes } = await this.all.read(codes);
    return { values: values.map((one) => [one[this.number]!]), slopes: slopes.map((one) => [one[this.number]!]) };
  }

  bounds(start: Code, tolerance: number): Promise<Bounds> {
    return around(this, start, tolerance);
  }
}

/** f_c - log Σ_{o ≠ c} exp f_o, and its gradient, of every class. */
function odds(logits: readonly number[], slopes: readonly Code[]): { values: number[]; slopes: Code[] } {
  const found = logits.map((logit, c) => {
    const others = logits.map((other, o) => (o === c ? -Infinity : other));
    const top = Math.max(...others);
    const weights = others.map((other) => Math.exp(other - top));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const rest = slopes.reduce<Code>((sum, slope, o) => add(sum, slope, weights[o]! / total), slopes[c]!.map(() => 0));
    return { value: logit - top - Math.log(total), slope: subtract(slopes[c]!, rest) };
  });
  return { values: found.map((one) => one.value), slopes: found.map((one) => one.slope) };
}
