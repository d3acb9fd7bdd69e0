/** The canvas: what lies on it, from the bottom up, and drawing it when something has changed. */

import type { Window } from "../backend";
import { table } from "../colour/tables";
import type { Theme } from "../colour/tables";
import type { View } from "../state";
import { Arrows } from "./arrows";
import { Density } from "./density";
import type { Field, Look } from "./density";
import { Points } from "./points";
import { Thumbnails } from "./thumbnails";

const PAPER: Record<Theme, [number, number, number]> = { dark: [0.06, 0.075, 0.105], light: [0.955, 0.955, 0.945] };
const FINEST = 2; // device pixels a CSS pixel: more cannot be told apart, and is drawn in software on many machines

export class Scene {
  readonly density: Density;
  readonly points: Points;
  readonly arrows: Arrows;
  readonly thumbnails: Thumbnails;
  private view: Window = { left: -1, right: 1, bottom: -1, top: 1 };
  private look: Look = { contours: true, relief: true, muted: false, dark: true };
  private withPoints = true;
  private waiting = false;

  private constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
  ) {
    this.density = new Density(gl);
    this.points = new Points(gl);
    this.arrows = new Arrows(gl);
    this.thumbnails = new Thumbnails(gl);
    gl.bindVertexArray(gl.createVertexArray());
  }

  /** On this canvas; null where there is no WebGL 2. */
  static on(canvas: HTMLCanvasElement): Scene | null {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: false });
    return gl ? new Scene(canvas, gl) : null;
  }

  show(field: Field | null): void {
    this.density.show(field);
    this.ask();
  }

  dress(view: View, theme: Theme, look: Omit<Look, "dark">, withPoints: boolean): void {
    this.density.colour(table(view, theme));
    this.look = { ...look, dark: theme === "dark" };
    this.withPoints = withPoints;
    this.ask();
  }

  lookAt(view: Window): void {
    this.view = view;
    this.ask();
  }

  resize(width: number, height: number): void {
    const ratio = this.ratio;
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

  /** Milliseconds that one frame takes, its last pixel included. */
  time(): number {
    const begun = performance.now();
    this.draw();
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
    return performance.now() - begun;
  }

  private get ratio(): number {
    return Math.min(devicePixelRatio || 1, FINEST);
  }

  private draw(): void {
    const { gl, look, ratio, view } = this;
    const { width, height } = this.canvas;
    const theme = look.dark ? "dark" : "light";
    gl.viewport(0, 0, width, height);
    gl.clearColor(...PAPER[theme], 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    this.density.draw(view, look, PAPER[theme]);
    if (this.withPoints) this.points.draw(view, 6 * ratio, look.dark);
    this.arrows.draw(view, width, height, ratio, look.dark);
    this.thumbnails.draw(view, width, height, ratio, look.dark);
  }
}
