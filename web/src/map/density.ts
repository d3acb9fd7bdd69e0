/** The landscape: a float texture, filtered by hand, coloured by a table, with contours of the log-density upon it. */

import type { Window } from "../backend";
import { Program, texture } from "./gl";
import { finer } from "./grid";
import type { Grid } from "./grid";

/** What is drawn, and how its values lie on the colour table: low at 0, middle at `share`, high at 1. */
export interface Field {
  readonly shown: Grid;
  readonly heights: Grid; // of which contours are drawn
  readonly low: number;
  readonly middle: number;
  readonly share: number;
  readonly high: number;
  readonly edge: number | null;
  readonly spacing: number; // of contours
}

export interface Look {
  readonly contours: boolean;
  readonly relief: boolean;
  readonly muted: boolean; // greyed, where coloured points lie upon it
  readonly dark: boolean;
}

const FINER = 3;
const FRAGMENTS = `
uniform sampler2D field;   // shown value, height
uniform sampler2D table;
uniform vec4 window;       // left, bottom, width, height of the field
uniform vec4 scale;        // low, middle, share, high
uniform vec4 lines;        // edge, spacing, whether there is an edge, whether there are contours
uniform vec4 look;         // relief, muted, dark, nodes a side
uniform vec3 paper;
in vec2 place;
out vec4 colour;

vec2 node(ivec2 at) { return texelFetch(field, at, 0).rg; }

vec2 between(vec2 at) {
  ivec2 corner = ivec2(clamp(floor(at), vec2(0.0), vec2(look.w - 2.0)));
  vec2 share = at - vec2(corner);
  vec2 below = mix(node(corner), node(corner + ivec2(1, 0)), share.x);
  vec2 above = mix(node(corner + ivec2(0, 1)), node(corner + ivec2(1, 1)), share.x);
  return mix(below, above, share.y);
}

float onTable(float value) {
  float below = scale.z * (value - scale.x) / (scale.y - scale.x);
  float above = scale.z + (1.0 - scale.z) * (value - scale.y) / (scale.w - scale.y);
  return clamp(value < scale.y ? below : above, 0.0, 1.0);
}

void main() {
  vec2 at = (place - window.xy) / window.zw * (look.w - 1.0);
  vec2 value = between(clamp(at, vec2(0.0), vec2(look.w - 1.0)));
  float t = onTable(value.x);
  vec2 slope = vec2(dFdx(value.y), dFdy(value.y));
  float steep = max(length(slope), 1e-9); // nats a pixel
  vec3 c = texture(table, vec2((t * 255.0 + 0.5) / 256.0, 0.5)).rgb;
  vec3 grey = vec3(dot(c, vec3(0.3, 0.59, 0.11)));
  c = mix(c, mix(grey, paper, 0.25), 0.72 * look.y);
  // light from the north-west, on slopes measured in contours
  vec2 tilt = slope / max(lines.y, 1e-6) * 22.0;
  float lit = dot(normalize(vec3(-tilt, 1.0)), normalize(vec3(-0.55, 0.6, 1.0))) - 0.774;
  // the sea is flat
  float land = lines.z < 0.5 ? 1.0 : smoothstep(lines.x - lines.y, lines.x + 0.5 * lines.y, value.y);
  c *= 1.0 + (look.z > 0.5 ? 0.36 : 0.24) * look.x * land * lit;
  float inkDark = look.z > 0.5 ? 1.0 : 0.0;
  vec3 ink = mix(vec3(0.05, 0.1, 0.2), vec3(1.0), inkDark);
  float level = (value.y - lines.x) / lines.y;
  float near = abs(level - floor(level + 0.5)) * lines.y / steep; // pixels to the nearest contour
  float crowd = 1.0 - smoothstep(0.12, 0.3, steep / lines.y);     // contours closer than a few pixels are left out
  // at sea lines are fainter, and gone where it is deep
  float inside = lines.z < 0.5 || value.y > lines.x ? 1.0 : 0.5 * smoothstep(scale.x - (scale.y - scale.x), scale.y, value.y);
  c = mix(c, ink, lines.w * 0.26 * inside * crowd * (1.0 - smoothstep(0.4, 1.2, near)));
  if (lines.z > 0.5) {
    float far = abs(value.y - lines.x) / steep;
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
  private readonly values: WebGLTexture;
  private readonly colours: WebGLTexture;
  private field: Field | null = null;
  private side = 0;

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.program = new Program(gl, VERTICES, FRAGMENTS);
    this.values = texture(gl, "nearest");
    this.colours = texture(gl, "linear");
  }

  get shown(): boolean {
    return this.field !== null;
  }

  show(field: Field | null): void {
    this.field = field;
    if (!field) return;
    const shown = finer(field.shown, FINER);
    const heights = field.heights === field.shown ? shown : finer(field.heights, FINER);
    const pairs = new Float32Array(2 * shown.values.length);
    for (let k = 0; k < shown.values.length; k++) {
      pairs[2 * k] = shown.values[k]!;
      pairs[2 * k + 1] = heights.values[k]!;
    }
    const { gl } = this;
    this.side = shown.side;
    gl.bindTexture(gl.TEXTURE_2D, this.values);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG32F, this.side, this.side, 0, gl.RG, gl.FLOAT, pairs);
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
    const window = field.shown.window;
    const edge = field.edge ?? field.low;
    gl.disable(gl.BLEND);
    this.program
      .use()
      .texture("field", 0, this.values)
      .texture("table", 1, this.colours)
      .set("view", ...box(view))
      .set("window", ...box(window))
      .set("scale", field.low, field.middle, field.share, field.high)
      .set("lines", edge, field.spacing, field.edge === null ? 0 : 1, look.contours ? 1 : 0)
      .set("look", look.relief ? 1 : 0, look.muted ? 1 : 0, look.dark ? 1 : 0, this.side)
      .set("paper", ...paper);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

export function box({ left, right, bottom, top }: Window): [number, number, number, number] {
  return [left, bottom, right - left, top - bottom];
}
