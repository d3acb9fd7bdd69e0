/**
 * The map: canvas, paths, pins and loupe together, and what clicking and dragging do to the state.
 */

import { attempt } from "../api/attempt";
import { keyOf } from "../api/backend";
import type { Place, Window } from "../api/backend";
import { rows } from "../api/wire";
import type { App } from "../data/app";
import { FINE } from "../data/chart";
import type { Codes } from "../data/cloud";
import { texts } from "../data/texts";
import { putWaypoint, removeWaypoint } from "../data/waypoints";
import { letter, number } from "../data/words";
import { Following, Settled } from "../state/latest";
import { h } from "../ui/dom";
import { around, Camera, fitted } from "./camera";
import type { Size } from "./camera";
import { fieldOf } from "./field";
import { listen } from "./interaction";
import { Legend } from "./legend";
import { Loupe } from "./loupe";
import { Overlay } from "./overlay";
import { paints } from "./paints";
import { Pins } from "./pins";
import { Scene } from "./scene";
import { chooseThumbnails } from "./showing";

const NEAR = 60; // pixels from a click to the real code that it takes
const OFF_PLANE = 0.05; // of the codes' spread: a waypoint further away is drawn hollow

export class MapView {
  readonly element = h("div", { className: "map", tabIndex: 0 });
  readonly legend: HTMLElement;
  readonly scene: Scene | null;
  private readonly canvas = h("canvas", { className: "field" });
  private readonly overlay = new Overlay();
  private readonly pins: Pins;
  private readonly loupe: Loupe;
  private readonly cross = h("div", { className: "cross", hidden: true });
  private readonly decoding = new Following();
  private readonly idle = new Settled(180);
  private size: Size = { width: 1, height: 1 };

  constructor(private readonly app: App) {
    const { element } = this;
    element.setAttribute("role", "application");
    element.setAttribute("aria-label", texts.mapLabel);
    this.scene = Scene.on(this.canvas);
    this.canvas.setAttribute("aria-hidden", "true");
    this.legend = new Legend(app).element;
    this.loupe = new Loupe(app);
    this.pins = new Pins({
      move: (index, pixel, done) => this.drag(index, pixel, done),
      choose: (index) => this.choose(index),
      remove: (index) => removeWaypoint(app, index),
    });
    element.append(
      this.canvas,
      this.overlay.element,
      this.pins.element,
      this.cross,
      this.loupe.element,
    );
    if (!this.scene) element.append(h("p", { className: "missing" }, texts.noWebGL));
    this.canvas.addEventListener("webglcontextlost", () => app.say(texts.lostGraphics, "trouble"));
    listen(element, {
      camera: () => this.camera(),
      look: (window) => app.store.look({ window }),
      home: () => this.home(),
      put: (pixel, other) => void this.put(pixel, other),
      hover: (pixel) => this.hover(pixel),
      cursor: (pixel) => this.point(pixel),
    });
    this.follow();
  }

  /**
   * The window that is seen: the state's, or the one proposed for the plane, in the canvas's shape.
   */
  view(): Window | null {
    const window = this.app.store.state.window ?? this.proposed();
    return window && fitted(window, this.size);
  }

  camera(): Camera | null {
    const window = this.view();
    return window && new Camera(window, this.size);
  }

  home(): void {
    this.app.store.look({ window: null });
  }

  zoom(factor: number): void {
    const camera = this.camera();
    if (camera)
      this.app.store.look({
        window: camera.zoomed(factor, [this.size.width / 2, this.size.height / 2]),
      });
  }

  private proposed(): Window | null {
    const { chart, cloud, store } = this.app;
    if (store.state.plane.kind === "through" && chart.plane.value && chart.home.value) {
      const corners = [...store.state.plane.codes, ...store.state.waypoints].map((code) =>
        chart.project(code),
      );
      return around(
        corners.filter(({ distance }) => distance < 1e-2).map(({ place }) => place),
        0.3,
      );
    }
    if (store.state.plane.kind !== "embedding")
      return chart.home.value && around(cornersOf(chart.home.value), 0.04);
    const places = cloud.codes.value?.places;
    return places
      ? around(
          Array.from(
            { length: places.length / 2 },
            (_, k) => [places[2 * k]!, places[2 * k + 1]!] as const,
          ).slice(0, 5_000),
          0.06,
        )
      : null;
  }

