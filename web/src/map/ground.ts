/**
 * The landscape and its points kept as a picture while it moves. Without a graphics card one drawing takes too long for
 * every frame of a drag, so the picture of a little more than the view is moved and stretched, and drawn anew at rest:
 * first what is seen, and what lies around it in a frame of its own.
 */

import type { Window } from "../backend";
import { box } from "./density";
import { Program, texture, TO_CLIP } from "./gl";

const MARGIN = 0.08; // of each side of the view, in whole pixels
const BLURRED = 1.6; // times that the picture may be stretched or shrunk before it is drawn anew

const VERTICES = `${TO_CLIP}
uniform vec4 held;
out vec2 at;
void main() {
  at = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(toClip(held.xy + at * held.zw), 0.0, 1.0);
}`;

const FRAGMENTS = `
uniform sampler2D ground;
in vec2 at;
out vec4 colour;
void main() { colour = texture(ground, at); }`;

type Paint = (window: Window, width: number, height: number) => void;

type Box = readonly [left: number, bottom: number, width: number, height: number]; // in pixels

export class Ground {
  private readonly program: Program;
  private readonly image: WebGLTexture;
  private readonly target: WebGLFramebuffer;
  private held: Window | null = null; // what the picture is of
  private seen: Window | null = null; // of it what was the view when it was drawn
  private whole = false; // or only what was seen is drawn yet
  private fineness = 1; // pixels of the picture in one unit of the plane
  private size = { width: 0, height: 0 }; // of the view when the picture was drawn

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.program = new Program(gl, VERTICES, FRAGMENTS);
    this.image = texture(gl, "linear");
    this.target = gl.createFramebuffer();
  }

  forget(): void {
    this.held = null;
  }

  /** Draw the view from the picture; `paint` draws a window into a new one where the old will not do. */
  draw(view: Window, width: number, height: number, exact: boolean, paint: Paint): void {
    const { gl } = this;
    if (this.held && this.fits(this.held, view, width, exact)) {
      if (!covers(this.seen!, view)) this.surround(paint);
    } else this.renew(view, width, height, paint);
    if (same(view, this.seen!) && width === this.size.width && height === this.size.height) return this.copy();
    gl.disable(gl.BLEND);
    this.program.use().texture("ground", 0, this.image).set("view", ...box(view)).set("held", ...box(this.held!));
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /** Draw what lies around the view as well, so that a drag finds it there. */
  surround(paint: Paint): void {
    if (!this.held || this.whole) return;
    const { width, height } = this.size;
    const [x, y] = margins(this.size);
    const across = width + 2 * x;
    const boxes: Box[] = [[0, 0, across, y], [0, y + height, across, y], [0, y, x, height], [x + width, y, x, height]];
    this.paint(boxes, paint);
    this.gl.viewport(0, 0, this.gl.drawingBufferWidth, this.gl.drawingBufferHeight);
    this.whole = true;
  }

  private fits(held: Window, view: Window, width: number, exact: boolean): boolean {
    const stretched = width / (view.right - view.left) / this.fineness;
    if (exact) return Math.abs(stretched - 1) < 1e-3 && covers(held, view);
    return stretched < BLURRED && stretched > 1 / BLURRED && (covers(held, view) || stretched < 1);
  }

  private renew(view: Window, width: number, height: number, paint: Paint): void {
    const [x, y] = margins({ width, height });
    this.resize(width, height);
    this.fineness = width / (view.right - view.left);
    const [right, up] = [x / this.fineness, (y * (view.top - view.bottom)) / height];
    this.held = { left: view.left - right, right: view.right + right, bottom: view.bottom - up, top: view.top + up };
    this.seen = view;
    this.whole = false;
    this.paint([[x, y, width, height]], paint);
    this.gl.viewport(0, 0, width, height);
  }

  private resize(width: number, height: number): void {
    if (width === this.size.width && height === this.size.height) return;
    const { gl } = this;
    const [x, y] = margins({ width, height });
    gl.bindTexture(gl.TEXTURE_2D, this.image);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width + 2 * x, height + 2 * y, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    this.size = { width, height };
  }

  private paint(boxes: readonly Box[], paint: Paint): void {
    const { gl } = this;
    const [x, y] = margins(this.size);
    const [w, h] = [this.size.width + 2 * x, this.size.height + 2 * y];
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.image, 0);
    gl.viewport(0, 0, w, h);
    gl.enable(gl.SCISSOR_TEST);
    for (const part of boxes) {
      gl.scissor(...part);
      gl.clear(gl.COLOR_BUFFER_BIT);
      paint(this.held!, w, h);
    }
    gl.disable(gl.SCISSOR_TEST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  /** Pixel by pixel, where the view is what it was when the picture was drawn. */
  private copy(): void {
    const { gl } = this;
    const { width, height } = this.size;
    const [x, y] = margins(this.size);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, this.target);
    gl.blitFramebuffer(x, y, x + width, y + height, 0, 0, width, height, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
  }
}

const margins = ({ width, height }: { width: number; height: number }) => [Math.round(MARGIN * width), Math.round(MARGIN * height)] as const;

const covers = (held: Window, view: Window) => view.left >= held.left && view.right <= held.right && view.bottom >= held.bottom && view.top <= held.top;

const same = (one: Window, other: Window) => one.left === other.left && one.right === other.right && one.bottom === other.bottom && one.top === other.top;
