/**
 * The safetensors format, in which arrays come over the wire: a header in JSON, then the raw
 * numbers.
 */

export type Numbers = Float32Array | Int32Array | Int16Array | Uint16Array | Uint8Array;

export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Numbers;
}

/** Arrays by name, and what the answer says beside them. */
export interface Arrays {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly about: Readonly<Record<string, unknown>>;
}

const KINDS = {
  F32: Float32Array,
  I32: Int32Array,
  I16: Int16Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

export class WireError extends Error {}

/**
 * Read one safetensors buffer. 64-bit integers are narrowed to Int32Array, since every index here
 * fits.
 */
export function readArrays(buffer: ArrayBuffer): Arrays {
  if (buffer.byteLength < 8) throw new WireError("the answer ended before its header");
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (8 + length > buffer.byteLength) throw new WireError("the answer ended inside its header");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))) as Record<
    string,
    unknown
  >;
  const tensors = new Map<string, Tensor>();
  let about: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__")
      about = JSON.parse((entry as Record<string, string>)["json"] ?? "{}");
    else tensors.set(name, readTensor(buffer, 8 + length, name, entry as Entry));
  }
  return { tensors, about };
}

function readTensor(buffer: ArrayBuffer, body: number, name: string, entry: Entry): Tensor {
  const [begin, end] = entry.data_offsets;
  if (body + end > buffer.byteLength) throw new WireError(`the answer ended inside '${name}'`);
  const bytes = buffer.slice(body + begin, body + end); // a copy, so that typed arrays are aligned
  if (entry.dtype === "I64")
    return { shape: entry.shape, data: Int32Array.from(new BigInt64Array(bytes), Number) };
  if (entry.dtype === "F16")
    return { shape: entry.shape, data: Float32Array.from(new Uint16Array(bytes), half) };
  const kind = KINDS[entry.dtype as keyof typeof KINDS];
  if (!kind)
    throw new WireError(
      `'${name}' has numbers of kind ${entry.dtype}, which this page does not read`,
    );
  const data = new kind(bytes);
  const wanted = entry.shape.reduce((product, side) => product * side, 1);
  if (data.length !== wanted)
    throw new WireError(`'${name}' has ${data.length} numbers, not ${wanted}`);
  return { shape: entry.shape, data };
}

/** A number in half precision, of its sixteen bits. */
function half(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
}

/** The numbers under a name, of the kind that is expected there. */
export function floats(arrays: Arrays, name: string): Float32Array {
  const tensor = arrays.tensors.get(name);
  if (!tensor) throw new WireError(`the answer has no '${name}'`);
  return tensor.data instanceof Float32Array ? tensor.data : Float32Array.from(tensor.data);
}

/** The rows of an (n, d) array as plain lists. */
export function rows(arrays: Arrays, name: string): number[][] {
  const data = floats(arrays, name);
  const shape = arrays.tensors.get(name)!.shape;
  const width = shape[shape.length - 1] ?? 1;
  return Array.from({ length: data.length / Math.max(width, 1) }, (_, k) => [
    ...data.subarray(k * width, (k + 1) * width),
  ]);
}
