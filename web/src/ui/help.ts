/** What there is and how to reach it by keys. */

import { button, h } from "./dom";

const KEYS: readonly (readonly [string, string])[] = [
  ["Tab", "to the map, the waypoints, and every control"],
  ["Arrow keys", "on the map: move the cursor; on a waypoint: move it (Shift: further)"],
  [
    "Enter",
    "on the map: put the next waypoint at the cursor (Shift: the nearest real image, or the place itself)",
  ],
  ["+  −  0", "on the map: nearer, further, all of it"],
  ["Delete", "on a waypoint: remove it"],
  ["[  ]", "a frame back, a frame on"],
  ["p", "play and pause"],
  ["1  2  3  4", "log-density, confusion, realness, energy"],
  ["c  a  r", "contours, score arrows, relief"],
  ["u", "hold: project the chosen waypoint to high density"],
  ["j", "an example path"],
  ["Ctrl+Z  Ctrl+Y", "undo, redo"],
  ["t", "dark or light"],
  ["?", "this page"],
];

export function makeHelp(): HTMLDialogElement {
  const keys = h(
    "dl",
    { className: "keys" },
    ...KEYS.flatMap(([key, meaning]) => [
      h(
        "dt",
        {},
        ...key
          .split("  ")
          .flatMap((one, k) => (k ? [" ", h("kbd", {}, one)] : [h("kbd", {}, one)])),
      ),
      h("dd", {}, meaning),
    ]),
  );
  const dialog: HTMLDialogElement = h(
    "dialog",
    { className: "help", aria: { labelledby: "help-title" } },
    h("h2", { id: "help-title" }, "How to read this map and travel on it"),
    h(
      "p",
      {},
      "Every place on the plane is a latent code and decodes to an image. Height and colour show the log-density of the codes of real images. The bold line is the density threshold: 5 % of held-out real codes lie below it, and a code below it is off-manifold.",
    ),
    h(
      "p",
      {},
      "Click to set A, click again for B, and again for more waypoints; or drop photos. The path of each planner is drawn on the map and as a strip of frames below it. Frames outlined in orange are off-manifold: no data support what the model decodes there. Frames crossed in the curves are unlike real codes: by log-density, distance from the mean and what decoding and encoding changes, only 5 % of real codes look less real.",
    ),
    h(
      "p",
      {},
      "A path runs in all dimensions, and the map shows its projection onto a plane. “Through A, B and the path” chooses the plane that contains the detour.",
    ),
    keys,
    button("Close", () => dialog.close(), { className: "primary" }),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
