/** Arrays by name as an answer, of the kind that the server sends. */

import type { Arrays, Numbers, Tensor } from "../api/wire";

export function answer(
  tensors: Readonly<Record<string, Tensor | null>>,
  about: Readonly<Record<string, unknown>> = {},
): Arrays {
  const there = Object.entries(tensors).filter(
    (entry): entry is [string, Tensor] => entry[1] !== null,
  );
  return { tensors: new Map(there), about };
}

export const tensor = (data: Numbers, ...shape: number[]): Tensor => ({ shape, data });
