import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, it } from "vitest";

const ROOT = resolve(__dirname, "../src");
const ROOMS = ["api", "state", "data", "ui", "map"]; // from the bottom up; each imports itself and what is below it

const files = readdirSync(ROOT, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".ts"),
);

/** The files that a file imports, types included, by their paths in src. */
function imports(file: string): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const asked = [...text.matchAll(/(?:from|import\(?|new URL\()\s*"(\.[^"]+)"/g)].map(
    (match) => match[1]!,
  );
  return asked
    .filter((one) => !one.endsWith(".css"))
    .map((one) => relative(ROOT, resolve(ROOT, dirname(file), one)).replace(/(\.ts)?$/, ".ts"));
}

const arrows = new Map(files.map((file) => [file, imports(file)]));
const room = (file: string) => file.split("/")[0]!;

/** A circle of imports, or null. */
function circle(graph: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): string[] | null => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (done.has(file)) return null;
    for (const next of graph.get(file) ?? []) {
      const found = visit(next, [...way, file]);
      if (found) return found;
    }
    done.add(file);
    return null;
  };
  for (const file of graph.keys()) {
    const found = visit(file, []);
    if (found) return found;
  }
  return null;
}

it("finds a circle where there is one", () => {
  expect(
    circle(
      new Map([
        ["a", ["b"]],
        ["b", ["c"]],
        ["c", ["b"]],
      ]),
    ),
  ).toEqual(["b", "c", "b"]);
  expect(
    circle(
      new Map([
        ["a", ["b", "c"]],
        ["b", ["c"]],
        ["c", []],
      ]),
    ),
  ).toBeNull();
});

it("no file imports itself by way of others, and every import is a file", () => {
  for (const found of arrows.values()) for (const file of found) expect(files).toContain(file);
  expect([...arrows.values()].flat().length).toBeGreaterThan(100);
  expect(circle(arrows)).toBeNull();
});

it("rooms import only those below them, and main.ts alone is at the root", () => {
  expect(files.filter((file) => !file.includes("/"))).toEqual(["main.ts"]);
  expect(new Set(files.map(room))).toEqual(new Set([...ROOMS, "offline", "main.ts"]));
  const allowed = (from: string, to: string) =>
    from === "main.ts" ||
    from === to ||
    (from === "offline"
      ? to === "api"
      : ROOMS.indexOf(to) >= 0 && ROOMS.indexOf(to) < ROOMS.indexOf(from));
  const wrong = [...arrows].flatMap(([file, found]) =>
    found.filter((to) => !allowed(room(file), room(to))).map((to) => `${file} imports ${to}`),
  );
  expect(wrong).toEqual([]);
});
