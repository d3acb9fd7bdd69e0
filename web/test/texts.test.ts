import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { inKorean, KOREAN } from "../src/data/answers";
import { languageOf, TEXTS } from "../src/data/texts";

const { en: english, ko: korean } = TEXTS;
const KEYS = Object.keys(english) as (keyof typeof english)[];
const HANGUL = /[가-힣]/;
const LATIN_ALONE = ["nats", "inNats"]; // units stay

/** The words of a key, with its places numbered 101, 102, ... */
const said = (language: keyof typeof TEXTS, key: (typeof KEYS)[number]): string => {
  const words = TEXTS[language][key] as string | ((...given: unknown[]) => string);
  if (typeof words === "string") return words;
  return words(...Array.from({ length: words.length }, (_, k) => `${101 + k}`));
};
const numbers = (words: string): string[] => (words.match(/\d+(\.\d+)?/g) ?? []).sort();

it("both languages have the same words, in their own letters and with the same figures", () => {
  expect(Object.keys(korean)).toEqual(KEYS);
  for (const key of KEYS) {
    expect(HANGUL.test(said("en", key)), key).toBe(false);
    expect(HANGUL.test(said("ko", key)) || LATIN_ALONE.includes(key), key).toBe(true);
    expect(numbers(said("ko", key)), key).toEqual(numbers(said("en", key)));
  }
});

it("every text is used, and every used one is there by its type", () => {
  const root = resolve(__dirname, "../src");
  const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(root, file), "utf8"))
    .join("\n");
  expect(KEYS.filter((key) => !new RegExp(`texts\\.${key}\\b`).test(sources))).toEqual([]);
});

it("every answer has Korean words for the values that they show", () => {
  const places = (words: string): string[] => words.match(/\{\w+\}/g) ?? [];
  for (const [answer, words] of Object.entries(KOREAN)) {
    if (answer !== words) expect(words, answer).toMatch(HANGUL);
    expect(places(answer)).toEqual(expect.arrayContaining(places(words)));
    const given = answer.replace(/\{(\w+)\}/g, (_, name) => (name.length === 1 ? "17" : "wort"));
    const shown = words.replace(/\{(\w+)\}/g, (_, name) => (name.length === 1 ? "17" : "wort"));
    expect(inKorean(given)).toBe(shown);
  }
});

it("values of answers are numbers, names or answers", () => {
  const sentence =
    "3 groups of copies and 1 group of near-duplicates: closer than 0.25, where the nearest other image is usually 1.9 away";
  expect(inKorean(sentence)).toBe(
    "같은 이미지 3묶음, 거의 같은 이미지 1묶음: 거리가 0.25보다 가깝습니다. 보통은 가장 가까운 이미지가 1.9 떨어져 있습니다.",
  );
  expect(inKorean("log-density with noise 0.4")).toBe("로그 밀도, 노이즈 0.4");
  expect(inKorean("this is not an image that can be used (the file is empty); give another file")).toBe(
    "사용할 수 없는 이미지입니다(파일이 비어 있음). 다른 파일을 쓰십시오.",
  );
  expect(inKorean("radius 2")).toBe("radius 2");
});

it("the language is the chosen one, or the browser's, or English", () => {
  expect(languageOf(null, "ko-KR")).toBe("ko");
  expect(languageOf(null, "de")).toBe("en");
  expect(languageOf("en", "ko-KR")).toBe("en");
  expect(languageOf("ko", "en-US")).toBe("ko");
});
