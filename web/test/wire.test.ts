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

it("reads numbers in half precision and in sixteen bits", () => {
  const bits = Uint16Array.of(0x3c00, 0xc000, 0x3555, 0x0001, 0x7c00, 0x7bff);
  const header = JSON.stringify({
    half: { dtype: "F16", shape: [6], data_offsets: [0, 12] },
    same: { dtype: "U16", shape: [6], data_offsets: [0, 12] },
    signed: { dtype: "I16", shape: [6], data_offsets: [0, 12] },
  });
  const buffer = new ArrayBuffer(8 + header.length + 12);
  new DataView(buffer).setBigUint64(0, BigInt(header.length), true);
  new Uint8Array(buffer, 8).set(new TextEncoder().encode(header));
  new Uint8Array(buffer, 8 + header.length).set(new Uint8Array(bits.buffer));
  const read = readArrays(buffer);
  const halves = [...floats(read, "half")];
  expect(halves.slice(0, 2)).toEqual([1, -2]);
  expect(halves[2]).toBeCloseTo(1 / 3, 3);
  expect(halves.slice(3)).toEqual([2 ** -24, Infinity, 65_504]);
  expect([...read.tensors.get("same")!.data]).toEqual([...bits]);
  expect(read.tensors.get("signed")!.data[1]).toBe(0xc000 - 65_536);
});
