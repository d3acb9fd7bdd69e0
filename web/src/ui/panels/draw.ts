/** New images, drawn from where the population is. */

import type { App } from "../../data/app";
import { number } from "../../data/words";
import { button, checkbox, h, select, slider } from "../dom";
import { section } from "./section";

export function draw(app: App): HTMLElement {
  const { about, store } = app;
  const count = slider("How many", { min: 4, max: 64, step: 4, value: 16 }, (n) => `${n}`, { change: () => {} });
  const temperature = slider("Temperature", { min: 0.2, max: 1.5, step: 0.05, value: 1 }, (t) => number(t, 2), { change: () => {} });
  const sampler = select("Sampler", about.samplers.map((name) => [name, name]), () => {});
  const wish = select("Only", [["", "anything"], ...about.classes.map((name) => [name, name] as const)], () => {});
  const near = checkbox("Near the chosen place", () => {});
  const go = button("Draw", () => {
    const start = near.input.checked ? app.selection.value?.code : undefined;
    const wishes = {
      n: count.input.valueAsNumber,
      sampler: sampler.input.value || "auto",
      temperature: temperature.input.valueAsNumber,
      seed: Math.floor(Math.random() * 1e6),
      ...(start ? { near: start } : {}),
      ...(wish.input.value ? { where: { class: wish.input.value } } : {}),
    };
    const title = ["drawn", wish.input.value, start ? "nearby" : ""].filter(Boolean).join(" ");
    store.change({ extras: [...store.state.extras, { verb: "sample", title, wishes }] });
  });
  const choices = h("div", { className: "pair" }, sampler.element, about.classes.length ? wish.element : null);
  return section("New images", false, count.element, temperature.element, choices, near.element, h("div", { className: "buttons" }, go));
}
