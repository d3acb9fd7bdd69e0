/**
 * Photos of the user: dropped, pasted or chosen, encoded, and set as a waypoint with their anomaly
 * scores.
 */

import { attempt } from "../api/attempt";
import { keyOf, offers } from "../api/backend";
import type { Code } from "../api/backend";
import { floats } from "../api/wire";
import type { App } from "./app";
import { imagesOf } from "./pictures";
import { texts } from "./texts";
import { putWaypoint } from "./waypoints";
import { letter } from "./words";

export async function usePhoto(app: App, file: Blob, index?: number): Promise<void> {
  if (!offers(app.about, "photos")) return app.say(texts.noEncoder, "trouble");
  const most = app.about.limits.bytes;
  if (file.size > most)
    return app.say(
      texts.tooLarge((file.size / 1e6).toFixed(1), (most / 1e6).toFixed(0)),
      "trouble",
    );
  app.say(texts.reading);
  const answer = await attempt(app, () => app.backend.encode(file));
  if (!answer) return;
  const code: Code = [...floats(answer, "code")];
  const [image] = imagesOf(answer, "image");
  const [reconstruction] = imagesOf(answer, "reconstruction");
  const anomaly = (answer.about["anomaly"] ?? {}) as Record<string, unknown>;
  app.photos.set(keyOf(code), {
    image: image ?? null,
    reconstruction: reconstruction ?? null,
    shownBy: answer.about["shown_by"] === "nearest" ? texts.nearestImage : texts.itsReconstruction,
    anomaly,
    offManifold: !!answer.about["off_manifold"],
  });
  const place = index ?? app.store.state.waypoints.length;
  putWaypoint(app, code, place);
  app.say(texts.photoPlaced(letter(Math.min(place, app.store.state.waypoints.length - 1))));
}

/** Photos may be dropped anywhere on the page, or pasted. */
export function acceptPhotos(app: App, root: HTMLElement): void {
  let depth = 0;
  const carries = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  root.addEventListener("dragenter", (event) => {
    if (carries(event)) root.classList.toggle("dropping", ++depth > 0);
  });
  root.addEventListener("dragleave", (event) => {
    if (carries(event)) root.classList.toggle("dropping", --depth > 0);
  });
  root.addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  root.addEventListener("drop", (event) => {
    depth = 0;
    root.classList.remove("dropping");
    if (!carries(event)) return;
    event.preventDefault();
    void inTurn(app, [...event.dataTransfer!.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) void inTurn(app, files);
  });
}

async function inTurn(app: App, files: readonly File[]): Promise<void> {
  for (const file of files) await usePhoto(app, file);
}
