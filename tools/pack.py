"""Pack what faces/render.mjs or glyphs/render.py wrote into the one file that the package ships.

    python pack.py FOLDER ../src/latent_atlas/data/faces.npz

The pixels become one lossless WebP sheet, 40 images wide, after rounding each channel to a multiple of 8
(at most 4 of 255 off: it halves the file). Each attribute becomes an array of numbers; where they count
categories, a second array of text names them.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
COLUMNS = 40
STEP = 8

SKINS = "#fedac7 #f2d6cb #f0c5a3 #ddb7a0 #eab687 #bb876f #a67358 #ad6453 #74453d #5c3937"

# Categories in an order that means something; all others are sorted by name.
ORDER = {
    "glasses": ["no glasses", "glasses"],
    "smile": ["no smile", "smile"],
    "skin": SKINS.split(),
    "hair_colour": ["black", "dark brown", "brown", "auburn", "blond", "grey"],
    "class": ["sans", "serif", "monospace", "handwriting", "display"],
    "slant": ["upright", "italic"],
    "part": ["learned", "held out"],
}


def sheet(pixels: np.ndarray) -> np.ndarray:
    """Return the WebP file of all images (n, 64, 64, c) side by side, as bytes in an array.

    A last row that is not full is filled up with white.
    """
    rounded = np.clip((pixels.astype(int) + STEP // 2) // STEP * STEP, 0, 255).astype(np.uint8)
    missing, channels = -len(pixels) % COLUMNS, pixels.shape[3]
    full = np.pad(rounded, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    tiles = full.reshape(-1, COLUMNS, SIDE, SIDE, channels).transpose(0, 2, 1, 3, 4)
    stream = io.BytesIO()
    Image.fromarray(tiles.reshape(-1, COLUMNS * SIDE, channels).squeeze()).save(
        stream, "webp", lossless=True, quality=100, method=6
    )
    return np.frombuffer(stream.getvalue(), np.uint8)


def columns(items: list[dict[str, str | float]]) -> dict[str, np.ndarray]:
    """Return `attribute/NAME` for each attribute and `categories/NAME` for those made of words."""
    arrays: dict[str, np.ndarray] = {}
    for name in items[0]:
        values = [item[name] for item in items]
        if isinstance(values[0], str):
            categories = ORDER.get(name) or sorted(
                set(values), key=lambda word: (word != "none", word)
            )
            arrays[f"categories/{name}"] = np.array(categories)
            arrays[f"attribute/{name}"] = np.array(
                [categories.index(value) for value in values], np.int16
            )
        else:
            arrays[f"attribute/{name}"] = np.array(values, np.float32)
    return arrays


def main() -> None:
    """Read FOLDER, write FILE."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what was rendered into")
    parser.add_argument("file", type=Path, help="the .npz to write")
    options = parser.parse_args()
    items = json.loads((options.folder / "attributes.json").read_text())
    pixels = np.fromfile(options.folder / "pixels", np.uint8).reshape(len(items), SIDE, SIDE, -1)
    np.savez_compressed(options.file, sheet=sheet(pixels), **columns(items))


if __name__ == "__main__":
    main()
