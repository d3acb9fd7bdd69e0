/** The score, the gradient of the log-density, as a lattice of arrows in the plane. */

import type { Window } from "../api/backend";
import { box } from "./density";
import { attribute, fill, Program, TO_CLIP } from "./gl";

const VERTICES = `${TO_CLIP}
in vec2 corner;   // of an arrow one long that points right
in vec2 xy;
in vec2 along;    // in pixels
uniform vec2 pixel;
void main() {
  float far = length(along);
  vec2 u = along / max(far, 1e-6);
  float width = min(far, 7.0);
  vec2 body = u * (corner.x * far) + vec2(-u.y, u.x) * corner.y * width;
  // the head has the same size whatever the length
  if (corner.x > 1.5) body = u * (far + (corner.x - 2.0) * width) + vec2(-u.y, u.x) * corner.y * width;
  gl_Position = vec4(toClip(xy) + (body - 0.5 * along) * pixel, 0.0, 1.0);
}`;

const FRAGMENTS = `
uniform vec4 ink;
out vec4 colour;
void main() { colour = ink; }`;

// a shaft of two triangles, and a head whose x counts from 2 at the tip
const ARROW = new Float32Array([
  0, -0.09, 1, -0.09, 1, 0.09, 0, -0.09, 1, 0.09, 0, 0.09, 2.25, 0, 1.25, 0.42, 1.25, -0.42,
]);

export class Arrows {
  private readonly program: Program;
  private readonly shape: WebGLBuffer;
  private readonly places: WebGLBuffer;
  private readonly lengths: WebGLBuffer;
  private field: { window: Window; scores: Float32Array; side: number } | null = null;

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.program = new Program(gl, VERTICES, FRAGMENTS);
    this.shape = gl.createBuffer();
    this.places = gl.createBuffer();
    this.lengths = gl.createBuffer();
    fill(gl, this.shape, ARROW);
  }

  /** Scores (k, k, 2) at the centres of equal cells of the window, the bottom row first. */
  show(field: { window: Window; scores: Float32Array; side: number } | null): void {
    this.field = field;
    if (!field) return;
    const { window, side } = field;
    const places = new Float32Array(2 * side * side);
    for (let k = 0; k < side * side; k++) {
      places[2 * k] = window.left + (((k % side) + 0.5) / side) * (window.right - window.left);
      places[2 * k + 1] =
        window.bottom + ((Math.floor(k / side) + 0.5) / side) * (window.top - window.bottom);
    }
    fill(this.gl, this.places, places);
  }

  draw(view: Window, width: number, height: number, ratio: number, dark: boolean): void {
    const { gl, field } = this;
    if (!field) return;
    const cell =
      ((field.window.right - field.window.left) / (view.right - view.left)) * (width / field.side);
    fill(gl, this.lengths, inPixels(field.scores, 0.8 * cell));
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    const ink = dark ? [1, 1, 1, 0.72] : [0.06, 0.1, 0.2, 0.75];
    this.program
      .use()
      .set("view", ...box(view))
      .set("pixel", (2 * ratio) / width, (2 * ratio) / height)
      .set("ink", ...ink);
    attribute(gl, this.program, "corner", this.shape, { size: 2, type: "float" });
    attribute(gl, this.program, "xy", this.places, { size: 2, type: "float", each: 1 });
    attribute(gl, this.program, "along", this.lengths, { size: 2, type: "float", each: 1 });
    gl.drawArraysInstanced(gl.TRIANGLES, 0, ARROW.length / 2, field.side * field.side);
  }
}

/**
 * Arrows no longer than `most` pixels: their length grows with the score up to a typical one, and
 * little beyond.
 */
export function inPixels(scores: Float32Array, most: number): Float32Array {
  const sizes = Array.from({ length: scores.length / 2 }, (_, k) =>
    Math.hypot(scores[2 * k]!, scores[2 * k + 1]!),
  );
  const typical = [...sizes].sort((a, b) => a - b)[Math.floor(sizes.length / 2)] || 1;
  const lengths = new Float32Array(scores.length);
  sizes.forEach((size, k) => {
    const share = size > 0 ? (most * Math.tanh(size / (1.5 * typical))) / size : 0;
    lengths[2 * k] = share * scores[2 * k]!;
    lengths[2 * k + 1] = share * scores[2 * k + 1]!;
  });
  return lengths;
}
