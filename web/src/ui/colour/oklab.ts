/**
 * OKLCh to sRGB: a space in which equal steps of lightness look equal, so that colour tables can be
 * computed.
 */

export type Rgb = readonly [number, number, number];

function linear(l: number, c: number, hue: number): Rgb {
  const a = c * Math.cos((hue * Math.PI) / 180);
  const b = c * Math.sin((hue * Math.PI) / 180);
  const [x, y, z] = [
    (l + 0.3963377774 * a + 0.2158037573 * b) ** 3,
    (l - 0.1055613458 * a - 0.0638541728 * b) ** 3,
    (l - 0.0894841775 * a - 1.291485548 * b) ** 3,
  ];
  return [
    4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z,
    -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z,
    -0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z,
  ];
}

const encoded = (v: number) => (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);
const inside = (rgb: Rgb) => rgb.every((v) => v >= -1e-4 && v <= 1.0001);

/**
 * sRGB in [0, 1] of lightness [0, 1], chroma and hue in degrees; the chroma is lowered until the
 * colour exists.
 */
export function oklch(l: number, c: number, hue: number): Rgb {
  let rgb = linear(l, c, hue);
  for (let chroma = c; !inside(rgb) && chroma > 0; chroma -= 0.002)
    rgb = linear(l, Math.max(chroma, 0), hue);
  const [r, g, b] = rgb.map((v) => encoded(Math.min(Math.max(v, 0), 1)));
  return [r!, g!, b!];
}

/** OKLab lightness of an sRGB colour in [0, 1]. */
export function lightness(rgb: Rgb): number {
  const [r, g, b] = rgb.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)) as [
    number,
    number,
    number,
  ];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s;
}
