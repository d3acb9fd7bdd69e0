/** New images, sampled from the data distribution. */

import type { App } from "../../data/app";
import { texts } from "../../data/texts";
import { number } from "../../data/words";
import { button, checkbox, h, select, slider } from "../dom";
import { section } from "./section";

export function samplePanel(app: App): HTMLElement {
  const { about, store } = app;
  const count = slider(texts.howMany, { min: 4, max: 64, step: 4, value: 16 }, (n) => `${n}`, {
    change: () => {},
  });
  const temperature = slider(
    texts.temperature,
    { min: 0.2, max: 1.5, step: 0.05, value: 1 },
    (t) => number(t, 2),
    { change: () => {} },
  );
  const sampler = select(
    texts.sampler,
    about.samplers.map((name) => [name, name]),
    () => {},
  );
  const label = select(
    texts.class,
    [["", texts.any], ...about.classes.map((name) => [name, name] as const)],
    () => {},
  );
  const near = checkbox(texts.nearSelected, () => {});
  const go = button(texts.sample, () => {
    const start = near.input.checked ? app.selection.value?.code : undefined;
    const settings = {
      n: count.input.valueAsNumber,
      sampler: sampler.input.value || "auto",
      temperature: temperature.input.valueAsNumber,
      seed: Math.floor(Math.random() * 1e6),
      ...(start ? { near: start } : {}),
      ...(label.input.value ? { where: { class: label.input.value } } : {}),
    };
    const samples = label.input.value ? texts.samplesOf(label.input.value) : texts.samples;
    const title = start ? texts.nearby(samples) : samples;
    store.change({ extras: [...store.state.extras, { verb: "sample", title, settings }] });
  });
  const choices = h(
    "div",
    { className: "pair" },
    sampler.element,
    about.classes.length ? label.element : null,
  );
  return section(
    texts.newImages,
    false,
    count.element,
    temperature.element,
    choices,
    near.element,
    h("div", { className: "buttons" }, go),
  );
}
