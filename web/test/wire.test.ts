import { describe, expect, it } from "vitest";
import { floats, readArrays, rows, WireError } from "../src/api/wire";

/** A safetensors file of float32 and bytes, written by hand after the format's description. */
function written(
  arrays: Record<string, Float32Array | Uint8Array>,
  shapes: Record<string, number[]>,
  about: object,
): ArrayBuffer {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: { json: JSON.stringify(about) } };
  for (const [name, data] of Object.entries(arrays)) {
    const dtype = data instanceof Float32Array ? "F32" : "U8";
    header[name] = { dtype, shape: shapes[name], data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const buffer = new ArrayBuffer(8 + text.length + offset);
  new DataView(buffer).setBigUint64(0, BigInt(text.length), true);
  new Uint8Array(buffer, 8).set(text);
  let at = 8 + text.length;
  for (const data of Object.values(arrays)) {
    new Uint8Array(buffer, at).set(new Uint8Array(data.buffer));
    at += data.byteLength;
  }
  return buffer;
}

describe("safetensors", () => {
  const file = written(
    { u: Uint8Array.of(7, 8, 9), xy: Float32Array.of(1, -2, 3.5, 4) },
    { u: [3], xy: [2, 2] },
    { threshold: -3 },
  );

  it("reads arrays at any alignment, and what is said beside them", () => {
    const read = readArrays(file);
    expect([...floats(read, "xy")]).toEqual([1, -2, 3.5, 4]);
    expect(rows(read, "xy")).toEqual([
      [1, -2],
      [3.5, 4],
    ]);
    expect(read.tensors.get("u")!.data).toEqual(Uint8Array.of(7, 8, 9));
    expect(read.about).toEqual({ threshold: -3 });
  });

  it("says where an answer was cut off", () => {
    expect(() => readArrays(file.slice(0, 4))).toThrow(WireError);
    expect(() => readArrays(file.slice(0, 20))).toThrow("header");
    expect(() => readArrays(file.slice(0, file.byteLength - 1))).toThrow("'xy'");
    expect(() => floats(readArrays(file), "points")).toThrow("no 'points'");
  });
});
