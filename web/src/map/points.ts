/** Real codes as points. */

import type { Window } from "../backend";
import { box } from "./density";
import { attribute, fill, Program, TO_CLIP } from "./gl";

const MANY = 150_000; // above this, points are small squares: software renderers spend their time in large round ones

const VERTICES = `${TO_CLIP}
in vec2 xy;
in vec4 paint;
uniform float size;
out vec4 tint;
void main() {
  gl_Position = vec4(toClip(xy), 0.0, 1.0);
  gl_PointSize = size;
  tint = paint;
}`;

const ROUND = `
uniform float size;
uniform vec3 halo;
in vec4 tint;
out vec4 colour;
void main() {
  float far = length(gl_PointCoord - 0.5) * size;
  float body = 1.0 - smoothstep(0.5 * size - 1.7, 0.5 * size - 0.8, far);
  float all = 1.0 - smoothstep(0.5 * size - 0.9, 0.5 * size, far);
  colour = vec4(mix(halo, tint.rgb, body), tint.a * mix(0.55, 1.0, body) * all);
}`;

const SQUARE = `
in vec4 tint;
out vec4 colour;
void main() { colour = tint; }`;

export class Points {
  private readonly round: Program;
  private readonly square: Program;
  private readonly places: WebGLBuffer;
  private readonly paints: WebGLBuffer;
  private count = 0;

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.round = new Program(gl, VERTICES, ROUND);
    this.square = new Program(gl, VERTICES, SQUARE);
    this.places = gl.createBuffer();
    this.paints = gl.createBuffer();
  }

  /** Places (n, 2) and colours (n, 4) as bytes. */
  show(places: Float32Array, paints: Uint8Array): void {
    fill(this.gl, this.places, places);
    fill(this.gl, this.paints, paints);
    this.count = places.length / 2;
  }

  paint(paints: Uint8Array): void {
    fill(this.gl, this.paints, paints);
  }

  draw(view: Window, size: number, dark: boolean): void {
    const { gl, count } = this;
    if (!count) return;
    const program = count > MANY ? this.square : this.round;
    const halo = dark ? 0.04 : 1;
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE);
    program.use().set("view", ...box(view)).set("size", count > MANY ? Math.max(1, Math.round(size / 3)) : size);
    if (count <= MANY) program.set("halo", halo, halo, halo);
    attribute(gl, program, "xy", this.places, { size: 2, type: "float" });
    attribute(gl, program, "paint", this.paints, { size: 4, type: "byte" });
    gl.drawArrays(gl.POINTS, 0, count);
  }
}
