/** The images in lists: the rarest and the most typical, duplicates, and the last comparison. */

import { attempt } from "../../api/attempt";
import { keyOf } from "../../api/backend";
import type { Code } from "../../api/backend";
import { rows } from "../../api/wire";
import type { Arrays } from "../../api/wire";
import { said } from "../../data/answers";
import type { App } from "../../data/app";
import { imagesOf } from "../../data/pictures";
import type { Bytes } from "../../data/pictures";
import { texts } from "../../data/texts";
import { number } from "../../data/words";
import { h, picture } from "../dom";
import { gallery } from "../gallery";
import { section } from "./section";

interface List {
  readonly title: string;
  readonly names: readonly string[];
  readonly values: readonly number[];
  /** Whether these are images of the atlas. */
  readonly own: boolean;
}

interface Section {
  readonly title: string;
  readonly sentences: readonly string[];
  readonly lists: readonly List[];
}

export function overviewPanel(app: App): HTMLElement {
  const body = h("div", { className: "overview" });
  const element = section(texts.overview, false, body);
  let asked = false;
  const load = async () => {
    if (!element.open || asked) return;
    asked = true; // the lists take long where images are many, so they are made when they are wanted
    body.replaceChildren(h("p", { className: "note", role: "status" }, texts.ranking));
    const answer = await attempt(app, () => app.backend.overview());
    asked = !!answer;
    body.replaceChildren(...(answer ? sections(app, answer) : []));
  };
  element.addEventListener("toggle", () => void load());
  void load();
  return element;
}

function sections(app: App, answer: Arrays): HTMLElement[] {
  const codes = rows(answer, "codes");
  const images = imagesOf(answer, "images");
  const shownBy =
    answer.about["shown_by"] === "nearest" ? texts.nearestImage : texts.itsReconstruction;
  let first = 0; // number of a list's first image
  const list = ({ title, names, values, own }: List) => {
    const items = names.map((name, k) => {
      const [code, image] = [codes[first + k]!, images[first + k] ?? null];
      const value = values[k];
      const words = value === undefined ? "" : number(value, 1);
      return {
        picture: image && picture(image.bytes, image.height, image.width, image.channels, ""),
        says: `${name}${words && `, ${words}`}`,
        words,
        choose: () => choose(app, code, name, own ? null : image, shownBy),
      };
    });
    first += names.length;
    return [h("h4", {}, said(title)), gallery(items)];
  };
  return (answer.about["sections"] as readonly Section[]).map(({ title, sentences, lists }) =>
    h(
      "section",
      {},
      h("h3", {}, said(title)),
      ...sentences.map((sentence) => h("p", { className: "note" }, said(sentence))),
      ...lists.flatMap(list),
    ),
  );
}

/** Select an image, and show where it lies; one of another set beside what its code shows. */
function choose(app: App, code: Code, title: string, image: Bytes | null, shownBy: string): void {
  if (image)
    app.photos.set(keyOf(code), {
      image,
      reconstruction: null,
      shownBy,
      anomaly: {},
      offManifold: false,
    });
  app.selection.set({ code, title });
  app.chart.reveal(code);
}
