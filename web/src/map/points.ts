/**
 * Real codes as points: round ones, drawn by WebGL, while they are few; dust where they are many.
 */

import type { Window } from "../api/backend";
import type { Raster } from "../data/cloud";
import { box } from "./density";
import { Dust } from "./dust";
import { attribute, fill, Program, texture, TO_CLIP } from "./gl";

const FEW = 15_000;

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
  colour = vec4(mix(halo, tint.rgb, body), tint.a * mix(0.4, 1.0, body) * all);
}`;

const ACROSS = `
uniform vec2 rows; // in clip coordinates
void main() {
  gl_Position = vec4(float(gl_VertexID & 1) * 2.0 - 1.0, (gl_VertexID >> 1) == 0 ? rows.x : rows.y, 0.0, 1.0);
}`;

const DUST = `
uniform sampler2D dust;
out vec4 colour;
void main() { colour = texelFetch(dust, ivec2(gl_FragCoord.xy), 0); }`;

export class Points {
  private readonly round: Program;
  private readonly across: Program;
  private readonly placed: WebGLBuffer;
  private readonly painted: WebGLBuffer;
  private readonly settled: WebGLTexture;
  private readonly dust = new Dust();
  private places: Float32Array = new Float32Array(0);
  private paints: Uint8Array = new Uint8Array(0);
  private raster: Raster | null = null;
  private drawn = ""; // view and size that the dust was settled for
  private size = ""; // of its texture

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.round = new Program(gl, VERTICES, ROUND);
    this.across = new Program(gl, ACROSS, DUST);
    this.placed = gl.createBuffer();
    this.painted = gl.createBuffer();
    this.settled = texture(gl, "nearest");
  }

  get many(): boolean {
    return this.places.length > 2 * FEW;
  }

  /** Places (n, 2) and colours (n, 4) as bytes. */
  show(places: Float32Array, paints: Uint8Array): void {
    this.places = places;
    if (!this.many) fill(this.gl, this.placed, places);
    this.paint(paints);
  }

  /** Let a raster of all codes stand for the points in its window, where these are many. */
  sum(raster: Raster | null): void {
    this.raster = raster;
    this.drawn = "";
  }

  paint(paints: Uint8Array): void {
    this.paints = paints;
    this.drawn = "";
    if (!this.many) fill(this.gl, this.painted, paints);
  }

  draw(view: Window, width: number, height: number, ratio: number, dark: boolean): void {
    if (!this.places.length) return;
    this.gl.enable(this.gl.BLEND);
    if (this.many) this.asDust(view, width, height, ratio);
    else this.asRounds(view, ratio, dark);
  }

  private asRounds(view: Window, ratio: number, dark: boolean): void {
    const { gl, round } = this;
    const size = (this.places.length < 6_000 ? 6 : 5) * ratio;
    const halo = dark ? 0.04 : 1;
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE);
    round
      .use()
      .set("view", ...box(view))
      .set("size", size)
      .set("halo", halo, halo, halo);
    attribute(gl, round, "xy", this.placed, { size: 2, type: "float" });
    attribute(gl, round, "paint", this.painted, { size: 4, type: "byte" });
    gl.drawArrays(gl.POINTS, 0, this.places.length / 2);
  }

  private asDust(view: Window, width: number, height: number, ratio: number): void {
    const { gl } = this;
    const key = `${box(view).join()}/${width}x${height}`;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.settled);
    if (key !== this.drawn) {
      const side = this.places.length > 800_000 ? ratio : 2 * ratio;
      const bytes = this.dust.settle(
        this.places,
        this.paints,
        view,
        width,
        height,
        Math.max(1, Math.round(side)),
        this.raster,
      );
      this.upload(bytes, width, height);
      this.drawn = key;
    }
    const [first, last] = this.dust.rows;
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.across
      .use()
      .texture("dust", 0, this.settled)
      .set("rows", (2 * first) / height - 1, (2 * last) / height - 1);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /** The rows that have dust: of the others nothing is drawn. */
  private upload(bytes: Uint8Array, width: number, height: number): void {
    const { gl } = this;
    const [first, last] = this.dust.rows;
    if (this.size !== `${width}x${height}`)
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    this.size = `${width}x${height}`;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
    const rows = bytes.subarray(4 * width * first, 4 * width * last);
    if (rows.length)
      gl.texSubImage2D(
        gl.TEXTURE_2D,
        0,
        0,
        first,
        width,
        last - first,
        gl.RGBA,
        gl.UNSIGNED_BYTE,
        rows,
      );
  }
}
