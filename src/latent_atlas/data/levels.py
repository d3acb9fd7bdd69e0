"""One scale for all float images of a collection, and one for all its deep integers.

| numbers of the whole collection | black and white |
|---|---|
| booleans, 8-bit integers | as they are |
| other integers | 0, and the least of 255, 1023, 4095, 16383, 65535 that none exceeds |
| floats within [0, 1] | 0 and 1 |
| floats within [-1, 1], some below -0.5 and some above 0 | -1 and 1 |
| floats within [0, 255], most of those that are not 0 above 1, and one above 64 | 0 and 255 |
| anything else | refused, with the range that was seen |

"Within" bears rounding of a thousandth of the scale, and one value in a thousand beyond it: these
values are clamped, and their number is said.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Shaped, UInt8

from latent_atlas.errors import counted

__all__ = ["Levels", "Scale", "Tally", "tally_of", "usual_scale"]

FEW = 1e-3  # share of the values that may lie beyond the scale
TOLERANCE = 1e-3  # rounding, as a share of the scale


@dataclass(frozen=True)
class Scale:
    """The numbers that become 0 and 255."""

    black: float
    white: float

    def to_bytes(
        self, values: Shaped[np.ndarray, "height width bands"]
    ) -> UInt8[np.ndarray, "height width bands"]:
        """Bring numbers to 0..255, rounded; those beyond the scale are clamped."""
        within = np.clip(values, float(self.black), float(self.white)).astype(np.float32)
        return np.rint((within - self.black) / (self.white - self.black) * 255).astype(np.uint8)

    def beyond(self, values: Shaped[np.ndarray, "height width bands"]) -> int:
        """How many values lie outside by more than rounding."""
        rounding = TOLERANCE * (self.white - self.black)
        outside = (values < self.black - rounding) | (values > self.white + rounding)
        return int(outside.sum())

    def __str__(self) -> str:
        """As an interval."""
        return f"[{self.black:g}, {self.white:g}]"


UNIT, SIGNED, BYTES = Scale(0, 1), Scale(-1, 1), Scale(0, 255)
FLOAT_SCALES = (UNIT, SIGNED, BYTES)
DEPTHS = tuple(Scale(0, 2**bits - 1) for bits in (8, 10, 12, 14, 16))


@dataclass(frozen=True)
class Tally:
    """Counts of the numbers of one image or many, by which their scale is chosen.

    Attributes:
        floats: Whether they are floats; integers if not.
        low, high: Their range.
        names: Of the images with the lowest and with the highest number.
        count: How many there are.
        beyond: How many lie outside each of the scales of floats.
        negative: How many are below -0.5.
        nonzero: How many are not 0.
        large: How many are above 1.
    """

    floats: bool
    low: float
    high: float
    names: tuple[str, str]
    count: int
    beyond: tuple[int, ...]
    negative: int
    nonzero: int
    large: int

    def __add__(self, other: "Tally") -> "Tally":
        """The tally of both."""
        return Tally(
            self.floats,
            min(self.low, other.low),
            max(self.high, other.high),
            (
                (self if self.low <= other.low else other).names[0],
                (self if self.high >= other.high else other).names[1],
            ),
            self.count + other.count,
            tuple(a + b for a, b in zip(self.beyond, other.beyond, strict=True)),
            self.negative + other.negative,
            self.nonzero + other.nonzero,
            self.large + other.large,
        )

    def scale(self) -> "Scale | str":
        """The scale by the table at the head of this module, or a sentence if no scale fits."""
        if not self.floats:
            fits = [depth for depth in DEPTHS if self.high <= depth.white]
            if fits and self.low >= 0:
                return fits[0]
            return f"{self.in_words()}, which is beyond 0..65535; save them as uint8"
        likely = (
            True,
            self.negative > FEW * self.count and self.high > 0,
            self.high > 64 and 2 * self.large > self.nonzero,
        )
        for scale, beyond, is_likely in zip(FLOAT_SCALES, self.beyond, likely, strict=True):
            if is_likely and beyond <= FEW * self.count:
                return scale
        return (
            f"{self.in_words()}, which fits none of [0, 1], [-1, 1] and [0, 255]; bring them to "
            "one of these, save them as uint8, or say what is black and white, such as "
            "data.float_range=[-5,5]"
        )

    def depth_of_files(self) -> "Scale | str":
        """16 bits for integers that fit them, as in files of one image."""
        fits = self.scale()
        return fits if isinstance(fits, str) else DEPTHS[-1]

    def count_beyond(self, scale: "Scale") -> int:
        """How many values lie outside a scale; of integers only whether any does."""
        if self.floats and scale in FLOAT_SCALES:
            return self.beyond[FLOAT_SCALES.index(scale)]
        rounding = TOLERANCE * (scale.white - scale.black)
        return int(self.low < scale.black - rounding or self.high > scale.white + rounding)

    def is_beyond(self, scale: "Scale") -> bool:
        """Whether more values lie outside a scale than may be clamped."""
        few = max(1, FEW * self.count) if self.floats and scale in FLOAT_SCALES else 0
        return self.count_beyond(scale) > few

    def in_words(self) -> str:
        """The range, and the images where its ends were seen."""
        places = " and ".join(dict.fromkeys(name for name in self.names if name))
        kind = "floats" if self.floats else "integers"
        words = f"its {kind} go from {self.low:.7g} to {self.high:.7g}"
        return f"{words} ({places})" if places else words


def tally_of(values: Shaped[np.ndarray, "height width bands"], name: str) -> Tally:
    """The tally of one image of finite numbers."""
    floats = values.dtype.kind == "f"
    return Tally(
        floats,
        float(values.min()),
        float(values.max()),
        (name, name),
        values.size,
        tuple(scale.beyond(values) for scale in FLOAT_SCALES) if floats else (0, 0, 0),
        int((values < -0.5).sum()),
        int((values != 0).sum()),
        int((values > 1).sum()),
    )


@dataclass(frozen=True)
class Levels:
    """The scales of one collection.

    Attributes:
        floats, integers: Of its float images, and of its images of deep integers; a sentence that
            says why they fit no scale; or None where there are none.
        notes: What to tell the user about them.
    """

    floats: Scale | str | None = None
    integers: Scale | str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, tallies: list[Tally], known: "Levels") -> "Levels":
        """The scales of a whole collection, from the tallies of its images where none is known."""
        scales = {True: known.floats, False: known.integers}
        notes: list[str] = []
        for floats in (True, False):
            kind = [tally for tally in tallies if tally.floats == floats]
            if kind:
                whole = reduce(Tally.__add__, kind)
                scales[floats] = scales[floats] or whole.scale()
                notes += _notes(whole, scales[floats], len(kind))
        return cls(scales[True], scales[False], tuple(notes))

    def chosen(self, tally: Tally) -> Scale | str | None:
        """What was chosen for images of a kind."""
        return self.floats if tally.floats else self.integers

    def scale(self, tally: Tally) -> Scale | str:
        """The scale of a later image, or a sentence if it is beyond that of the collection.

        Where the collection has none, floats have a scale of their own, and deep integers 16 bits.
        """
        chosen = self.chosen(tally)
        if not isinstance(chosen, Scale):
            return chosen or (tally.scale() if tally.floats else tally.depth_of_files())
        if tally.is_beyond(chosen):
            return f"{tally.in_words()}, beyond {chosen}, by which the other images are read"
        return chosen


def usual_scale(tally: Tally) -> Scale:
    """The scale of most collections: [0, 1] for floats, 16 bits for deep integers."""
    return UNIT if tally.floats else DEPTHS[-1]


def _notes(whole: Tally, scale: Scale | str | None, images: int) -> list[str]:
    """How the numbers of a kind are read, and how many lie beyond their scale."""
    if not isinstance(scale, Scale):
        return []
    beyond = whole.count_beyond(scale)
    clamped = f"; {beyond:,} of {whole.count:,} values lie beyond and are clamped" if beyond else ""
    kind = whole.in_words().removeprefix("its ")
    return [
        f"{counted(images, 'image')}: {kind}; {scale.black:g} is read as black and "
        f"{scale.white:g} as white{clamped}"
    ]
