/** The canvas: what lies on it, from the bottom up, and drawing it when something has changed. */

import type { Window } from "../api/backend";
import type { Raster } from "../data/cloud";
import type { Theme, View } from "../state/state";
import { table } from "../ui/colour/tables";
import { Arrows } from "./arrows";
import { Density } from "./density";
import type { Look } from "./density";
import type { Field } from "./field";
import { Ground } from "./ground";
import { Points } from "./points";
import { Thumbnails } from "./thumbnails";

const PAPER: Record<Theme, [number, number, number]> = {
  dark: [0.06, 0.075, 0.105],
  light: [0.955, 0.955, 0.945],
};
const FINEST = 2; // device pixels a CSS pixel: more cannot be told apart
const SLOW = 14; // milliseconds for the density, above which it is kept as a picture while it moves
const IDLE = 160; // milliseconds without a move

export class Scene {
  private readonly density: Density;
  private readonly points: Points;
  readonly arrows: Arrows;
  readonly thumbnails: Thumbnails;
  private view: Window = { left: -1, right: 1, bottom: -1, top: 1 };
  private look: Look = { contours: true, relief: true, muted: false, dark: true };
  private withPoints = true;
  private styled = "";
  private waiting = false;
  private readonly ground: Ground;
  private slow: boolean | null = null;
  private moving = false;
  private resting: ReturnType<typeof setTimeout> | undefined;
  private preparing: ReturnType<typeof setTimeout> | undefined;

  private constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
  ) {
    this.density = new Density(gl);
    this.ground = new Ground(gl);
    this.points = new Points(gl);
    this.arrows = new Arrows(gl);
    this.thumbnails = new Thumbnails(gl);
    gl.bindVertexArray(gl.createVertexArray());
  }

  /** On this canvas; null where there is no WebGL 2. */
  static on(canvas: HTMLCanvasElement): Scene | null {
    const gl = canvas.getContext("webgl2", {
      alpha: false,
      antialias: false,
      depth: false,
      preserveDrawingBuffer: false,
    });
    return gl ? new Scene(canvas, gl) : null;
  }

  show(field: Field | null): void {
    this.density.show(field);
    this.ground.forget();
    this.ask();
  }

  /** Put points on the density: places (n, 2), and colours (n, 4) as bytes. */
  scatter(places: Float32Array, paints: Uint8Array): void {
    this.points.show(places, paints);
    this.ground.forget();
    this.ask();
  }

  /** Sum up all codes, of which the points are a sample; null where they are all. */
  sum(raster: Raster | null): void {
    this.points.sum(raster);
    this.ground.forget();
    this.ask();
  }

  paint(paints: Uint8Array): void {
    this.points.paint(paints);
    this.ground.forget();
    this.ask();
  }

  style(view: View, theme: Theme, look: Omit<Look, "dark">, withPoints: boolean): void {
    const styled = JSON.stringify([view, theme, look, withPoints]);
    if (styled === this.styled) return;
    this.styled = styled;
    this.density.colour(table(view, theme));
    this.look = { ...look, dark: theme === "dark" };
    this.withPoints = withPoints;
    this.ground.forget();
    this.ask();
  }

  lookAt(view: Window): void {
    if (JSON.stringify(view) === JSON.stringify(this.view)) return;
    this.move();
    this.view = view;
    this.ask();
  }

  resize(width: number, height: number): void {
    const ratio = this.ratio;
    this.move();
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.draw();
  }

  /** Draw before the next frame is shown. */
  ask(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  /**
   * Milliseconds that one frame takes, its last pixel included: of a view moved to, or, `anew`, of
   * a still one.
   */
  time(view = this.view, anew = false): number {
    this.lookAt(view);
    if (anew) {
      this.ground.forget();
      this.settle();
    }
    const begun = performance.now();
    this.draw();
    this.finish();
    return performance.now() - begun;
  }

  /**
   * Whether the density takes too long to be drawn anew for each frame; measured once there is one.
   */
  private isSlow(): boolean {
    if (this.slow !== null) return this.slow;
    if (!this.density.shown) return false;
    const begun = performance.now();
    this.density.draw(this.view, this.look, PAPER[this.theme]);
    this.finish();
    this.slow = performance.now() - begun > SLOW;
    return this.slow;
  }

  private move(): void {
    this.moving = true;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.settle();
      this.ask();
    }, IDLE);
  }

  private settle(): void {
    clearTimeout(this.resting);
    this.moving = false;
  }

  /** Wait for the last pixel. */
  private finish(): void {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  private get ratio(): number {
    return this.slow ? 1 : Math.min(devicePixelRatio || 1, FINEST);
  }

  private get theme(): Theme {
    return this.look.dark ? "dark" : "light";
  }

  private readonly render = (window: Window, width: number, height: number): void => {
    this.density.draw(window, this.look, PAPER[this.theme]);
    if (this.withPoints) this.points.draw(window, width, height, this.ratio, this.look.dark);
  };

  /** Once nothing has changed for a while, make the picture that the next drag will move. */
  private prepare(): void {
    clearTimeout(this.preparing);
    this.preparing = setTimeout(
      () =>
        this.moving ||
        this.ground.renew(this.view, this.canvas.width, this.canvas.height, this.render),
      IDLE,
    );
  }

  private draw(): void {
    const { gl, look, ratio, view } = this;
    const { width, height } = this.canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(...PAPER[this.theme], 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.isSlow()) this.render(view, width, height);
    else if (!this.ground.draw(view, width, height, !this.moving, this.render)) this.prepare();
    this.arrows.draw(view, width, height, ratio, look.dark);
    this.thumbnails.draw(view, width, height, ratio, look.dark);
  }
}
