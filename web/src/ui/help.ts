/** What there is and how to reach it by keys. */

import { texts } from "../data/texts";
import { button, h } from "./dom";

const KEYS: readonly (readonly [string, string])[] = [
  ["Tab", texts.keyTab],
  [texts.arrowKeys, texts.keyArrows],
  ["Enter", texts.keyEnter],
  ["+  −  0", texts.keyZoom],
  ["Delete", texts.keyDelete],
  ["[  ]", texts.keyFrames],
  ["p", texts.keyPlay],
  ["1  2  3  4", texts.keyViews],
  ["c  a  r", texts.keySwitches],
  ["u", texts.keyProject],
  ["j", texts.keyExample],
  ["Ctrl+Z  Ctrl+Y", texts.keyUndo],
  ["t", texts.keyTheme],
  ["?", texts.keyHelp],
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
    h("h2", { id: "help-title" }, texts.helpTitle),
    h("p", {}, texts.helpMap),
    h("p", {}, texts.helpPaths),
    h("p", {}, texts.helpPlane),
    keys,
    button(texts.close, () => dialog.close(), { className: "primary" }),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