  private follow(): void {
    const { app } = this;
    new ResizeObserver(() => this.resize()).observe(this.element);
    app.chart.plane.listen((plane) => {
      this.scene?.show(plane && fieldOf(plane, app.store.state.view));
      this.scene?.arrows.show(plane?.arrows ?? null);
      if (plane) this.place();
      const { part } = app.store.state;
      if (plane && plane.side >= FINE) app.cloud.count(plane.axes, part, plane.window);
      this.draw();
    });
    app.cloud.codes.listen((codes) => {
      if (!codes || !this.scene) return;
      this.scene.scatter(codes.places, this.paints(codes));
      this.draw();
    });
    app.cloud.raster.listen((raster) => this.scene?.sum(raster));
    app.cloud.facts.listen(() => this.repaint());
    app.theme.listen(() => (this.style(), this.repaint()));
    app.paths.rows.listen(() => this.draw());
    app.selection.listen(() => this.draw());
    app.store.listen((now, before) => {
      if (now.view !== before.view && app.chart.plane.value)
        this.scene?.show(fieldOf(app.chart.plane.value, now.view));
      if (now.plane !== before.plane && now.plane.kind === "embedding") void this.embed();
      const plane = app.chart.plane.value;
      if (plane && (now.part !== before.part || now.points !== before.points)) this.place();
      if (plane && now.part !== before.part) app.cloud.count(plane.axes, now.part, plane.window);
      if (now.points !== before.points) this.repaint();
      this.style();
      this.draw();
    });
    this.style();
  }

  /** Bring the codes onto the plane: the first of them where a raster shows all. */
  private place(near = false): void {
    const { chart, cloud, store } = this.app;
    const { part, points } = store.state;
    const coloured = points === "label" || points === "typicality";
    const whole = near || coloured || !cloud.sampled(part);
    if (chart.plane.value) void cloud.place(chart.plane.value.axes, part, whole);
  }

  /** Show the projection, or the plane again where there is none. */
  async embed(): Promise<void> {
    const { store, cloud } = this.app;
    if (!(await cloud.embed()) && store.state.plane.kind === "embedding")
      store.look({ plane: { kind: "principal" } });
  }

  private resize(): void {
    const { width, height } = this.element.getBoundingClientRect();
    if (!width || !height) return;
    this.size = { width, height };
    this.scene?.resize(width, height);
    this.app.chart.refresh();
    this.draw();
  }

  private style(): void {
    const { state } = this.app.store;
    const embedded = state.plane.kind === "embedding";
    const muted = !embedded && (state.points === "label" || state.points === "typicality");
    this.scene?.style(
      state.view,
      this.app.theme.value,
      { contours: state.contours, relief: state.relief, muted },
      state.points !== "none",
    );
  }

  private repaint(): void {
    const codes = this.app.cloud.codes.value;
    if (codes) this.scene?.paint(this.paints(codes));
  }

  private paints(codes: Codes): Uint8Array {
    const { about, cloud, store, theme } = this.app;
    return paints(
      codes,
      cloud.facts.value.get(codes.part),
      store.state.points,
      about.classes.length,
      theme.value,
    );
  }

  private draw(): void {
    const camera = this.camera();
    const { app, scene } = this;
    if (!camera) return;
    scene?.lookAt(camera.window);
    this.overlay.graticule(camera);
    const selected = app.selection.value;
    const onPlane = app.chart.plane.value && app.store.state.plane.kind !== "embedding";
    this.overlay.draw(
      app.paths.rows.value,
      app.store.state.frame,
      selected?.waypoint === undefined ? (selected?.code ?? null) : null,
      camera,
      onPlane ? (code) => app.chart.project(code) : null,
    );
    this.pin(camera);
    this.idle.run((signal) => this.illustrate(camera, signal));
  }

