"""Render the letter a of open fonts, and write down what each font is.

    python render.py FONTS FOLDER

FONTS holds one folder for each package that families.csv names. FOLDER gets `pixels` (n x 64 x 64 bytes, black on
white) and `attributes.json` (one object per image, in the same order); ../pack.py makes of them what is shipped.
"""

import argparse
import csv
import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

LETTER = "a"
SIDE = 64
CAPITAL = 52  # pixels from the baseline to the top of H
BASELINE = 54  # the row below the last one of H
MARGIN = 1  # pixels that stay white at each edge
FINE = 4  # a letter is drawn so many times larger, without hinting, and averaged
ALIKE = 1.0  # mean absolute difference, of 255, below which a drawing counts as a copy of another
HELD_OUT = 0.1  # fraction of the images, by families

WEIGHTS = {
    "thin": 100, "hairline": 100, "extralight": 200, "ultralight": 200, "light": 300, "medium": 500, "demi": 600,
    "semibold": 600, "demibold": 600, "bold": 700, "extrabold": 800, "ultrabold": 800, "heavy": 900, "black": 900,
}  # fmt: skip
# Per cent, of usWidthClass 1 to 9.
WIDTHS = (50.0, 62.5, 75.0, 87.5, 100.0, 112.5, 125.0, 150.0, 200.0)


@dataclass(frozen=True)
class Face:
    """One font file: a family in one weight, width and slant."""

    path: Path
    family: str
    style: str
    weight: int
    width: float
    slanted: bool

    @classmethod
    def read(cls, path: Path) -> "Face | None":
        """What the file says of itself; None if it lacks a letter or cannot be read."""
        try:
            font = TTFont(path, lazy=True)
            names, metrics, letters = font["name"], font["OS/2"], font.getBestCmap() or {}
            family, style = (
                str(names.getDebugName(new) or names.getDebugName(old) or "").strip()
                for new, old in ((16, 1), (17, 2))
            )
            slanted = font["post"].italicAngle != 0 or bool(metrics.fsSelection & 1)
        except Exception:  # damaged fonts raise almost anything
            return None
        if any(ord(letter) not in letters for letter in "AHen" + LETTER):
            return None
        first, _, last = family.rpartition(" ")
        if first and last.lower() in WEIGHTS:
            family, style = first, f"{last} {style}"
        words = re.sub(r"(extra|ultra|semi|demi)[ -]", r"\1", style.lower())
        named = [WEIGHTS[word] for word in re.findall(r"[a-z]+", words) if word in WEIGHTS]
        weight, width = metrics.usWeightClass, metrics.usWidthClass
        weight = named[-1] if named else round(weight, -1) if 100 <= weight <= 900 else 400
        if (
            re.search(r"condensed|narrow|\bcond\b|\bcn\b", f"{family} {style}".lower())
            and width == 5
        ):
            width = 3
        slanted = slanted or bool(re.search(r"italic|oblique|slanted", words))
        return cls(
            path, family, style, weight, WIDTHS[width - 1] if 1 <= width <= 9 else 100.0, slanted
        )

    @property
    def name(self) -> str:
        """Family, weight, width where it is not the normal one, and slant."""
        width = "" if self.width == 100 else f" {self.width:g} %"
        return f"{self.family} {self.weight}{width}{' italic' * self.slanted}"

    def draw(self) -> np.ndarray | None:
        """The letter, (64, 64): H would be CAPITAL pixels tall, and the ink is centred.

        None if the letter is another glyph's drawing or does not fit.
        """
        large = self._font(1000)
        size = FINE * CAPITAL * 1000 / max(1, -large.getbbox("H", anchor="ls")[1])
        shapes = {bytes(large.getmask(other)) for other in ("A", "e", "n", "\U000fffff")}
        if bytes(large.getmask(LETTER)) in shapes or size > 2000:
            return None
        font = self._font(size)
        left, top, right, bottom = font.getbbox(LETTER, anchor="ls")
        if (
            right - left > FINE * (SIDE - 2 * MARGIN)
            or -top > FINE * (BASELINE - MARGIN)
            or bottom > FINE * (SIDE - MARGIN - BASELINE)
        ):
            return None
        tile = Image.new("L", (FINE * SIDE, FINE * SIDE), 255)
        start = (FINE * SIDE - right - left) / 2, FINE * BASELINE
        ImageDraw.Draw(tile).text(start, LETTER, fill=0, font=font, anchor="ls")
        return np.asarray(tile.reduce(FINE))

    def _font(self, size: float) -> ImageFont.FreeTypeFont:
        """The font at `size` pixels per em."""
        return ImageFont.truetype(self.path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def package(folder: Path) -> list[Face]:
    """All faces of a package that have the letters of English."""
    files = (path for kind in ("otf", "ttf", "woff") for path in folder.rglob(f"*.{kind}"))
    return [face for path in sorted(files) if (face := Face.read(path))]


def faces(folder: Path, family: str) -> list[Face]:
    """The faces of a family in the folder of its package, one for each weight, width and slant."""
    found = [face for face in package(folder) if face.family == family]
    found.sort(key=lambda face: -len(face.style))  # Regular replaces Regular Caps
    return sorted({face.name: face for face in found}.values(), key=lambda face: face.name)


def held_out(families: list[str]) -> set[str]:
    """The first words of the families held out, with a tenth of the images: in an order by hash.

    Arguments:
        families: One per image. Those whose names begin with one word are often relatives.
    """
    words = [family.split()[0].lower() for family in families]
    chosen: set[str] = set()
    for word in sorted(set(words), key=lambda word: hashlib.blake2b(word.encode()).digest()):
        if sum(one in chosen for one in words) >= HELD_OUT * len(words):
            break
        chosen.add(word)
    return chosen


def main() -> None:
    """Read FONTS, write FOLDER."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fonts", type=Path, help="one folder for each package")
    parser.add_argument("folder", type=Path, help="where to write")
    options = parser.parse_args()
    pixels, attributes = np.empty((0, SIDE, SIDE), np.uint8), []
    for row in csv.DictReader((Path(__file__).parent / "families.csv").open()):
        for face in faces(options.fonts / row["package"], row["family"]):
            tile = face.draw()
            if tile is None or (abs(pixels - tile.astype(np.int16)).mean((1, 2)) < ALIKE).any():
                print(f"left out: {face.name} ({face.path.name})")
                continue
            pixels = np.concatenate([pixels, tile[None]])
            attributes.append(
                {
                    "face": face.name,
                    "class": row["class"],
                    "family": row["family"],
                    "weight": float(face.weight),
                    "width": face.width,
                    "slant": "italic" if face.slanted else "upright",
                }
            )
    held = held_out([one["family"] for one in attributes])
    for one in attributes:
        one["part"] = "held out" if one["family"].split()[0].lower() in held else "learned"
    options.folder.mkdir(parents=True, exist_ok=True)
    pixels.tofile(options.folder / "pixels")
    (options.folder / "attributes.json").write_text(json.dumps(attributes))


if __name__ == "__main__":
    main()
