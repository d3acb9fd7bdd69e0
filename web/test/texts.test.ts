import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { languageOf, term, TEXTS } from "../src/data/texts";

const { terms: englishTerms, ...english } = TEXTS.en;
const { terms: koreanTerms, ...korean } = TEXTS.ko;
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
  expect(Object.keys(koreanTerms)).toEqual(Object.keys(englishTerms));
  for (const words of Object.values(koreanTerms)) expect(words).toMatch(HANGUL);
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

it("a name of an answer keeps its number, and an unknown one stays as it is", () => {
  expect(["decoded", "log-density with noise 0.4", "radius 2"].map(term)).toEqual([
    "decoded",
    "log-density with noise 0.4",
    "radius 2",
  ]);
});

it("the language is the chosen one, or the browser's, or English", () => {
  expect(languageOf(null, "ko-KR")).toBe("ko");
  expect(languageOf(null, "de")).toBe("en");
  expect(languageOf("en", "ko-KR")).toBe("en");
  expect(languageOf("ko", "en-US")).toBe("ko");
});
