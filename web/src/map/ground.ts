/**
 * The density and its points kept as a picture while it moves. Without a graphics card one drawing
 * takes too long for every frame of a drag, so the picture of a little more than the view is moved
 * and stretched. Once still, the view itself is drawn anew, and the picture for the next drag once
 * nothing else is to be done.
 */

import type { Window } from "../api/backend";
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

export class Ground {
  private readonly program: Program;
  private readonly image: WebGLTexture;
  private readonly target: WebGLFramebuffer;
  private held: Window | null = null;
  private fineness = 1; // pixels of the picture in one unit of the plane
  private size = "";

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.program = new Program(gl, VERTICES, FRAGMENTS);
    this.image = texture(gl, "linear");
    this.target = gl.createFramebuffer();
  }

  forget(): void {
    this.held = null;
  }

  /**
   * Draw the view from the picture, or, where that will not do: a still view itself, and of one
   * that moves a new picture. `paint` draws a window. Returns whether there is a picture of it.
   */
  draw(view: Window, width: number, height: number, still: boolean, paint: Paint): boolean {
    const { gl } = this;
    if (!this.fits(view, width, still)) {
      if (still) {
        paint(view, width, height);
        return false;
      }
      this.renew(view, width, height, paint);
    }
    gl.disable(gl.BLEND);
    this.program
      .use()
      .texture("ground", 0, this.image)
      .set("view", ...box(view))
      .set("held", ...box(this.held!));
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    return true;
  }

  /** A new picture, of the view and what lies around it. */
  renew(view: Window, width: number, height: number, paint: Paint): void {
    const { gl } = this;
    const [x, y] = [Math.round(MARGIN * width), Math.round(MARGIN * height)];
    this.fineness = width / (view.right - view.left);
    const [right, up] = [x / this.fineness, (y * (view.top - view.bottom)) / height];
    this.held = {
      left: view.left - right,
      right: view.right + right,
      bottom: view.bottom - up,
      top: view.top + up,
    };
    const [w, h] = [width + 2 * x, height + 2 * y];
    gl.bindTexture(gl.TEXTURE_2D, this.image);
    if (this.size !== `${w}x${h}`) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, w, h, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
      this.size = `${w}x${h}`;
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.image, 0);
    gl.viewport(0, 0, w, h);
    gl.clear(gl.COLOR_BUFFER_BIT);
    paint(this.held, w, h);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
  }

  private fits(view: Window, width: number, exact: boolean): boolean {
    if (!this.held) return false;
    const stretched = width / (view.right - view.left) / this.fineness;
    if (exact) return Math.abs(stretched - 1) < 1e-3 && covers(this.held, view);
    return (
      stretched < BLURRED && stretched > 1 / BLURRED && (covers(this.held, view) || stretched < 1)
    );
  }
}

const covers = (held: Window, view: Window) =>
  view.left >= held.left &&
  view.right <= held.right &&
  view.bottom >= held.bottom &&
  view.top <= held.top;
