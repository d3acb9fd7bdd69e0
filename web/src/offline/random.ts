/** Random numbers from a seed, so that an address reproduces what was drawn. */

import type { Code } from "../api/backend";

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) >>> 0 || 1; // never 0, where it would stay
    for (let k = 0; k < 8; k++) this.uniform(); // seeds that are near each other part
  }

  /** Uniform in [0, 1): Xorshift RNGs, Marsaglia 2003. */
  uniform(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state / 2 ** 32;
  }

  /** A whole number below `count`. */
  below(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  /** A draw of N(0, I), by the transform of Box and Muller. */
  normal(dimension: number): Code {
    return Array.from(
      { length: dimension },
      () => Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform()),
    );
  }
}
