/**
 * What every part of the page is handed: the backend, the state, and the things they make together.
 */

import type { Reporter } from "../api/attempt";
import type { About, Backend } from "../api/backend";
import type { Signal } from "../state/latest";
import type { Selection, Theme } from "../state/state";
import type { Store } from "../state/store";
import type { Chart } from "./chart";
import type { Cloud } from "./cloud";
import type { Paths } from "./paths";
import type { Photo, Pictures } from "./pictures";

export interface App extends Reporter {
  readonly backend: Backend;
  readonly about: About;
  readonly store: Store;
  readonly chart: Chart;
  readonly cloud: Cloud;
  readonly paths: Paths;
  readonly pictures: Pictures;
  readonly photos: Map<string, Photo>;
  readonly selection: Signal<Selection | null>;
  readonly theme: Signal<Theme>;
}
