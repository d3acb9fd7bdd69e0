/**
 * The networks in the browser: ONNX graphs run by WebAssembly on one thread, so that a host needs
 * to send no headers.
 */

import binary from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import * as ort from "onnxruntime-web/wasm";

const TURN = 12; // milliseconds after which messages are read, and cancelled requests noticed

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: binary };
ort.env.logLevel = "error";

export type Inputs = Readonly<
  Record<string, { readonly data: Float32Array; readonly shape: readonly number[] }>
>;
export type Outputs = ReadonlyMap<string, Float32Array>;

export class Networks {
  private readonly sessions = new Map<string, Promise<ort.InferenceSession>>();
  private queue: Promise<unknown> = Promise.resolve();
  private yielded = performance.now();

  constructor(
    private readonly folder: URL,
    private readonly names: readonly string[],
  ) {}

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** Run a network once; it is fetched when it is first asked for. */
  async run(name: string, inputs: Inputs, signal: AbortSignal): Promise<Outputs> {
    await this.turn(signal);
    const session = await this.session(name);
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([input, { data, shape }]) => [
        input,
        new ort.Tensor("float32", data, shape),
      ]),
    );
    // one at a time: they share a stack
    const answer = this.queue.then(() => session.run(feeds));
    this.queue = answer.catch(() => undefined);
    const outputs = await answer;
    return new Map(
      Object.entries(outputs).map(([output, tensor]) => [output, tensor.data as Float32Array]),
    );
  }

  private session(name: string): Promise<ort.InferenceSession> {
    const known = this.sessions.get(name);
    if (known) return known;
    const made = ort.InferenceSession.create(new URL(`${name}.onnx`, this.folder).href, {
      executionProviders: ["wasm"],
    });
    this.sessions.set(name, made);
    made.catch(() => this.sessions.delete(name));
    return made;
  }

  /** Read messages now and then, and end where the request is cancelled. */
  private async turn(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.yielded > TURN) {
      await new Promise<void>((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => (port1.close(), resolve());
        port2.postMessage(null);
      });
      this.yielded = performance.now();
    }
    signal.throwIfAborted();
  }
}
