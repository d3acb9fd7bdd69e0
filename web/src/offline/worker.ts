/** The worker: it holds the atlas of the folder, and answers what the page would ask a server. */

import { Gone, Refusal } from "../api/backend";
import type { Axes, Code, Format, Part, PlaneRequest, Settings, Verb } from "../api/backend";
import type { Arrays } from "../api/wire";
import { OfflineAtlas } from "./atlas";
import { codes, neighbours } from "./codes";
import { fileOf } from "./files";
import { decode, encode, thumbnails } from "./images";
import type { Asked, FromWorker, ToWorker } from "./messages";
import { follow, projection, randomWalk, travel } from "./paths";
import { sample } from "./samples";
import { Planes } from "./planes";

let opened: Promise<{ atlas: OfflineAtlas; planes: Planes }>;
const running = new Map<number, AbortController>();

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if ("open" in data)
    opened = OfflineAtlas.open(data.open).then((atlas) => ({ atlas, planes: new Planes(atlas) }));
  else if ("cancel" in data) running.get(data.cancel)?.abort();
  else void answered(data.id, data.verb, data.given);
});

async function answered(id: number, verb: Asked, given: readonly unknown[]): Promise<void> {
  const control = new AbortController();
  running.set(id, control);
  try {
    const answer = await done(verb, given, control.signal);
    say({ id, answer }, transferred(answer));
  } catch (error) {
    if (control.signal.aborted) return; // nobody waits for it
    const sentence = error instanceof Error ? error.message : String(error);
    say(
      error instanceof Gone
        ? { id, gone: sentence }
        : { id, refused: sentence, status: error instanceof Refusal ? error.status : 500 },
    );
  } finally {
    running.delete(id);
  }
}

async function done(verb: Asked, given: readonly unknown[], signal: AbortSignal): Promise<unknown> {
  const { atlas, planes } = await opened;
  switch (verb) {
    case "about":
      return atlas.facts;
    case "plane":
      return planes.plane(...(given as [PlaneRequest]), signal);
    case "points":
      return planes.points(...(given as [Axes, Part, number, number]));
    case "codes":
      return codes(atlas, ...(given as [Part, number, number, string]));
    case "thumbnails":
      return thumbnails(atlas, ...(given as [Part, number[], number]), signal);
    case "encode":
      return encode(atlas, ...(given as [Blob]), signal);
    case "decode":
      return decode(atlas, ...(given as [Code[]]), signal);
    case "compute":
      return computed(atlas, ...(given as [Verb, Settings]), signal);
    case "neighbours":
      return neighbours(atlas, ...(given as [Code[], number, Part]));
    case "overview":
      return atlas.overview();
    case "export":
      return fileOf(atlas, ...(given as [Code[], Format, number]), signal);
    case "progress":
    case "growth":
    case "embedding":
    case "membership":
      throw new Refusal("this needs the server; open the run with latent-atlas serve", 404);
  }
}

/** A path or samples. */
function computed(
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

/** What need not be copied on its way to the page. */
function transferred(answer: unknown): Transferable[] {
  if (answer instanceof ImageBitmap) return [answer];
  const tensors = (answer as Partial<Arrays>).tensors;
  return tensors
    ? [...new Set([...tensors.values()].map((tensor) => tensor.data.buffer as ArrayBuffer))]
    : [];
}

function say(message: FromWorker, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}
