/** The page's parts put in their places. */

import { offers } from "../api/backend";
import type { App } from "../data/app";
import { shown } from "../data/cloud";
import type { Row } from "../data/paths";
import { acceptPhotos } from "../data/photos";
import { said } from "../data/answers";
import { texts } from "../data/texts";
import type { View } from "../state/state";
import { Curves } from "./curves";
import { button, h } from "./dom";
import { makeHelp } from "./help";
import { listenToKeys } from "./keys";
import { languageSwitch } from "./language";
import { mapPanel } from "./panels/map";
import { overviewPanel } from "./panels/overview";
import { pathPanel, showExample } from "./panels/path";
import { samplePanel } from "./panels/samples";
import { selectionPanel } from "./panels/selection";
import { Player } from "./player";
import { Strips } from "./strips";
import { themeSwitch } from "./theme";

/** The map as far as the page has to know it, which lies above this room. */
export interface MapPart {
  readonly element: HTMLElement;
  readonly legend: HTMLElement;
  zoom(factor: number): void;
  home(): void;
}

export function lay(app: App, map: MapPart, root: HTMLElement): void {
  const help = makeHelp();
  const player = new Player(app);
  const strips = new Strips(app, (row, frame, chosen) => see(app, player, row, frame, chosen));
  const curves = new Curves(app, (share) => player.seek(share));
  const drawer = h(
    "section",
    { className: "drawer", aria: { label: texts.paths } },
    h("h2", { className: "quiet" }, texts.paths),
    player.element,
    ...(app.about.shown_by
      ? [h("p", { className: "note" }, texts.shownBy(said(app.about.shown_by)))]
      : []),
    strips.element,
    h(
      "div",
      { className: "plot" },
      h("div", {}, h("p", {}, texts.logDensityInNats), curves.key, player.exporting),
      curves.element as unknown as HTMLElement,
    ),
  );
  const theme = themeSwitch(app.theme);
  const stage = h(
    "section",
    { className: "stage", aria: { label: texts.densityMap } },
    map.element,
    views(app),
    zooms(map),
    map.legend,
    hint(app),
  );
  const side = h(
    "aside",
    { className: "side", aria: { label: texts.controls } },
    pathPanel(app),
    selectionPanel(app),
    mapPanel(app),
    samplePanel(app),
    overviewPanel(app),
  );
  root.replaceChildren(header(app, theme, help), h("main", {}, stage, drawer, side), help);
  app.chart.busy.listen((busy) => stage.setAttribute("aria-busy", `${busy}`));
  const show = (rows: readonly Row[]) => drawer.classList.toggle("empty", !rows.length); // from A on, so that B moves nothing
  app.paths.rows.listen(show);
  show([]);
  acceptPhotos(app, document.body);
  listenToKeys(app, {
    help: () => help.showModal(),
    play: () => player.toggle(),
    step: (way) => player.step(way),
    example: () => void showExample(app),
    turnTheme: () => theme.click(),
  });
}

function see(app: App, player: Player, row: Row, frame: number, chosen: boolean): void {
  const result = row.result!;
  if (row.verb !== "sample") player.seek(frame / Math.max(result.points.length - 1, 1));
  if (chosen)
    app.selection.set({
      code: result.points[frame]!,
      title:
        row.verb === "sample"
          ? texts.sampleNumber(frame + 1)
          : texts.titledFrame(row.title, frame + 1),
    });
}

function header(app: App, theme: HTMLElement, help: HTMLDialogElement): HTMLElement {
  const { about, store } = app;
  const undo = button("↶", () => store.undo(), {
    className: "icon",
    title: `${texts.undo} (Ctrl+Z)`,
    aria: { label: texts.undo },
  });
  const redo = button("↷", () => store.redo(), {
    className: "icon",
    title: `${texts.redo} (Ctrl+Y)`,
    aria: { label: texts.redo },
  });
  const share = button(texts.copyLink, () => void copy(app), {
    className: "share",
    title: texts.copyLinkTitle,
  });
  const show = () => {
    undo.disabled = !store.canUndo;
    redo.disabled = !store.canRedo;
  };
  store.listen(show);
  show();
  const size = about.image ? texts.size(about.image.height, about.image.width) : texts.codesAlone;
  const subtitle = texts.subtitle(shown(about, "train"), size, about.dimension);
  return h(
    "header",
    { className: "top" },
    h("h1", {}, "Latent Atlas"),
    h("p", { className: "run" }, h("b", {}, about.name), h("span", {}, subtitle)),
    h(
      "nav",
      { aria: { label: texts.page } },
      undo,
      redo,
      share,
      languageSwitch(),
      theme,
      button("?", () => help.showModal(), {
        className: "icon",
        title: `${texts.help} (?)`,
        aria: { label: texts.help },
      }),
    ),
  );
}

async function copy(app: App): Promise<void> {
  try {
    await navigator.clipboard.writeText(location.href);
    app.say(texts.copied);
  } catch {
    app.say(texts.notCopied, "trouble");
  }
}

function views(app: App): HTMLElement {
  const names: readonly (readonly [View, string])[] = [
    ["log_prob", texts.logDensity],
    ["confusion", texts.confusion],
    ["realness", texts.realness],
    ["energy", texts.energy],
  ];
  const shown = names.filter(
    ([view]) => app.about.has_log_prob || view === "confusion" || view === "realness",
  );
  const buttons = shown.map(
    ([view, name]) =>
      [
        view,
        button(name, () => app.store.change({ view }), { aria: { pressed: "false" } }),
      ] as const,
  );
  const show = () =>
    buttons.forEach(([view, one]) =>
      one.setAttribute("aria-pressed", `${app.store.state.view === view}`),
    );
  app.store.listen(show);
  show();
  return h(
    "div",
    { className: "views", role: "group", aria: { label: texts.colours } },
    ...buttons.map(([, one]) => one),
  );
}

function zooms(map: MapPart): HTMLElement {
  return h(
    "div",
    { className: "zooms", role: "group", aria: { label: texts.zoom } },
    button("+", () => map.zoom(1 / 1.5), {
      aria: { label: texts.nearer },
      title: `${texts.nearer} (+)`,
    }),
    button("−", () => map.zoom(1.5), {
      aria: { label: texts.further },
      title: `${texts.further} (−)`,
    }),
    button("⌂", () => map.home(), {
      aria: { label: texts.wholePlane },
      title: `${texts.wholePlane} (0)`,
    }),
  );
}

/** What to do next while there is no path. */
function hint(app: App): HTMLElement {
  const words = h("p", {});
  const example = button(texts.showExample, () => void showExample(app), {
    className: "primary",
  });
  const element = h("div", { className: "hint" }, words, example);
  const show = () => {
    const { length } = app.store.state.waypoints;
    element.hidden = length >= 2 || app.store.state.extras.length > 0;
    const photos = app.about.image && offers(app.about, "photos");
    const [a, b] = photos ? [texts.setAOrPhoto, texts.setBOrPhoto] : [texts.setA, texts.setB];
    words.textContent = length ? b : a;
    example.hidden = length > 0;
  };
  app.store.listen(show);
  show();
  return element;
}