  private pin(camera: Camera): void {
    const { app } = this;
    const { waypoints, chosen, plane } = app.store.state;
    if (plane.kind === "embedding" || !app.chart.plane.value)
      return this.pins.draw([], 0, camera, 0);
    const pinned = waypoints.map((code) => ({
      code,
      ...app.chart.project(code),
      decoded: app.pictures.known(code),
    }));
    this.pins.draw(pinned, chosen, camera, OFF_PLANE * app.about.spread + 1e-3);
    if (pinned.some((waypoint) => !waypoint.decoded)) {
      this.decoding.run(async () => {
        const places = await attempt(app, () => app.pictures.at(app.store.state.waypoints));
        if (places) this.draw();
      });
    }
  }

  /** Images of real codes, once the view is near and no longer moves. */
  private async illustrate(camera: Camera, signal: AbortSignal): Promise<void> {
    const { app, scene } = this;
    if (!scene) return;
    const home = this.proposed();
    const codes = app.cloud.codes.value;
    const near =
      home &&
      camera.window.right - camera.window.left <
        0.62 * (fitted(home, this.size).right - fitted(home, this.size).left);
    const { pictures, points } = app.store.state;
    if (near) this.place(true);
    if (!app.about.image || !codes || !near || !pictures || points === "none") {
      if (scene.thumbnails.shown) (scene.thumbnails.show(null), scene.ask());
      delete this.element.dataset["pictures"];
      return;
    }
    const chosen = chooseThumbnails(codes, camera);
    if (!chosen.length) return;
    const image = await attempt(app, () => app.backend.thumbnails(codes.part, chosen, 64, signal));
    if (!image || signal.aborted) return;
    scene.thumbnails.show({
      image,
      places: Float32Array.from(
        chosen.flatMap((k) => [codes.places[2 * k]!, codes.places[2 * k + 1]!]),
      ),
    });
    this.element.dataset["pictures"] = `${chosen.length}`;
    scene.ask();
  }

  private async put(pixel: Place, other: boolean): Promise<void> {
    const { app } = this;
    const camera = this.camera();
    if (!camera) return;
    const embedded = app.store.state.plane.kind === "embedding";
    if (!embedded && app.store.state.snap === other)
      return void (
        app.chart.plane.value && putWaypoint(app, app.chart.lift(camera.toPlane(pixel)))
      );
    const index = app.cloud.nearest(camera.toPlane(pixel), NEAR / camera.scale);
    const codes = app.cloud.codes.value;
    if (index === null || !codes) return app.say(texts.noCodeNear, "news");
    const answer = await attempt(app, () => app.backend.codes(codes.part, index, 1, "means"));
    if (answer) putWaypoint(app, rows(answer, "means")[0]!);
  }

  private drag(index: number, pixel: Place, done: boolean): void {
    const { app } = this;
    const camera = this.camera();
    if (!camera || !app.chart.plane.value) return;
    const waypoints = app.store.state.waypoints.map((waypoint, k) =>
      k === index ? app.chart.lift(camera.toPlane(pixel)) : waypoint,
    );
    app.store[done ? "change" : "drag"]({ waypoints, chosen: index });
    app.selection.set({
      code: waypoints[index]!,
      title: texts.waypoint(letter(index)),
      waypoint: index,
    });
  }

  private choose(index: number): void {
    const { app } = this;
    const code = app.store.state.waypoints[index];
    if (!code) return;
    if (app.store.state.chosen !== index) app.store.look({ chosen: index });
    const now = app.selection.value;
    if (now?.waypoint !== index || keyOf(now.code) !== keyOf(code))
      app.selection.set({ code, title: texts.waypoint(letter(index)), waypoint: index });
  }

  private hover(pixel: Place | null): void {
    const camera = this.camera();
    this.loupe.show(
      pixel && camera && this.app.store.state.plane.kind !== "embedding" ? pixel : null,
      camera,
    );
  }

  private point(pixel: Place | null): void {
    this.cross.hidden = !pixel;
    if (pixel) this.cross.style.transform = `translate(${pixel[0]}px, ${pixel[1]}px)`;
    this.hover(pixel);
    const camera = this.camera();
    if (pixel && camera) {
      const [x, y] = camera.toPlane(pixel);
      this.element.setAttribute("aria-description", texts.cursorAt(number(x, 2), number(y, 2)));
    }
  }
}

const cornersOf = ({ left, right, bottom, top }: Window): Place[] => [
  [left, bottom],
  [right, top],
];
