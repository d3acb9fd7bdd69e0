/**
 * An atlas read from its folder: the facts, the networks, and the real codes when they are first
 * asked for.
 */

import { Gone, Refusal } from "../api/backend";
import type { Code, Part } from "../api/backend";
import { floats, readArrays } from "../api/wire";
import type { Arrays, Tensor } from "../api/wire";
import type { Facts } from "./facts";
import { LatentMap } from "./latentmap";
import { Networks } from "./networks";

export interface Collection {
  readonly means: Float32Array;
  readonly images: Tensor;
}

export class OfflineAtlas {
  private readonly files = new Map<string, Promise<Arrays>>();
  private images: Promise<Collection> | null = null;

  private constructor(
    private readonly folder: URL,
    readonly facts: Facts,
    readonly networks: Networks,
  ) {}

  static async open(address: string): Promise<OfflineAtlas> {
    const folder = new URL(".", address);
    const facts = (await (await got(address)).json()) as Facts;
    return new OfflineAtlas(folder, facts, new Networks(folder, facts.folder.networks));
  }

  map(signal: AbortSignal, angle = 0): LatentMap {
    return new LatentMap(this.networks, this.facts, signal, angle);
  }

  /** The map, where it has a density. */
  density(signal: AbortSignal): LatentMap {
    if (!this.facts.has_log_prob)
      throw new Refusal(
        "this map's boundary has no density, so codes cannot be projected or sampled",
        400,
      );
    return this.map(signal);
  }

  /** Means (n, d), labels, and log_prob, typicality and images where there are any. */
  codes(part: Part): Promise<Arrays> {
    return this.file(part);
  }

  /** The codes (n, d) and the images (n, h, w, c) of a collection, of both parts. */
  collection(): Promise<Collection> {
    this.images ??= Promise.all([this.codes("train"), this.codes("held_out")]).then((parts) => {
      const images = parts.map((part) => part.tensors.get("images")!);
      const data = joined(
        images.map((one) => one.data as Uint8Array),
        Uint8Array,
      );
      const count = images.reduce((sum, one) => sum + one.shape[0]!, 0);
      const means = parts.map((part) => floats(part, "means"));
      return {
        means: joined(means, Float32Array),
        images: { data, shape: [count, ...images[0]!.shape.slice(1)] },
      };
    });
    return this.images;
  }

  /** What photos are scored by; see `Scorer.known`. */
  scorer(): Promise<Arrays> {
    return this.file("scorer");
  }

  /** Images in lists; read each time, since the page takes the arrays with it. */
  overview(): Promise<Arrays> {
    return this.read("overview");
  }

  async means(part: Part): Promise<Float32Array> {
    return floats(await this.codes(part), "means");
  }

  /** The direction of an attribute. */
  direction(name: string): Code {
    const found =
      this.facts.folder.components[
        this.facts.attributes.findIndex((attribute) => attribute.name === name)
      ];
    if (!found) throw new Refusal(`this folder has no attribute '${name}'`, 400);
    return found;
  }

  /** A file of arrays, fetched when it is first asked for. */
  private file(name: string): Promise<Arrays> {
    const known = this.files.get(name);
    if (known) return known;
    const read = this.read(name);
    this.files.set(name, read);
    read.catch(() => this.files.delete(name));
    return read;
  }

  private async read(name: string): Promise<Arrays> {
    const answer = await got(new URL(`${name}.safetensors`, this.folder).href);
    return readArrays(await answer.arrayBuffer());
  }

  /** Codes of a request, of the right length. */
  checked(codes: readonly Code[]): readonly Code[] {
    const d = this.facts.dimension;
    const wrong = codes.find((code) => code.length !== d);
    if (wrong)
      throw new Refusal(
        `codes of this atlas have ${d} coordinates; one of ${wrong.length} was given`,
        400,
      );
    return codes;
  }
}

/** Arrays one after the other. */
function joined<T extends Uint8Array | Float32Array>(
  parts: readonly T[],
  Kind: new (length: number) => T,
): T {
  const whole = new Kind(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function got(address: string): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(address);
  } catch {
    throw new Gone("the host does not answer");
  }
  if (!answer.ok)
    throw new Refusal(
      `${address.split("/").pop()} is missing in this folder (${answer.status})`,
      answer.status,
    );
  return answer;
}
