/** Dark or light: as the system says, until the switch says otherwise. */

import { texts } from "../data/texts";
import { Signal } from "../state/latest";
import { recall, remember } from "../state/memory";
import type { Theme } from "../state/state";
import { button } from "./dom";

const KEY = "latent-atlas:theme";

export function makeTheme(): Signal<Theme> {
  const system = matchMedia("(prefers-color-scheme: light)");
  const kept = recall(KEY) as Theme | null;
  const theme = new Signal<Theme>(kept ?? (system.matches ? "light" : "dark"));
  const apply = (now: Theme) => (document.documentElement.dataset["theme"] = now);
  theme.listen(apply);
  apply(theme.value);
  system.addEventListener("change", () => {
    if (!recall(KEY)) theme.set(system.matches ? "light" : "dark");
  });
  return theme;
}

export function themeSwitch(theme: Signal<Theme>): HTMLButtonElement {
  const turn = () => {
    const next = theme.value === "dark" ? "light" : "dark";
    remember(KEY, next);
    theme.set(next);
  };
  const element = button("◐", turn, {
    className: "icon",
    title: texts.darkOrLight,
    aria: { label: texts.lightTheme },
  });
  const show = (now: Theme) => element.setAttribute("aria-pressed", `${now === "light"}`);
  theme.listen(show);
  show(theme.value);
  return element;
}
