/** Keys that work wherever the focus is, but where one types. */

import type { App } from "../data/app";
import type { State, View } from "../state/state";

export interface Actions {
  help(): void;
  play(): void;
  step(way: 1 | -1): void;
  example(): void;
  turnTheme(): void;
}

const VIEWS: Record<string, View> = {
  "1": "log_prob",
  "2": "confusion",
  "3": "realness",
  "4": "energy",
};
const SWITCHES: Record<string, "contours" | "arrows" | "relief"> = {
  c: "contours",
  a: "arrows",
  r: "relief",
};

export function listenToKeys(app: App, actions: Actions): void {
  document.addEventListener("keydown", (event) => {
    const control = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (control && !event.altKey && (key === "z" || key === "y")) {
      event.preventDefault();
      if (key === "y" || event.shiftKey) app.store.redo();
      else app.store.undo();
      return;
    }
    const inside =
      event.target instanceof HTMLElement &&
      event.target.matches("select, textarea, input:not([type=range], [type=checkbox])");
    if (control || event.altKey || inside || document.querySelector("dialog[open]")) return;
    if (press(app, actions, event.key)) event.preventDefault();
  });
}

function press(app: App, actions: Actions, key: string): boolean {
  const view = VIEWS[key];
  const turned = SWITCHES[key];
  if (view) app.store.change({ view });
  else if (turned) app.store.change({ [turned]: !app.store.state[turned] } as Partial<State>);
  else if (key === "?") actions.help();
  else if (key === "p") actions.play();
  else if (key === "[") actions.step(-1);
  else if (key === "]") actions.step(1);
  else if (key === "j") actions.example();
  else if (key === "t") actions.turnTheme();
  else return false;
  return true;
}
