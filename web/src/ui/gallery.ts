/** Images in an order, a button each. */

import { button, h } from "./dom";

export interface Item {
  readonly picture: HTMLCanvasElement | null;
  /** What the image is, for those who cannot see it. */
  readonly says: string;
  /** What is written below it. */
  readonly words: string;
  choose(): void;
}

export function gallery(items: readonly Item[]): HTMLOListElement {
  return h(
    "ol",
    { className: "gallery" },
    ...items.map(({ picture, says, words, choose }) => {
      const item = button("", choose, { title: says, aria: { label: says } });
      picture?.setAttribute("aria-hidden", "true");
      item.append(picture ?? "", h("span", {}, words));
      return h("li", {}, item);
    }),
  );
}
