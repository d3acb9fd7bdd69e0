/**
 * A path as a file: its numbers as JSON, a strip of its frames with the log-densities as PNG, or an
 * animation as GIF.
 */

import { Refusal } from "../api/backend";
import type { Code, Format } from "../api/backend";
import type { OfflineAtlas } from "./atlas";
import { animation } from "./gif";
import { canvasOf, evaluated, pixels } from "./images";

const LEAST = 64; // pixels of a frame
const GAP = 6;
const CURVE = 90; // pixels of the curve's height
const INK = { paper: "#ffffff", line: "#1f3b73", threshold: "#8a8f98", offManifold: "#c2410c" };

export async function fileOf(
  atlas: OfflineAtlas,
  points: readonly Code[],
  format: Format,
  seconds: number,
  signal: AbortSignal,
): Promise<Blob> {
  const { log_prob: logProb, off_manifold: offManifold } = await evaluated(
    atlas,
    atlas.checked(points),
    signal,
  );
  if (format === "json") {
    const numbers = {
      points,
      ...(logProb
        ? { log_prob: Array.from(logProb.data, (value) => (Number.isFinite(value) ? value : null)) }
        : {}),
    };
    return new Blob([JSON.stringify(numbers, null, 2)], { type: "application/json" });
  }
  if (format !== "png" && format !== "gif")
    throw new Refusal(
      `a .${format} needs the server; choose GIF, PNG or JSON here, or open the run with latent-atlas serve`,
      400,
    );
  const images = await pixels(atlas, points, signal, true);
  if (!images)
    throw new Refusal(
      "this atlas has codes and no decoder, so there is nothing to picture; choose JSON",
      400,
    );
  const frames = points.map((_, k) => canvasOf(images, k));
  if (format === "gif") return animation(frames, seconds);
  return strip(frames, logProb?.data, offManifold?.data, atlas.facts.threshold).convertToBlob({
    type: "image/png",
  });
}

/**
 * The frames side by side, off-manifold ones outlined, and below them log q with the density
 * threshold.
 */
function strip(
  frames: readonly OffscreenCanvas[],
  logProb: ArrayLike<number> | undefined,
  offManifold: ArrayLike<number> | undefined,
  threshold: number | null,
): OffscreenCanvas {
  const times = Math.max(Math.ceil(LEAST / frames[0]!.width), 1);
  const [width, height] = [times * frames[0]!.width, times * frames[0]!.height];
  const canvas = new OffscreenCanvas(
    frames.length * (width + GAP) + GAP,
    height + 2 * GAP + (logProb ? CURVE + GAP : 0),
  );
  const context = canvas.getContext("2d")!;
  context.fillStyle = INK.paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  const left = (k: number) => GAP + k * (width + GAP);
  frames.forEach((frame, k) => {
    if (offManifold?.[k]) {
      context.fillStyle = INK.offManifold;
      context.fillRect(left(k) - 3, GAP - 3, width + 6, height + 6);
    }
    context.drawImage(frame, left(k), GAP, width, height);
  });
  if (!logProb) return canvas;
  const values = [
    ...Array.from(logProb).filter(Number.isFinite),
    ...(threshold === null ? [] : [threshold]),
  ];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const y = (value: number) =>
    height +
    2 * GAP +
    CURVE * (1 - (Math.max(value, low) - low) / Math.max(high - low, 1e-9)) * 0.9 +
    0.05 * CURVE;
  if (threshold !== null)
    line(
      context,
      INK.threshold,
      [4, 4],
      [
        [0, y(threshold)],
        [canvas.width, y(threshold)],
      ],
    );
  line(
    context,
    INK.line,
    [],
    Array.from(logProb, (value, k) => [left(k) + width / 2, y(value)]),
  );
  return canvas;
}

function line(
  context: OffscreenCanvasRenderingContext2D,
  colour: string,
  dashes: number[],
  places: readonly (readonly [number, number] | number[])[],
): void {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.setLineDash(dashes);
  context.beginPath();
  places.forEach(([x, y], k) => (k ? context.lineTo(x!, y!) : context.moveTo(x!, y!)));
  context.stroke();
}
