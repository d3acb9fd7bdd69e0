/** Planes through Z: the map on every pixel, the score as arrows, and where real codes are. */

import { Refusal } from "../api/backend";
import type { Axes, Code, Part, PlaneRequest, Window } from "../api/backend";
import type { Arrays } from "../api/wire";
import { answer, tensor } from "./answer";
import type { OfflineAtlas } from "./atlas";
import type { LatentMap } from "./latentmap";
import { add, dot, norm, scaled, subtract } from "./vectors";

const PATIENCE = 1.8; // seconds that a plane may take
const LEAST = 32; // pixels along each side
const EXTENT = 0.005; // share of the codes that a window leaves out at either side

export class Planes {
  private speed = 0; // codes a second, as the last plane took; 0 before any

  constructor(private readonly atlas: OfflineAtlas) {}

  /**
   * The map on a plane; with fewer pixels than asked for where this machine would take too long.
   */
  async plane(request: PlaneRequest, signal: AbortSignal): Promise<Arrays> {
    const map = this.atlas.map(signal, request.level);
    const axes = this.axes(request);
    const window = request.window ?? (await this.home(request, axes));
    const affordable = this.speed
      ? Math.floor(Math.sqrt(this.speed * PATIENCE))
      : request.resolution;
    const side = Math.max(
      Math.min(request.resolution, affordable),
      Math.min(LEAST, request.resolution),
    );
    if (!this.speed) await map.read(Float32Array.from(axes.origin)); // the network is fetched now, which is not its speed
    const began = performance.now();
    const { logit, logProb } = await map.read(lifted(axes, window, side));
    const measured = (side * side * 1000) / Math.max(performance.now() - began, 1);
    this.speed = Math.max(measured, 0.8 * this.speed); // other work may have come between
    const arrows =
      request.arrows > 0 && this.atlas.facts.has_log_prob
        ? await scores(map, axes, window, request.arrows)
        : null;
    const calibrated = logit.map((value) => map.calibrated(value));
    const d = this.atlas.facts.dimension;
    return answer(
      {
        log_prob: logProb && tensor(logProb, side, side),
        realness: tensor(calibrated.map(sigmoid), side, side),
        confusion: tensor(calibrated.map(entropy), side, side),
        arrows: arrows && tensor(arrows, request.arrows, request.arrows, 2),
        origin: tensor(Float32Array.from(axes.origin), d),
        axes: tensor(Float32Array.from([...axes.axes[0], ...axes.axes[1]]), 2, d),
      },
      { window, threshold: map.offManifoldThreshold },
    );
  }

  /** Where some real codes are on a plane, and how far from it. */
  async points({ origin, axes }: Axes, part: Part, offset: number, count: number): Promise<Arrays> {
    const d = this.atlas.facts.dimension;
    const means = await this.atlas.means(part);
    const some = means.subarray(offset * d, (offset + count) * d);
    const n = some.length / d;
    const [xy, far] = [new Float32Array(2 * n), new Float32Array(n)];
    for (let k = 0; k < n; k++) {
      let [x, y, square] = [0, 0, 0];
      for (let i = 0; i < d; i++) {
        const from = some[k * d + i]! - origin[i]!;
        x += from * axes[0][i]!;
        y += from * axes[1][i]!;
        square += from * from;
      }
      xy.set([x, y], 2 * k);
      far[k] = Math.sqrt(Math.max(square - x * x - y * y, 0));
    }
    return answer({ xy: tensor(xy, n, 2), distance: tensor(far, n) }, { total: means.length / d });
  }

  private axes({ plane }: PlaneRequest): Axes {
    const { components, mean } = this.atlas.facts.folder;
    if (plane.kind === "through") {
      const [a, b, c] = this.atlas.checked(plane.codes);
      if (!a || !b || !c)
        throw new Refusal(
          `a plane goes through three codes; ${plane.codes.length} were given`,
          400,
        );
      return {
        origin: a,
        axes: spanned(
          subtract(b, a),
          subtract(c, a),
          "the three codes lie on one line, so they span no plane; choose a third one off it",
        ),
      };
    }
    const [x, y] =
      plane.kind === "attributes"
        ? plane.attributes.map((name) => this.atlas.direction(name))
        : components;
    if (!x || !y)
      throw new Refusal(
        "these codes have one coordinate, so they span no plane; there is nothing to draw",
        400,
      );
    return {
      origin: mean,
      axes: spanned(x, y, "the two directions are parallel, so they span no plane; choose others"),
    };
  }

