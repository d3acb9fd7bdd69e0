"""Where a run's images come from, and how each of them becomes a square."""

from dataclasses import dataclass
from typing import Literal

from latent_atlas.errors import checked, require

__all__ = ["DataConfig"]


@checked
@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how each becomes a square."""

    source: str = ""
    """A named data set (digits, faces, glyphs, mnist, fashion-mnist, cifar10, celeba),
    `hf:OWNER/NAME` for one on the Hugging Face hub, or the path of a folder, a zip or tar archive,
    a folder made by `pack`, or a .npy or .npz file."""
    fit: Literal["crop", "pad"] = "crop"
    """How a non-square image becomes square: `crop` keeps the largest centred square, `pad` keeps
    the whole image and pads its short side."""
    held_out: float = 0.1
    """Fraction of the images that no network trains on, in [0, 1). The content of an image decides
    whether it is held out. A data set with an official test part keeps that part instead."""
    max_rejects: float = 0.05
    """Stop loading if more than this fraction of the files cannot be decoded, in [0, 1]."""
    float_range: tuple[float, float] | None = None
    """The numbers that are black and white in images of floats; null chooses [0, 1], [-1, 1] or
    [0, 255] from all images, and the run keeps the choice."""
    integer_white: int | None = None
    """The number that is white in images of integers of more than 8 bits, 1 or more; null chooses
    255, 1023, 4095, 16383 or 65535 from all images, and the run keeps the choice."""
    limit: int | None = None
    """Use at most this many images, chosen by their content; null uses all. Of `hf:OWNER/NAME` so
    many rows are streamed, from files that lie far apart, and the rest is not downloaded."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(
            0 <= self.held_out < 1,
            f"data.held_out is {self.held_out}; choose a fraction from 0 to below 1",
        )
        require(
            0 <= self.max_rejects <= 1,
            f"data.max_rejects is {self.max_rejects}; choose a fraction from 0 to 1",
        )
        require(
            self.float_range is None or self.float_range[0] < self.float_range[1],
            f"data.float_range is {self.float_range}; choose a black below the white",
        )
        require(
            self.integer_white is None or self.integer_white >= 1,
            f"data.integer_white is {self.integer_white}; choose 1 or more",
        )
        require(
            self.limit is None or self.limit >= 1,
            f"data.limit is {self.limit}; choose 1 or more, or leave it out for all images",
        )
