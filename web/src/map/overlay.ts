/** What is drawn over the canvas as vectors: the graticule, and the paths with their frames. */

import type { Code, Place } from "../api/backend";
import type { Row } from "../data/paths";
import { stroke } from "../ui/colour/tables";
import { svg } from "../ui/dom";
import { ticks } from "../ui/ticks";
import type { Camera } from "./camera";

const DEGREE = 130; // pixels between lines of the graticule, about
const ZOOMS = 136; // pixels from the top down that the buttons at the right cover

export class Overlay {
  readonly element = svg("svg", { class: "overlay", "aria-hidden": "true" });
  private readonly grid = svg("g", { class: "graticule" });
  private readonly routes = svg("g", { class: "routes" });
  private ruled = ""; // window and size that the graticule is of

  constructor() {
    this.element.append(this.grid, this.routes);
  }

  graticule(camera: Camera): void {
    const { window, size } = camera;
    const ruled = JSON.stringify([window, size]);
    if (ruled === this.ruled) return;
    this.ruled = ruled;
    this.grid.replaceChildren();
    for (const x of ticks(window.left, window.right, size.width / DEGREE)) {
      const [px] = camera.toPixels([x, 0]);
      this.grid.append(svg("line", { x1: px, x2: px, y1: 0, y2: size.height }));
      if (px > size.width - 40) continue; // the number would be cut off at the edge
      this.grid.append(svg("text", { x: px + 4, y: size.height - 6 }, words(x)));
    }
    for (const y of ticks(window.bottom, window.top, size.height / DEGREE)) {
      const [, py] = camera.toPixels([0, y]);
      if (py > size.height - 24) continue; // the corner belongs to the other axis
      this.grid.append(svg("line", { x1: 0, x2: size.width, y1: py, y2: py }));
      if (py > ZOOMS)
        this.grid.append(
          svg("text", { x: size.width - 6, y: py - 4, "text-anchor": "end" }, words(y)),
        );
    }
  }

  /** Paths, with the frame that is selected at a share of each, and the selected code. */
  draw(
    rows: readonly Row[],
    frame: number,
    selected: Code | null,
    camera: Camera,
    project: ((code: Code) => { place: Place; distance: number }) | null,
  ): void {
    this.routes.replaceChildren();
    if (!project) return;
    if (selected) {
      const [cx, cy] = camera.toPixels(project(selected).place);
      for (const name of ["casing", "selected"])
        this.routes.append(svg("circle", { class: name, cx, cy, r: 9 }));
    }
    for (const row of rows) {
      if (!row.result) continue;
      const { colour } = stroke(row.name);
      const dots = row.result.points.map((code) => camera.toPixels(project(code).place));
      if (row.verb !== "sample") this.line(row, dots);
      dots.forEach(([cx, cy], k) => {
        const off = !!row.result!.offManifold[k];
        if (row.verb === "sample")
          this.routes.append(
            svg("rect", {
              class: "draw",
              x: cx - 3.5,
              y: cy - 3.5,
              width: 7,
              height: 7,
              fill: colour,
              transform: `rotate(45 ${cx} ${cy})`,
            }),
          );
        else if (off) this.routes.append(svg("circle", { class: "off", cx, cy, r: 4 }));
        else if (k > 0 && k < dots.length - 1)
          this.routes.append(svg("circle", { class: "dot", cx, cy, r: 2.4, fill: colour }));
      });
      if (row.verb === "sample") continue;
      const now = dots[Math.round(frame * (dots.length - 1))];
      if (now)
        this.routes.append(
          svg("circle", { class: "now", cx: now[0], cy: now[1], r: 6, fill: colour }),
        );
    }
  }

  private line(row: Row, dots: readonly Place[]): void {
    const points = dots.map((dot) => dot.map((v) => v.toFixed(1)).join(",")).join(" ");
    const { colour, dash } = stroke(row.name);
    const dashes = dash ? { "stroke-dasharray": dash } : {};
    this.routes.append(
      svg("polyline", { class: "casing", points }),
      svg("polyline", {
        class: row.pending ? "route pending" : "route",
        points,
        stroke: colour,
        "data-row": row.id,
        ...dashes,
      }),
    );
  }
}

const words = (value: number) => `${value}`.replace("-", "−");
