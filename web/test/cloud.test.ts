import { describe, expect, it } from "vitest";
import { shown } from "../src/data/cloud";

describe("how many codes are shown", () => {
  const counts = { train: 180_000, held_out: 20 };
  it("is their number where all are", () => {
    expect(shown({ counts }, "train")).toBe("180,000");
    expect(shown({ counts, population: counts }, "held_out")).toBe("20");
  });
  it("tells of how many they are a sample", () => {
    const population = { train: 9_000_000, held_out: 20 };
    expect(shown({ counts, population }, "train")).toBe("180,000 of 9,000,000");
  });
  it("is limited", () => {
    const many = { train: 5_000_000, held_out: 3 };
    expect(shown({ counts: many, population: many }, "train")).toBe("200,000 of 5,000,000");
  });
});
