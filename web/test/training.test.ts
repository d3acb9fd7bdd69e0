import { expect, it } from "vitest";
import { series } from "../src/ui/panels/training";

it("losses are told apart by phase, the newest phase first", () => {
  const records = [
    { phase: "model", step: 50, steps: 100, kl: 2, image_discriminator: null },
    { phase: "model", step: 100, steps: 100, kl: 1, image_discriminator: 0.5 },
    { phase: "map", step: 10, steps: 40, loss: 0.3 },
  ];
  expect(series(records)).toEqual([
    { name: "map: loss", seen: [[10, 0.3]] },
    {
      name: "model: kl",
      seen: [
        [50, 2],
        [100, 1],
      ],
    },
    { name: "model: image discriminator", seen: [[100, 0.5]] },
  ]);
  expect(series([])).toEqual([]);
});
