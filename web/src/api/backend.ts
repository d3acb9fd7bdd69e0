/**
 * What the page asks of its backend: the server, or a folder of files with the networks in the
 * browser.
 */

import type { Arrays } from "./wire";

export type Code = readonly number[];

/** A code as the key of a map. */
export const keyOf = (code: Code): string => code.join(",");

/** A place on a plane, or on a canvas in pixels. */
export type Place = readonly [x: number, y: number];

export interface Window {
  readonly left: number;
  readonly right: number;
  readonly bottom: number;
  readonly top: number;
}

export interface Option {
  readonly name: string;
  readonly default: unknown;
}

export interface Attribute {
  readonly name: string;
  /**
   * A coordinate; the log-odds of one class; or those of all classes together, which have no single
   * direction.
   */
  readonly kind: "component" | "class" | "classes" | "value";
  /** Between which values nearly all codes lie; null where that has not been learned. */
  readonly low: number | null;
  readonly high: number | null;
}

/** The facts of an atlas that the page needs. */
export interface About {
  readonly name: string;
  readonly version: string;
  readonly dimension: number;
  readonly image: {
    readonly channels: number;
    readonly height: number;
    readonly width: number;
  } | null;
  readonly classes: readonly string[];
  readonly attributes: readonly Attribute[];
  readonly levels: readonly number[];
  readonly planners: readonly { readonly name: string; readonly options: readonly Option[] }[];
  readonly samplers: readonly string[];
  readonly counts: Readonly<Record<Part, number>>;
  /** Of how many codes those in `counts` are a sample. */
  readonly population?: Readonly<Record<Part, number>> | null;
  /** What images of codes are; real codes of a collection always have their own. */
  readonly shown_by?: "decoded" | "nearest real" | "";
  readonly has_log_prob: boolean;
  readonly threshold: number | null;
  readonly spread: number;
  readonly limits: Readonly<Record<"pixels" | "bytes" | "frames" | "waypoints" | "codes", number>>;
  readonly training: boolean;
  readonly demo: boolean;
  /** What this backend cannot do, so that the page does not offer it. */
  readonly lacks?: readonly Ability[];
}

export type Ability =
  "photos" | "keep" | "pace" | "traverse" | "membership" | "embedding" | Format;

export const offers = (about: About, ability: Ability): boolean => !about.lacks?.includes(ability);

export type Part = "train" | "held_out";

export type PlaneKind =
  | { readonly kind: "principal" }
  | { readonly kind: "through"; readonly codes: readonly Code[] }
  | { readonly kind: "attributes"; readonly attributes: readonly [string, string] }
  | { readonly kind: "embedding" };

export interface Axes {
  readonly origin: Code;
  readonly axes: readonly [Code, Code];
}

export interface PlaneRequest {
  readonly plane: PlaneKind;
  readonly window: Window | null;
  readonly level: number;
  readonly resolution: number;
  readonly arrows: number;
}

export interface Progress {
  /** Of the log: phase, step and steps, and losses by name. */
  readonly records: readonly Readonly<Record<string, number | string | null>>[];
  readonly training: boolean;
  readonly picture: number | null;
  /** Likewise of the map. */
  readonly map: number | null;
}

/** The settings of a path or of samples. */
export type Settings = Readonly<Record<string, unknown>>;
export type Verb = "travel" | "traverse" | "random_walk" | "project" | "sample";
export type Format = "gif" | "mp4" | "png" | "npz" | "json";

/** Every verb may be cancelled by its signal. */
export interface Backend {
  about(signal?: AbortSignal): Promise<About>;
  plane(request: PlaneRequest, signal?: AbortSignal): Promise<Arrays>;
  points(
    axes: Axes,
    part: Part,
    offset: number,
    count: number,
    signal?: AbortSignal,
  ): Promise<Arrays>;
  /** Counts of all codes in the cells of a window; missing where the page shows every code. */
  raster?(
    axes: Axes,
    part: Part,
    window: Window,
    resolution: number,
    signal?: AbortSignal,
  ): Promise<Arrays>;
  codes(
    part: Part,
    offset: number,
    count: number,
    fields: string,
    signal?: AbortSignal,
  ): Promise<Arrays>;
  thumbnails(
    part: Part,
    indices: readonly number[],
    size: number,
    signal?: AbortSignal,
  ): Promise<ImageBitmap>;
  encode(photo: Blob, signal?: AbortSignal): Promise<Arrays>;
  decode(codes: readonly Code[], signal?: AbortSignal): Promise<Arrays>;
  /** How much codes look like real ones. */
  membership(codes: readonly Code[], signal?: AbortSignal): Promise<Arrays>;
  compute(verb: Verb, settings: Settings, signal?: AbortSignal): Promise<Arrays>;
  neighbours(codes: readonly Code[], k: number, part: Part, signal?: AbortSignal): Promise<Arrays>;
  /** Images in lists, with the codes and the images of all of them. */
  overview(signal?: AbortSignal): Promise<Arrays>;
  export(
    points: readonly Code[],
    format: Format,
    seconds: number,
    signal?: AbortSignal,
  ): Promise<Blob>;
  progress(signal?: AbortSignal): Promise<Progress>;
  /**
   * Where the newest sheet of a run in training is; the number makes the browser ask for a new one.
   */
  picture(number: number): string;
  /** The map of a run in training, as far as it has grown. */
  growth(signal?: AbortSignal): Promise<Arrays>;
  embedding(signal?: AbortSignal): Promise<Arrays>;
}

/** A refusal in one sentence. */
export class Refusal extends Error {
  constructor(
    sentence: string,
    readonly status: number,
  ) {
    super(sentence);
  }
}

/** The server does not answer. */
export class Gone extends Error {}
