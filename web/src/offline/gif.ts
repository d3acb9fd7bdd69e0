/** A path as an animated GIF that repeats for ever. */

import { encode } from "modern-gif";

const TALL = 256; // pixels that a frame is high at least
const COLOURS = 255;

/** The frames there and back, in so many seconds one way. */
export async function animation(
  frames: readonly OffscreenCanvas[],
  seconds: number,
): Promise<Blob> {
  const times = Math.max(Math.ceil(TALL / frames[0]!.height), 1);
  const [width, height] = [times * frames[0]!.width, times * frames[0]!.height];
  const context = new OffscreenCanvas(width, height).getContext("2d", {
    willReadFrequently: true,
  })!;
  context.imageSmoothingEnabled = false;
  const drawn = frames.map((frame) => {
    context.drawImage(frame, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  });
  const delay = 10 * Math.max(Math.round((100 * seconds) / frames.length), 2); // a GIF counts in hundredths, and two at least
  const shown = [...drawn, ...drawn.slice(1, -1).reverse()];
  return encode({
    width,
    height,
    maxColors: COLOURS,
    looped: true,
    loopCount: 0,
    frames: shown.map((data) => ({ data, delay })),
    format: "blob",
  });
}
