/** A part of the side panel that can be folded away; what is open is remembered by the browser. */

import { recall, remember } from "../../state/memory";
import { h } from "../dom";

export function section(
  title: string,
  open: boolean,
  ...children: (Node | string)[]
): HTMLDetailsElement {
  const key = `latent-atlas:${title}`;
  const kept = recall(key);
  const element = h(
    "details",
    { open: kept === null ? open : kept === "open" },
    h("summary", {}, h("h2", {}, title)),
    h("div", { className: "body" }, ...children),
  );
  element.addEventListener("toggle", () => remember(key, element.open ? "open" : "closed"));
  return element;
}
