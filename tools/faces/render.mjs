// Renders cartoon faces to raw pixels and writes down what each face is made of.
//
//     node render.mjs FOLDER [COUNT] [SEED]
//
// writes FOLDER/pixels (COUNT x 64 x 64 x 3 bytes) and FOLDER/attributes.json (one object per face, in the same order).

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Resvg } from "@resvg/resvg-js";
import { faceToSvgString, generate } from "facesjs";

const SIDE = 64;
const BACKGROUND = "#eef1f6";
const FRAME = "-12 82 424 424"; // x, y, width, height in facesjs's 400 x 600: the head without the jersey

// Lightest to darkest: the union of facesjs's palettes.
const SKINS = [
  "#fedac7", "#f2d6cb", "#f0c5a3", "#ddb7a0", "#eab687", "#bb876f", "#a67358", "#ad6453", "#74453d", "#5c3937",
];
const HAIR_COLOURS = {
  black: "#1c1512",
  "dark brown": "#3d2314",
  brown: "#7a4b2a",
  auburn: "#b55239",
  blond: "#e9c67b",
  grey: "#b9b6b2",
};
const SHIRT = "#5b8fb9"; // hardly in the frame

// A part of facesjs's drawings: those that are told apart at 64 pixels. Hats hide the hair and are left out.
const CHOICES = {
  male: {
    head: ["head1", "head4", "head6", "head10", "head14"],
    hair: [
      "short", "spike2", "curly", "afro", "parted", "messy", "middle-part", "short-fade", "shaggy1", "high", "crop",
      "bald",
    ],
    hairBg: ["none"],
    eye: ["eye1", "eye3", "eye6", "eye10", "eye13", "eye16"],
    facialHair: ["beard1", "fullgoatee", "goatee1", "mustache1", "mutton", "beard-point"],
  },
  female: {
    head: ["female1", "female2", "female3"],
    hair: [
      "female1", "female2", "female4", "female5", "female7", "female9", "female10", "female12", "shortBangs", "curly2",
    ],
    hairBg: ["female1", "female2", "female3", "longHair", "none"],
    eye: ["female1", "female3", "female6", "female9", "female12", "female15"],
    facialHair: [],
  },
};
const EYEBROWS = ["eyebrow1", "eyebrow3", "eyebrow6", "eyebrow10", "eyebrow15", "eyebrow19"];
const MOUTHS = ["angry", "straight", "closed", "mouth", "side", "smile-closed", "smile", "smile3"];
const NOSES = ["nose1", "nose4", "nose7", "nose9", "nose13", "small"];
const SMILING = new Set(["smile-closed", "smile", "smile3"]);

// facesjs draws from Math.random, which cannot be seeded: replaced by mulberry32.
function seededRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const choose = (values) => values[Math.floor(Math.random() * values.length)];

function drawFace() {
  const gender = choose(["male", "female"]);
  const parts = CHOICES[gender];
  const skin = choose(SKINS);
  const hairColour = choose(Object.keys(HAIR_COLOURS));
  const bearded = parts.facialHair.length > 0 && Math.random() < 0.5;
  const face = generate(
    {
      accessories: { id: "none" },
      body: { id: "body", color: skin },
      eye: { id: choose(parts.eye) },
      eyebrow: { id: choose(EYEBROWS) },
      eyeLine: { id: "none" },
      facialHair: { id: bearded ? choose(parts.facialHair) : "none" },
      glasses: { id: Math.random() < 0.5 ? "glasses2-black" : "none" },
      hair: { id: choose(parts.hair), color: HAIR_COLOURS[hairColour] },
      hairBg: { id: choose(parts.hairBg) },
      head: { id: choose(parts.head), shave: "rgba(0,0,0,0)" },
      jersey: { id: "jersey3" },
      miscLine: { id: "none" },
      mouth: { id: choose(MOUTHS) },
      nose: { id: choose(NOSES) },
      smileLine: { id: "none" },
      teamColors: [SHIRT, SHIRT, SHIRT],
    },
    { gender },
  );
  return { face, words: { gender, skin, hairColour } };
}

// Numbers stay numbers; words become categories in pack.py.
function attributes({ face, words }) {
  return {
    glasses: face.glasses.id === "none" ? "no glasses" : "glasses",
    facial_hair: face.facialHair.id,
    smile: SMILING.has(face.mouth.id) ? "smile" : "no smile",
    gender: words.gender,
    skin: words.skin,
    hair_colour: words.hairColour,
    hair: face.hair.id,
    hair_behind: face.hairBg.id,
    head: face.head.id,
    eye: face.eye.id,
    eyebrow: face.eyebrow.id,
    mouth: face.mouth.id,
    nose: face.nose.id,
    fatness: face.fatness,
    ear_size: face.ear.size,
    eye_angle: face.eye.angle,
    eyebrow_angle: face.eyebrow.angle,
    nose_size: face.nose.size,
  };
}

function pixels(face) {
  const svg = faceToSvgString(face).replace('viewBox="0 0 400 600"', `viewBox="${FRAME}"`);
  const rendered = new Resvg(svg, { background: BACKGROUND, fitTo: { mode: "width", value: SIDE } }).render();
  if (rendered.width !== SIDE || rendered.height !== SIDE) throw new Error("the frame is not square");
  return Buffer.from(rendered.pixels.filter((_, index) => index % 4 !== 3));
}

const [folder, count = "2000", seed = "0"] = process.argv.slice(2);
if (!folder) throw new Error("usage: node render.mjs FOLDER [COUNT] [SEED]");
Math.random = seededRandom(Number(seed));
const drawn = Array.from({ length: Number(count) }, drawFace);
mkdirSync(folder, { recursive: true });
// Rendering first: facesjs may alter a face while it draws it, and the attributes are to say what was drawn.
writeFileSync(join(folder, "pixels"), Buffer.concat(drawn.map(({ face }) => pixels(face))));
writeFileSync(join(folder, "attributes.json"), JSON.stringify(drawn.map(attributes)));