  /** The window that shows what the plane is through, or nearly all of the codes. */
  private async home({ plane }: PlaneRequest, axes: Axes): Promise<Window> {
    if (plane.kind === "through") {
      const places = plane.codes.map((code) =>
        axes.axes.map((axis) => dot(subtract(code, axes.origin), axis)),
      );
      return fitted(
        places.map((place) => place[0]!),
        places.map((place) => place[1]!),
        0,
        0.35,
      );
    }
    const xy = (await this.points(axes, "train", 0, Infinity)).tensors.get("xy")!.data;
    const column = (from: number) =>
      Array.from({ length: xy.length / 2 }, (_, k) => xy[2 * k + from]!).sort((a, b) => a - b);
    return fitted(column(0), column(1), EXTENT, 0.08);
  }
}

/**
 * The square window around sorted or few coordinates but for a share at either end, enlarged on
 * each side by a margin.
 */
function fitted(x: readonly number[], y: readonly number[], share: number, margin: number): Window {
  const [[left, right], [bottom, top]] = [x, y].map((values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const at = (part: number) => sorted[Math.round(part * (sorted.length - 1))]!;
    return [at(share), at(1 - share)];
  }) as [[number, number], [number, number]];
  const half = Math.max(right - left, top - bottom) * (0.5 + margin);
  const [cx, cy] = [(left + right) / 2, (bottom + top) / 2];
  return { left: cx - half, right: cx + half, bottom: cy - half, top: cy + half };
}

/** Two directions brought to length 1 and a right angle. */
function spanned(first: Code, second: Code, parallel: string): [Code, Code] {
  const x = scaled(first, 1 / Math.max(norm(first), 1e-30));
  const across = add(second, x, -dot(second, x));
  if (norm(first) === 0 || norm(across) < 1e-4 * Math.max(norm(second), 1e-4))
    throw new Refusal(parallel, 400);
  return [x, scaled(across, 1 / norm(across))];
}

/** Codes of a grid over a window, bottom row first. */
function lifted({ origin, axes }: Axes, window: Window, side: number): Float32Array {
  const d = origin.length;
  const codes = new Float32Array(side * side * d);
  for (let row = 0; row < side; row++) {
    const y = window.bottom + ((window.top - window.bottom) * row) / (side - 1);
    for (let column = 0; column < side; column++) {
      const x = window.left + ((window.right - window.left) * column) / (side - 1);
      const at = (row * side + column) * d;
      for (let i = 0; i < d; i++) codes[at + i] = origin[i]! + x * axes[0][i]! + y * axes[1][i]!;
    }
  }
  return codes;
}

/** The score at the centres of equal cells, in the plane's axes. */
async function scores(
  map: LatentMap,
  axes: Axes,
  window: Window,
  count: number,
): Promise<Float32Array> {
  const [halfX, halfY] = [
    (window.right - window.left) / count / 2,
    (window.top - window.bottom) / count / 2,
  ];
  const centres = {
    left: window.left + halfX,
    right: window.right - halfX,
    bottom: window.bottom + halfY,
    top: window.top - halfY,
  };
  const d = axes.origin.length;
  const codes = lifted(axes, centres, count);
  const places = Array.from({ length: count * count }, (_, k) =>
    Array.from(codes.subarray(k * d, (k + 1) * d)),
  );
  const { score } = await map.slopes(places);
  return Float32Array.from(
    score.flatMap((slope) => [dot(slope, axes.axes[0]), dot(slope, axes.axes[1])]),
  );
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
/** Binary entropy of sigmoid(l) in bits. */
const entropy = (x: number) => (sigmoid(x) * softplus(-x) + sigmoid(-x) * softplus(x)) / Math.LN2;
