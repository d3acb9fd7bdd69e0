import { expect, it } from "vitest";
import type { Backend, Code } from "../src/api/backend";
import type { Arrays } from "../src/api/wire";
import { Pictures } from "../src/data/pictures";

/** A backend whose pictures are the codes' first numbers, and what it was asked for. */
function backend() {
  const asked: number[][] = [];
  const answers: (() => void)[] = [];
  const decode = (codes: readonly Code[]) =>
    new Promise<Arrays>((resolve, reject) => {
      const numbers = codes.map((code) => code[0]!);
      asked.push(numbers);
      const images = { shape: [numbers.length, 1, 1, 1], data: Uint8Array.from(numbers) };
      answers.push(() =>
        numbers.includes(9)
          ? reject(new Error("no picture"))
          : resolve({ tensors: new Map([["images", images]]), about: {} }),
      );
    });
  return { asked, answer: () => answers.shift()!(), backend: { decode } as unknown as Backend };
}

const seen = async (places: ReturnType<Pictures["at"]>) =>
  (await places).map((place) => place.image!.bytes[0]);

it("decodes a place once, asked for again when it is known or on its way", async () => {
  const { asked, answer, backend: from } = backend();
  const pictures = new Pictures(from);
  const first = pictures.at([[1], [2], [3]]);
  const second = pictures.at([[3], [4], [1]]);
  expect(asked).toEqual([[1, 2, 3], [4]]);
  answer();
  answer();
  expect(await seen(first)).toEqual([1, 2, 3]);
  expect(await seen(second)).toEqual([3, 4, 1]);
  expect(await seen(pictures.at([[4], [2]]))).toEqual([4, 2]);
  expect(asked.length).toBe(2);
});

it("asks again for what could not be decoded, and lets no other request wait for one that may be cancelled", async () => {
  const { asked, answer, backend: from } = backend();
  const pictures = new Pictures(from);
  const failing = pictures.at([[9]]);
  const beside = pictures.at([[9]]);
  answer();
  await expect(failing).rejects.toThrow("no picture");
  await expect(beside).rejects.toThrow("no picture");
  void pictures.at([[9]]).catch(() => {});
  void pictures.at([[5]], new AbortController().signal);
  void pictures.at([[5]]);
  expect(asked).toEqual([[9], [9], [5], [5]]);
});
