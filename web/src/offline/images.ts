/** Images of codes, and the code of an image. */

import { Refusal } from "../api/backend";
import type { Code, Part } from "../api/backend";
import type { Arrays, Tensor } from "../api/wire";
import { reconstructionErrors, scored } from "./anomaly";
import { answer, tensor } from "./answer";
import type { OfflineAtlas } from "./atlas";
import { eachOnce, nearest } from "./codes";
import { flat, unflat } from "./vectors";

const PIECE = 32; // images at a time

/**
 * What codes decode to, as bytes (n, h, w, c); null where there is no decoder. A collection shows
 * them by its nearest images, along a path each at most once.
 */
export async function pixels(
  atlas: OfflineAtlas,
  places: readonly Code[],
  signal: AbortSignal,
  path = false,
): Promise<Tensor | null> {
  const shape = atlas.facts.image;
  if (!shape) return null;
  if (!atlas.networks.has("decode")) return nearestImages(atlas, places, path);
  const { channels, height, width } = shape;
  const size = channels * height * width;
  const bytes = new Uint8Array(places.length * size);
  for (let from = 0; from < places.length; from += PIECE) {
    const some = places.slice(from, from + PIECE);
    const inputs = {
      latents: {
        data: flat(some, atlas.facts.dimension),
        shape: [some.length, atlas.facts.dimension],
      },
    };
    const planes = (await atlas.networks.run("decode", inputs, signal)).get("images")!;
    for (let k = 0; k < some.length; k++) {
      for (let c = 0; c < channels; c++) {
        const plane = k * size + c * height * width;
        for (let at = 0; at < height * width; at++)
          bytes[(from + k) * size + at * channels + c] = Math.round(
            255 * Math.min(Math.max(planes[plane + at]!, 0), 1),
          );
      }
    }
  }
  return tensor(bytes, places.length, height, width, channels);
}

async function nearestImages(
  atlas: OfflineAtlas,
  places: readonly Code[],
  path: boolean,
): Promise<Tensor> {
  const { means, images } = await atlas.collection();
  return chosen(
    images,
    path
      ? eachOnce(means, places)
      : places.map((place) => nearest(means, place, 1).indices[0]!),
  );
}

/** Some of several images (n, h, w, c), by their numbers. */
function chosen(images: Tensor, rows: readonly number[]): Tensor {
  const shape = images.shape.slice(1);
  const size = shape.reduce((product, side) => product * side, 1);
  const bytes = new Uint8Array(rows.length * size);
  rows.forEach((row, k) =>
    bytes.set(images.data.slice(row * size, (row + 1) * size) as Uint8Array, k * size),
  );
  return tensor(bytes, rows.length, ...shape);
}

/** Images of codes, if there is a decoder, and their log-densities, if there is a density. */
export async function decode(
  atlas: OfflineAtlas,
  places: readonly Code[],
  signal: AbortSignal,
): Promise<Arrays> {
  atlas.checked(places);
  const images = await pixels(atlas, places, signal);
  const evaluation = await evaluated(atlas, places, signal);
  const map = atlas.map(signal);
  const typicality =
    evaluation.log_prob &&
    tensor(
      Float32Array.from(evaluation.log_prob.data, (value) => map.rank(value)),
      places.length,
    );
  return answer({ images, ...evaluation, typicality });
}

/** log q of codes, and which are off-manifold; nothing where there is no density. */
export async function evaluated(
  atlas: OfflineAtlas,
  places: readonly Code[],
  signal: AbortSignal,
): Promise<{ log_prob: Tensor | null; off_manifold: Tensor | null }> {
  const map = atlas.map(signal);
  const threshold = map.offManifoldThreshold;
  if (threshold === null) return { log_prob: null, off_manifold: null };
  const logProb = await map.logProb(places);
  return {
    log_prob: tensor(logProb, places.length),
    off_manifold: tensor(
      Uint8Array.from(logProb, (value) => Number(value < threshold)),
      places.length,
    ),
  };
}

/**
 * Images of real codes as one picture: row by row, with ceil(sqrt(n)) columns and nothing between
 * them. They are decoded, or of a collection its own.
 */
export async function thumbnails(
  atlas: OfflineAtlas,
  part: Part,
  indices: readonly number[],
  size: number,
  signal: AbortSignal,
): Promise<ImageBitmap> {
  const means = await atlas.means(part);
  const d = atlas.facts.dimension;
  const real = (await atlas.codes(part)).tensors.get("images");
  const images = real
    ? chosen(real, indices)
    : await pixels(
        atlas,
        indices.map((row) => Array.from(means.subarray(row * d, (row + 1) * d))),
        signal,
      );
  if (!images)
    throw new Refusal("this atlas has codes and no decoder, so there are no pictures", 400);
  const columns = Math.max(Math.ceil(Math.sqrt(indices.length)), 1);
  const sprite = new OffscreenCanvas(
    columns * size,
    Math.max(Math.ceil(indices.length / columns), 1) * size,
  );
  const context = sprite.getContext("2d")!;
  indices.forEach((_, k) =>
    context.drawImage(
      canvasOf(images, k),
      (k % columns) * size,
      Math.floor(k / columns) * size,
      size,
      size,
    ),
  );
  return sprite.transferToImageBitmap();
}

