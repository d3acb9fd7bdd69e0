/** Pictures of real codes where they lie, as textured quads cut from one sprite. */

import type { Window } from "../api/backend";
import { box } from "./density";
import { attribute, fill, Program, texture, TO_CLIP } from "./gl";

const VERTICES = `${TO_CLIP}
in vec2 xy;
in float cell;
uniform vec2 pixel;
uniform vec4 sprite; // columns, rows, side in pixels, frame in pixels
out vec2 within;
out vec2 cut;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  within = corner;
  float row = floor(cell / sprite.x);
  cut = (vec2(cell - row * sprite.x, row) + vec2(corner.x, 1.0 - corner.y)) / sprite.xy;
  gl_Position = vec4(toClip(xy) + (corner - 0.5) * sprite.z * pixel, 0.0, 1.0);
}`;

const FRAGMENTS = `
uniform sampler2D pictures;
uniform vec4 sprite;
uniform vec3 rim;
in vec2 within;
in vec2 cut;
out vec4 colour;
void main() {
  vec2 near = min(within, 1.0 - within) * sprite.z;
  float frame = step(min(near.x, near.y), sprite.w);
  colour = vec4(mix(texture(pictures, cut).rgb, rim, frame), 1.0);
}`;

export interface Sheet {
  readonly places: Float32Array; // (n, 2)
  readonly image: ImageBitmap;
}

export class Thumbnails {
  private readonly program: Program;
  private readonly places: WebGLBuffer;
  private readonly cells: WebGLBuffer;
  private readonly pictures: WebGLTexture;
  private sheet: Sheet | null = null;

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.program = new Program(gl, VERTICES, FRAGMENTS);
    this.places = gl.createBuffer();
    this.cells = gl.createBuffer();
    this.pictures = texture(gl, "linear");
  }

  get shown(): boolean {
    return this.sheet !== null;
  }

  show(sheet: Sheet | null): void {
    this.sheet = sheet;
    if (!sheet) return;
    const { gl } = this;
    fill(gl, this.places, sheet.places);
    fill(
      gl,
      this.cells,
      Float32Array.from({ length: sheet.places.length / 2 }, (_, k) => k),
    );
    gl.bindTexture(gl.TEXTURE_2D, this.pictures);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, sheet.image);
  }

  draw(view: Window, width: number, height: number, ratio: number, dark: boolean): void {
    const { gl, sheet } = this;
    if (!sheet) return;
    const count = sheet.places.length / 2;
    const columns = Math.ceil(Math.sqrt(count));
    const rim = dark ? 0.92 : 1;
    gl.disable(gl.BLEND);
    this.program
      .use()
      .texture("pictures", 0, this.pictures)
      .set("view", ...box(view))
      .set("pixel", 2 / width, 2 / height)
      .set("sprite", columns, Math.ceil(count / columns), THUMBNAIL * ratio, ratio)
      .set("rim", rim, rim, rim);
    attribute(gl, this.program, "xy", this.places, { size: 2, type: "float", each: 1 });
    attribute(gl, this.program, "cell", this.cells, { size: 1, type: "float", each: 1 });
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  }
}

/** Side of a picture on the map, in CSS pixels. */
export const THUMBNAIL = 34;
