/** The page's parts put in their places. */

import { offers } from "../api/backend";
import type { App } from "../data/app";
import { shown } from "../data/cloud";
import type { Row } from "../data/paths";
import { acceptPhotos } from "../data/photos";
import type { View } from "../state/state";
import { Curves } from "./curves";
import { button, h } from "./dom";
import { makeHelp } from "./help";
import { listenToKeys } from "./keys";
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

const shownBy = (images: string): string => `Frames and samples are ${images} images.`;

export function lay(app: App, map: MapPart, root: HTMLElement): void {
  const help = makeHelp();
  const player = new Player(app);
  const strips = new Strips(app, (row, frame, chosen) => see(app, player, row, frame, chosen));
  const curves = new Curves(app, (share) => player.seek(share));
  const drawer = h(
    "section",
    { className: "drawer", aria: { label: "Paths" } },
    h("h2", { className: "quiet" }, "Paths"),
    player.element,
    ...(app.about.shown_by ? [h("p", { className: "note" }, shownBy(app.about.shown_by))] : []),
    strips.element,
    h(
      "div",
      { className: "plot" },
      h("div", {}, h("p", {}, "log-density, nats"), curves.key, player.exporting),
      curves.element as unknown as HTMLElement,
    ),
  );
  const theme = themeSwitch(app.theme);
  const stage = h(
    "section",
    { className: "stage", aria: { label: "Density map" } },
    map.element,
    views(app),
    zooms(map),
    map.legend,
    hint(app),
  );
  const side = h(
    "aside",
    { className: "side", aria: { label: "Controls" } },
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
      title: row.verb === "sample" ? `sample ${frame + 1}` : `${row.title}, frame ${frame + 1}`,
    });
}

function header(app: App, theme: HTMLElement, help: HTMLDialogElement): HTMLElement {
  const { about, store } = app;
  const undo = button("↶", () => store.undo(), {
    className: "icon",
    title: "Undo (Ctrl+Z)",
    aria: { label: "Undo" },
  });
  const redo = button("↷", () => store.redo(), {
    className: "icon",
    title: "Redo (Ctrl+Y)",
    aria: { label: "Redo" },
  });
  const share = button("Copy link", () => void copy(app), {
    title: "The address holds everything that you see",
  });
  const show = () => {
    undo.disabled = !store.canUndo;
    redo.disabled = !store.canRedo;
  };
  store.listen(show);
  show();
  const size = about.image
    ? `${about.image.height} × ${about.image.width} pixels, `
    : "codes alone, ";
  const subtitle = `${shown(about, "train")} images · ${size}d = ${about.dimension}`;
  return h(
    "header",
    { className: "top" },
    h("h1", {}, "Latent Atlas"),
    h("p", { className: "run" }, h("b", {}, about.name), h("span", {}, subtitle)),
    h(
      "nav",
      { aria: { label: "Page" } },
      undo,
      redo,
      share,
      theme,
      button("?", () => help.showModal(), {
        className: "icon",
        title: "Help (?)",
        aria: { label: "Help" },
      }),
    ),
  );
}

async function copy(app: App): Promise<void> {
  try {
    await navigator.clipboard.writeText(location.href);
    app.say("The link to this view is copied.");
  } catch {
    app.say("The browser does not let pages copy; the link is in the address bar.", "trouble");
  }
}

function views(app: App): HTMLElement {
  const names: readonly (readonly [View, string])[] = [
    ["log_prob", "Log-density"],
    ["confusion", "Confusion"],
    ["realness", "Realness"],
    ["energy", "Energy"],
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
    { className: "views", role: "group", aria: { label: "What the colours show" } },
    ...buttons.map(([, one]) => one),
  );
}

function zooms(map: MapPart): HTMLElement {
  return h(
    "div",
    { className: "zooms", role: "group", aria: { label: "Zoom" } },
    button("+", () => map.zoom(1 / 1.5), { aria: { label: "Nearer" }, title: "Nearer (+)" }),
    button("−", () => map.zoom(1.5), { aria: { label: "Further" }, title: "Further (−)" }),
    button("⌂", () => map.home(), {
      aria: { label: "The whole plane" },
      title: "The whole plane (0)",
    }),
  );
}

/** What to do next while there is no path. */
function hint(app: App): HTMLElement {
  const words = h("p", {});
  const example = button("Show an example path", () => void showExample(app), {
    className: "primary",
  });
  const element = h("div", { className: "hint" }, words, example);
  const show = () => {
    const { length } = app.store.state.waypoints;
    element.hidden = length >= 2 || app.store.state.extras.length > 0;
    const photo = app.about.image && offers(app.about, "photos") ? ", or drop a photo" : "";
    words.textContent = length
      ? `Now click where to go: B${photo}.`
      : `Click the map to set A${photo}.`;
    example.hidden = length > 0;
  };
  app.store.listen(show);
  show();
  return element;
}
