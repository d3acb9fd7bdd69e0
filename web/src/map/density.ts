/**
 * The density: a float texture, filtered by hand, coloured by a table, with contours of the
 * log-density upon it.
 */

import type { Window } from "../api/backend";
import { cornersOf, finer } from "../data/grid";
import type { Grid } from "../data/grid";
import type { Field } from "./field";
import { Program, texture } from "./gl";

export interface Look {
  readonly contours: boolean;
  readonly relief: boolean;
  readonly muted: boolean; // greyed, where coloured points lie upon it
  readonly dark: boolean;
}

const FINER = 3;
const FRAGMENTS = `
uniform sampler2D heights; // of each cell, its four corners
uniform sampler2D shown;
uniform float turned;      // 0: what is shown has a texture of its own; 1 or -1: it is this times the height
uniform sampler2D table;
uniform vec4 window;       // left, bottom, width, height of the field
uniform vec4 scale;        // low, middle, share, high
uniform vec4 lines;        // threshold, spacing, whether there is a threshold, whether there are contours
uniform vec4 look;         // relief, muted, dark, nodes a side
uniform vec3 paper;
in vec2 place;
out vec4 colour;

float between(vec4 corners, vec2 share) {
  vec2 rows = mix(corners.xz, corners.yw, share.x);
  return mix(rows.x, rows.y, share.y);
}

float onTable(float value) {
  float below = scale.z * (value - scale.x) / (scale.y - scale.x);
  float above = scale.z + (1.0 - scale.z) * (value - scale.y) / (scale.w - scale.y);
  return clamp(value < scale.y ? below : above, 0.0, 1.0);
}

void main() {
  vec2 at = (place - window.xy) / window.zw * (look.w - 1.0);
  vec2 within = clamp(at, vec2(0.0), vec2(look.w - 1.0));
  vec2 cell = min(floor(within), vec2(look.w - 2.0));
  float height = between(texelFetch(heights, ivec2(cell), 0), within - cell);
  float value = turned != 0.0 ? turned * height : between(texelFetch(shown, ivec2(cell), 0), within - cell);
  float t = onTable(value);
  vec2 slope = vec2(dFdx(height), dFdy(height));
  float steep = max(length(slope), 1e-9); // nats a pixel
  vec3 c = texture(table, vec2((t * 255.0 + 0.5) / 256.0, 0.5)).rgb;
  vec3 grey = vec3(dot(c, vec3(0.3, 0.59, 0.11)));
  c = mix(c, mix(grey, paper, 0.25), 0.72 * look.y);
  // light from the north-west, on slopes measured in contours
  vec2 tilt = slope / max(lines.y, 1e-6) * 22.0;
  float lit = dot(normalize(vec3(-tilt, 1.0)), normalize(vec3(-0.55, 0.6, 1.0))) - 0.774;
  // the sea is flat
  float land = lines.z < 0.5 ? 1.0 : smoothstep(lines.x - lines.y, lines.x + 0.5 * lines.y, height);
  c *= 1.0 + (look.z > 0.5 ? 0.36 : 0.24) * look.x * land * lit;
  float inkDark = look.z > 0.5 ? 1.0 : 0.0;
  vec3 ink = mix(vec3(0.05, 0.1, 0.2), vec3(1.0), inkDark);
  float level = (height - lines.x) / lines.y;
  float near = abs(level - floor(level + 0.5)) * lines.y / steep; // pixels to the nearest contour
  float crowd = 1.0 - smoothstep(0.12, 0.3, steep / lines.y);     // contours closer than a few pixels are left out
  // at sea lines are fainter, and gone where it is deep
  float inside = lines.z < 0.5 || height > lines.x ? 1.0 : 0.5 * smoothstep(scale.x - (scale.y - scale.x), scale.y, height);
  c = mix(c, ink, lines.w * 0.26 * inside * crowd * (1.0 - smoothstep(0.4, 1.2, near)));
  if (lines.z > 0.5) {
    float far = abs(height - lines.x) / steep;
    c = mix(c, mix(vec3(1.0), vec3(0.02, 0.03, 0.06), inkDark), 0.5 * (1.0 - smoothstep(1.8, 3.0, far)));
    c = mix(c, mix(vec3(0.1, 0.16, 0.3), vec3(1.0, 0.98, 0.93), inkDark), 1.0 - smoothstep(0.7, 1.5, far));
  }
  vec2 out_ = max(-at, at - (look.w - 1.0));
  c = mix(c, paper, smoothstep(-0.5, 0.5, max(out_.x, out_.y)));
  colour = vec4(c, 1.0);
}`;

const VERTICES = `
uniform vec4 view;
out vec2 place;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0; // one triangle that covers the canvas
  place = view.xy + corner * view.zw;
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

export class Density {
  private readonly program: Program;
  private readonly heights: WebGLTexture;
  private readonly values: WebGLTexture;
  private readonly colours: WebGLTexture;
  private field: Field | null = null;
  private side = 0;

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.program = new Program(gl, VERTICES, FRAGMENTS);
    this.heights = texture(gl, "nearest");
    this.values = texture(gl, "nearest");
    this.colours = texture(gl, "linear");
  }

  get shown(): boolean {
    return this.field !== null;
  }

  show(field: Field | null): void {
    this.field = field;
    if (!field) return;
    this.side = this.fill(this.heights, field.heights);
    if (typeof field.shown !== "string" && field.shown !== field.heights)
      this.fill(this.values, field.shown);
  }

  /**
   * A texel holds the corners of its cell, so that the shader reads one a pixel: without a graphics
   * card each takes its time.
   */
  private fill(into: WebGLTexture, grid: Grid): number {
    const { gl } = this;
    const fine = finer(grid, FINER);
    gl.bindTexture(gl.TEXTURE_2D, into);
    gl.texImage2D(
      gl.TEXTURE_2D,
      0,
      gl.RGBA32F,
      fine.side - 1,
      fine.side - 1,
      0,
      gl.RGBA,
      gl.FLOAT,
      cornersOf(fine),
    );
    return fine.side;
  }

  /** 256 x 3 bytes. */
  colour(table: Uint8Array): void {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, table);
  }

  draw(view: Window, look: Look, paper: readonly [number, number, number]): void {
    const { gl, field } = this;
    if (!field) return;
    const turned = field.shown === "minus heights" ? -1 : field.shown === field.heights ? 1 : 0;
    const threshold = field.threshold ?? field.low;
    gl.disable(gl.BLEND);
    this.program
      .use()
      .texture("heights", 0, this.heights)
      .texture("shown", 1, turned === 0 ? this.values : this.heights)
      .texture("table", 2, this.colours)
      .set("turned", turned)
      .set("view", ...box(view))
      .set("window", ...box(field.heights.window))
      .set("scale", field.low, field.middle, field.share, field.high)
      .set(
        "lines",
        threshold,
        field.spacing,
        field.threshold === null ? 0 : 1,
        look.contours ? 1 : 0,
      )
      .set("look", look.relief ? 1 : 0, look.muted ? 1 : 0, look.dark ? 1 : 0, this.side)
      .set("paper", ...paper);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

export function box({ left, right, bottom, top }: Window): [number, number, number, number] {
  return [left, bottom, right - left, top - bottom];
}
