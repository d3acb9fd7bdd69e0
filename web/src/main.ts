/**
 * Opens the page: asks the server what there is, reads the address, and puts everything together.
 */

import "./ui/style/page.css";
import "./ui/style/map.css";
import "./ui/style/panels.css";
import type { Reporter } from "./api/attempt";
import { Gone, offers, Refusal } from "./api/backend";
import type { About, Backend } from "./api/backend";
import { ServerBackend } from "./api/server";
import { said } from "./data/answers";
import type { App } from "./data/app";
import { Chart } from "./data/chart";
import { Cloud } from "./data/cloud";
import { Paths } from "./data/paths";
import { Pictures } from "./data/pictures";
import { language, texts } from "./data/texts";
import { letter } from "./data/words";
import { Growing } from "./map/growing";
import { MapView } from "./map/mapview";
import { Settled, Signal } from "./state/latest";
import { DEFAULTS, fromHash, toHash } from "./state/state";
import type { Selection, State } from "./state/state";
import { Store } from "./state/store";
import { Connection } from "./ui/connection";
import { h } from "./ui/dom";
import { languageSwitch } from "./ui/language";
import { Messages } from "./ui/messages";
import { lay } from "./ui/page";
import { Training } from "./ui/panels/training";
import { makeTheme, themeSwitch } from "./ui/theme";

const root = document.getElementById("page")!;
const theme = makeTheme();

async function open(backend: Backend): Promise<void> {
  const connection = new Connection(backend);
  const messages = new Messages();
  document.body.append(connection.element, messages.element);
  let about: About;
  try {
    about = await backend.about();
  } catch (error) {
    if (error instanceof Gone) {
      connection.onReturn(() => location.reload());
      connection.lost();
    }
    return refuse(error instanceof Refusal ? error.message : texts.silent);
  }
  document.title = `${about.name} · Latent Atlas`;
  if (about.training) return watch(backend, about, connection);
  show(backend, about, connection, messages);
}

/** A run in training has no map yet: its progress is shown, and the map when it is there. */
function watch(backend: Backend, about: About, connection: Connection): void {
  connection.onReturn(() => location.reload());
  const training = new Training(
    backend,
    new Growing(theme),
    () => location.reload(),
    () => connection.lost(),
  );
  const nav = h("nav", { aria: { label: texts.page } }, languageSwitch(), themeSwitch(theme));
  root.replaceChildren(
    h(
      "header",
      { className: "top" },
      h("h1", {}, "Latent Atlas"),
      h("p", { className: "run" }, h("b", {}, about.name)),
      nav,
    ),
    h("main", { className: "alone", tabIndex: 0 }, training.element),
  );
}

function show(backend: Backend, about: About, connection: Connection, messages: Messages): void {
  const store = new Store(addressed(about));
  const reporter: Reporter = {
    say: (sentence, kind) => messages.say(sentence, kind),
    lost: () => connection.lost(),
  };
  const pictures = new Pictures(backend);
  let map: MapView | null = null;
  const app: App = {
    backend,
    about,
    store,
    ...reporter,
    chart: new Chart(backend, about, store, reporter, () => map?.view() ?? null),
    cloud: new Cloud(backend, about, reporter),
    paths: new Paths(backend, about, store, pictures, reporter.lost),
    pictures,
    photos: new Map(),
    selection: new Signal<Selection | null>(null),
    theme,
  };
  map = new MapView(app);
  lay(app, map, root);
  keepAddress(app);
  connection.onReturn(() => {
    app.say(texts.back);
    app.chart.refresh();
    app.paths.refresh();
  });
  app.paths.refresh();
  if (store.state.plane.kind === "embedding") void map.embed();
  const first = store.state.waypoints[store.state.chosen];
  if (first)
    app.selection.set({
      code: first,
      title: texts.waypoint(letter(store.state.chosen)),
      waypoint: store.state.chosen,
    });
  Object.assign(window, { atlas: { app, map } }); // for the console, and for timing frames
}

/** The state of the address, as far as it can be had here. */
function addressed(about: About): State {
  const state = fromHash(location.hash, about.dimension);
  const plane =
    state.plane.kind === "embedding" && !offers(about, "embedding") ? DEFAULTS.plane : state.plane;
  return { ...state, plane, preserve: offers(about, "keep") ? state.preserve : DEFAULTS.preserve };
}

/** The address follows the state, and the state an address that is typed or gone back to. */
function keepAddress(app: App): void {
  const settled = new Settled(120);
  let written = location.hash.slice(1);
  app.store.listen((state) =>
    settled.run(() => {
      written = toHash(state);
      history.replaceState(null, "", written ? `#${written}` : location.pathname + location.search);
    }),
  );
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) !== written) app.store.replace(addressed(app.about));
  });
  app.store.listen((now, before) => {
    if (now.waypoints === before.waypoints) return;
    const selected = app.selection.value;
    if (selected?.waypoint === undefined) return;
    const code = now.waypoints[selected.waypoint];
    if (!code) app.selection.set(null);
    else if (code !== selected.code)
      app.selection.set({ code, title: selected.title, waypoint: selected.waypoint });
  });
}

function refuse(sentence: string): void {
  root.replaceChildren(
    h(
      "main",
      { className: "alone" },
      h("h1", {}, "Latent Atlas"),
      h("p", { className: "note" }, said(sentence)),
    ),
  );
}

/** A server answers, or, where the page says so, the folder that it lies in. */
async function answering(): Promise<Backend> {
  const folder = document.querySelector<HTMLMetaElement>('meta[name="atlas-folder"]')?.content;
  if (folder === undefined) return new ServerBackend();
  const { OfflineBackend } = await import("./offline/backend");
  return new OfflineBackend(folder);
}

document.documentElement.lang = language;
document.body.dataset["dropping"] = texts.drop;
root.querySelector(".opening")!.textContent = texts.opening;
void answering().then(open);
