/** The little of WebGL 2 that the map needs: programs, buffers, textures. */

export class Program {
  readonly program: WebGLProgram;
  private readonly places = new Map<string, WebGLUniformLocation | null>();

  constructor(
    readonly gl: WebGL2RenderingContext,
    vertex: string,
    fragment: string,
  ) {
    this.program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, vertex],
      [gl.FRAGMENT_SHADER, fragment],
    ] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(
        shader,
        `#version 300 es\nprecision highp float;\nprecision highp sampler2D;\n${source}`,
      );
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS))
        throw new Error(gl.getShaderInfoLog(shader) ?? "no shader");
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS))
      throw new Error(gl.getProgramInfoLog(this.program) ?? "no program");
  }

  use(): this {
    this.gl.useProgram(this.program);
    return this;
  }

  set(name: string, ...values: number[]): this {
    if (!this.places.has(name))
      this.places.set(name, this.gl.getUniformLocation(this.program, name));
    const place = this.places.get(name) ?? null;
    const { gl } = this;
    if (values.length === 1) gl.uniform1f(place, values[0]!);
    else if (values.length === 2) gl.uniform2fv(place, values);
    else if (values.length === 3) gl.uniform3fv(place, values);
    else gl.uniform4fv(place, values);
    return this;
  }

  texture(name: string, unit: number, texture: WebGLTexture): this {
    this.gl.activeTexture(this.gl.TEXTURE0 + unit);
    this.gl.bindTexture(this.gl.TEXTURE_2D, texture);
    this.gl.uniform1i(this.gl.getUniformLocation(this.program, name), unit);
    return this;
  }
}

/** Describes one attribute of a buffer that holds nothing else. */
export interface Layout {
  readonly size: number;
  readonly type: "float" | "byte";
  readonly each?: number; // 1: one value per instance
}

export function attribute(
  gl: WebGL2RenderingContext,
  program: Program,
  name: string,
  buffer: WebGLBuffer,
  layout: Layout,
): void {
  const place = gl.getAttribLocation(program.program, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(
    place,
    layout.size,
    layout.type === "float" ? gl.FLOAT : gl.UNSIGNED_BYTE,
    layout.type === "byte",
    0,
    0,
  );
  gl.vertexAttribDivisor(place, layout.each ?? 0);
}

export function fill(
  gl: WebGL2RenderingContext,
  buffer: WebGLBuffer,
  data: Float32Array | Uint8Array,
): void {
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
}

export function texture(gl: WebGL2RenderingContext, filter: "nearest" | "linear"): WebGLTexture {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  const mode = filter === "nearest" ? gl.NEAREST : gl.LINEAR;
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, mode);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, mode);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}

/** A place of the plane in clip coordinates; every vertex shader begins with it. */
export const TO_CLIP = `
uniform vec4 view; // left, bottom, width, height
vec2 toClip(vec2 place) { return 2.0 * (place - view.xy) / view.zw - 1.0; }
`;
