/** What lies under the pointer: the image that this code decodes to, and its log-density. */

import type { Code, Place } from "../api/backend";
import type { App } from "../data/app";
import { read } from "../data/grid";
import { texts } from "../data/texts";
import { number } from "../data/words";
import { Following } from "../state/latest";
import { h, picture } from "../ui/dom";
import type { Camera } from "./camera";

export class Loupe {
  readonly element = h("div", { className: "loupe", hidden: true });
  private readonly frame = h("div", { className: "frame" });
  private readonly words = h("p");
  private readonly asking = new Following();
  private wanted: Code | null = null;

  constructor(private readonly app: App) {
    this.element.setAttribute("aria-hidden", "true"); // a waypoint says the same once it is set
    if (app.about.image) this.element.append(this.frame);
    this.element.append(this.words);
  }

  show(pixel: Place | null, camera: Camera | null): void {
    const { chart } = this.app;
    const plane = chart.plane.value;
    this.element.hidden = !pixel || !plane || !camera;
    this.wanted = null;
    if (!pixel || !plane || !camera) return;
    const place = camera.toPlane(pixel);
    const left = pixel[0] > camera.size.width - 140;
    const up = pixel[1] > camera.size.height - 150;
    this.element.style.transform = `translate(${pixel[0] + (left ? -18 : 18)}px, ${pixel[1] + (up ? -14 : 14)}px) translate(${left ? "-100%" : "0"}, ${up ? "-100%" : "0"})`;
    const logProb = plane.grids.log_prob && read(plane.grids.log_prob, place);
    const realness = plane.grids.realness && read(plane.grids.realness, place);
    const offManifold = logProb != null && plane.threshold !== null && logProb < plane.threshold;
    const parts = [
      logProb != null ? `log q ${number(logProb)}` : "",
      realness != null ? texts.realnessOf(number(realness, 2)) : "",
    ];
    this.words.replaceChildren(
      ...parts.filter(Boolean).map((part) => h("span", {}, part)),
      ...(offManifold ? [h("strong", {}, texts.offManifold)] : []),
    );
    this.element.classList.toggle("off-manifold", offManifold);
    if (!this.app.about.image) return;
    const code = chart.lift(place);
    this.wanted = code;
    this.asking.run(() => this.decode(code));
  }

  private async decode(code: Code): Promise<void> {
    if (this.wanted !== code) return; // the pointer has moved on
    const [decoded] = await this.app.pictures.at([code]).catch(() => []);
    if (!decoded?.image || !this.wanted) return;
    const { bytes, height, width, channels } = decoded.image;
    this.frame.replaceChildren(picture(bytes, height, width, channels, ""));
  }
}
