/** Making elements in one line. */

type Child = Node | string | null | undefined | false;
type Properties<E> = { [K in keyof E]?: E[K] | undefined } & {
  data?: Record<string, string>;
  aria?: Record<string, string>;
};

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { data, aria, ...others } = properties;
  for (const [name, value] of Object.entries(others))
    if (value !== undefined) Reflect.set(element, name, value);
  for (const [name, value] of Object.entries(data ?? {})) element.dataset[name] = value;
  for (const [name, value] of Object.entries(aria ?? {}))
    element.setAttribute(`aria-${name}`, value);
  element.append(...children.filter((child): child is Node | string => !!child || child === ""));
  return element;
}

export function svg(
  tag: string,
  attributes: Record<string, string | number> = {},
  ...children: (Node | string)[]
): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, `${value}`);
  element.append(...children);
  return element;
}

/** An image of bytes (h, w, c) on a canvas, in its own pixels; CSS makes it larger. */
export function picture(
  bytes: Uint8Array | Float32Array | Int32Array,
  height: number,
  width: number,
  channels: number,
  label: string,
): HTMLCanvasElement {
  const canvas = h("canvas", {
    width,
    height,
    className: width < 64 ? "picture coarse" : "picture",
  });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const image = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    for (let c = 0; c < 3; c++)
      image.data[4 * k + c] = bytes[k * channels + (channels >= 3 ? c : 0)] ?? 0;
    image.data[4 * k + 3] = channels === 4 ? (bytes[k * channels + 3] ?? 255) : 255;
  }
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return canvas;
}

/**
 * A slider with its name and its value in words; `input` while it moves, `change` when it is let
 * go.
 */
export function slider(
  name: string,
  range: { min: number; max: number; step: number; value: number },
  says: (value: number) => string,
  on: { input?: (value: number) => void; change: (value: number) => void },
): { element: HTMLLabelElement; set: (value: number) => void; input: HTMLInputElement } {
  const told = h("output", { textContent: says(range.value) });
  const input = h("input", {
    type: "range",
    min: `${range.min}`,
    max: `${range.max}`,
    step: `${range.step}`,
    value: `${range.value}`,
  });
  const show = () => {
    told.textContent = says(input.valueAsNumber);
    input.setAttribute("aria-valuetext", told.textContent);
  };
  input.addEventListener("input", () => (show(), on.input?.(input.valueAsNumber)));
  input.addEventListener("change", () => on.change(input.valueAsNumber));
  show();
  const element = h("label", { className: "slider" }, h("span", {}, name), told, input);
  const set = (value: number) => {
    if (input.valueAsNumber !== value) input.value = `${value}`;
    show();
  };
  return { element, set, input };
}

export function checkbox(
  name: string,
  change: (on: boolean) => void,
): { element: HTMLLabelElement; set: (on: boolean) => void; input: HTMLInputElement } {
  const input = h("input", { type: "checkbox" });
  input.addEventListener("change", () => change(input.checked));
  return {
    element: h("label", { className: "check" }, input, h("span", {}, name)),
    set: (on) => (input.checked = on),
    input,
  };
}

export function select(
  name: string,
  choices: readonly (readonly [string, string])[],
  change: (value: string) => void,
): { element: HTMLLabelElement; set: (value: string) => void; input: HTMLSelectElement } {
  const input = h(
    "select",
    {},
    ...choices.map(([value, words]) => h("option", { value, textContent: words })),
  );
  input.addEventListener("change", () => change(input.value));
  return {
    element: h("label", { className: "select" }, h("span", {}, name), input),
    set: (value) => (input.value = value),
    input,
  };
}

export function button(
  name: string,
  click: () => void,
  properties: Properties<HTMLButtonElement> = {},
): HTMLButtonElement {
  const element = h("button", { type: "button", textContent: name, ...properties });
  element.addEventListener("click", click);
  return element;
}