/** One of several images (n, h, w, c) as a canvas of its size. */
export function canvasOf(images: Tensor, k: number): OffscreenCanvas {
  const [, height, width, channels] = images.shape as [number, number, number, number];
  const canvas = new OffscreenCanvas(width, height);
  const data = new ImageData(width, height);
  const from = k * height * width * channels;
  for (let at = 0; at < height * width; at++) {
    for (let c = 0; c < 3; c++)
      data.data[4 * at + c] = images.data[from + at * channels + (channels < 3 ? 0 : c)]!;
    data.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d")!.putImageData(data, 0, 0);
  return canvas;
}

/** The code and the anomaly scores of an image file: of its middle square, at the model's size. */
export async function encode(
  atlas: OfflineAtlas,
  photo: Blob,
  signal: AbortSignal,
): Promise<Arrays> {
  const shape = atlas.facts.image;
  if (!shape || !atlas.networks.has("encode"))
    throw new Refusal(
      "this folder holds no encoder, so photos cannot be placed on its map; open the run with latent-atlas serve",
      400,
    );
  const { channels, height, width } = shape;
  const image = tensor(
    await squared(photo, atlas.facts.limits.pixels, height, width, channels),
    1,
    height,
    width,
    channels,
  );
  const planes = new Float32Array(channels * height * width);
  for (let c = 0; c < channels; c++) {
    for (let at = 0; at < height * width; at++)
      planes[c * height * width + at] = image.data[at * channels + c]! / 255;
  }
  const found = await atlas.networks.run(
    "encode",
    { images: { data: planes, shape: [1, channels, height, width] } },
    signal,
  );
  const code = unflat(found.get("latents")!, atlas.facts.dimension)[0]!;
  const { off_manifold: offManifold } = await evaluated(atlas, [code], signal);
  const note = atlas.facts.folder.unscored;
  const row =
    note === null
      ? await anomaly(atlas, code, planes, found.get("width")?.[0] ?? null, signal)
      : null;
  const reconstruction = (await pixels(atlas, [code], signal))!;
  return answer(
    {
      code: tensor(Float32Array.from(code), code.length),
      image: { ...image, shape: image.shape.slice(1) },
      reconstruction: { ...reconstruction, shape: reconstruction.shape.slice(1) },
    },
    { anomaly: row, note, off_manifold: offManifold ? !!offManifold.data[0] : null },
  );
}

/** The row of a photo's score: its pixels are planes (c, h, w) in [0, 1]. */
async function anomaly(
  atlas: OfflineAtlas,
  code: Code,
  planes: Float32Array,
  width: number | null,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const latents = { data: Float32Array.from(code), shape: [1, code.length] };
  const decoded = (await atlas.networks.run("decode", { latents }, signal)).get("images")!;
  const differences = reconstructionErrors(planes, decoded, atlas.facts.image!);
  const map = atlas.map(signal);
  const { logit, logProb } = await map.read(latents.data);
  const realness = 1 / (1 + Math.exp(-map.calibrated(logit[0]!)));
  return scored(
    { code, logProb: logProb![0]!, realness, ...differences, width },
    await atlas.scorer(),
  );
}

/** Bytes (h, w, c) of the middle square of a photo; grey where there is one channel. */
async function squared(
  photo: Blob,
  most: number,
  height: number,
  width: number,
  channels: number,
): Promise<Uint8Array> {
  let whole: ImageBitmap;
  try {
    whole = await createImageBitmap(photo);
  } catch {
    throw new Refusal(
      "this file is no image that a browser reads; drop a PNG, a JPEG or a WebP",
      400,
    );
  }
  if (whole.width * whole.height > most)
    throw new Refusal(
      `this image has ${whole.width} × ${whole.height} pixels, too many; make it smaller`,
      413,
    );
  const side = Math.min(whole.width, whole.height);
  const [x, y] = [(whole.width - side) / 2, (whole.height - side) / 2];
  const small = await createImageBitmap(whole, x, y, side, side, {
    resizeWidth: width,
    resizeHeight: height,
    resizeQuality: "high",
  });
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  context.drawImage(small, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const bytes = new Uint8Array(height * width * channels);
  for (let at = 0; at < height * width; at++) {
    const [r, g, b] = [data[4 * at]!, data[4 * at + 1]!, data[4 * at + 2]!];
    if (channels < 3)
      bytes[at * channels] = Math.round(0.299 * r + 0.587 * g + 0.114 * b); // luma of ITU-R BT.601
    else bytes.set([r, g, b], at * channels);
    if (channels % 2 === 0) bytes[at * channels + channels - 1] = 255; // opaque
  }
  return bytes;
}
