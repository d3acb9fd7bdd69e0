/** What there is and how to reach it by keys. */

import { button, h } from "./dom";

const KEYS: readonly (readonly [string, string])[] = [
  ["Tab", "to the map, the stops, and every control"],
  ["Arrow keys", "on the map: move the cursor; on a stop: move it (Shift: further)"],
  ["Enter", "on the map: put the next stop at the cursor (Shift: the nearest real image, or the place itself)"],
  ["+  −  0", "on the map: nearer, further, all of it"],
  ["Delete", "on a stop: remove it"],
  ["[  ]", "a frame back, a frame on"],
  ["p", "play and pause"],
  ["1  2  3  4", "log-density, confusion, realness, energy"],
  ["c  a  r", "contours, score arrows, relief"],
  ["u", "hold: slide the chosen stop uphill"],
  ["j", "a telling journey"],
  ["Ctrl+Z  Ctrl+Y", "undo, redo"],
  ["t", "dark or light"],
  ["?", "this page"],
];

export function makeHelp(): HTMLDialogElement {
  const keys = h("dl", { className: "keys" }, ...KEYS.flatMap(([key, meaning]) => [h("dt", {}, ...key.split("  ").flatMap((one, k) => (k ? [" ", h("kbd", {}, one)] : [h("kbd", {}, one)]))), h("dd", {}, meaning)]));
  const dialog: HTMLDialogElement = h(
    "dialog",
    { className: "help", aria: { labelledby: "help-title" } },
    h("h2", { id: "help-title" }, "How to read this map, and travel on it"),
    h("p", {}, "Every place on the plane is a latent code, and decodes to a picture. Height and colour say how dense the population of real images is there; the bold line is its edge: one real image in twenty lies beyond it."),
    h("p", {}, "Click to set A, click again for B, and again for waypoints; or drop photos. Each planner's journey is a route on the map and a film strip below. Frames outlined in orange have left the population: there the model draws what no data stand behind."),
    h("p", {}, "A route runs in all dimensions, and the map shows its shadow on a plane. “Through A, B and the route” turns the plane so that the detour lies in it."),
    keys,
    button("Close", () => dialog.close(), { className: "primary" }),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
