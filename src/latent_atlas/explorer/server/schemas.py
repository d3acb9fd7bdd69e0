"""The bodies of requests, checked before anything is computed."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.errors import UserError
from latent_atlas.explorer.server.limits import LIMITS
from latent_atlas.geometry.planes import Window as ChartWindow

__all__ = [
    "MOST",
    "Code",
    "Codes",
    "Decode",
    "Export",
    "Membership",
    "Neighbours",
    "Option",
    "Part",
    "Plane",
    "Points",
    "Project",
    "RandomWalk",
    "Raster",
    "Sample",
    "Travel",
    "Traverse",
    "Window",
    "tensor",
]

MOST = LIMITS.coordinate
Number = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]
Code = Annotated[
    list[Number],
    Field(min_length=1, max_length=65_536, description="A code: d numbers.", fail_fast=True),
]
Codes = Annotated[list[Code], Field(min_length=1, max_length=LIMITS.codes, fail_fast=True)]
Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=8)]
Part = Annotated[
    Literal["train", "held_out"], Field(description="Which real codes: training or held-out.")
]
Frames = Annotated[
    int, Field(ge=2, le=LIMITS.frames, description="Frames of a path, both ends included.")
]
Seed = Annotated[
    int,
    Field(ge=0, lt=2**63, description="Of all randomness: the same seed gives the same answer."),
]
Option = bool | int | float | list[Number] | None


def tensor(codes: Sequence[Sequence[float]], atlas: Atlas) -> Tensor:
    """Codes (n, d) of the atlas's space.

    Raises:
        UserError: one has another length.
    """
    d = atlas.map.dimension
    for code in codes:
        if len(code) != d:
            raise UserError(
                f"codes of this atlas have {d} coordinates; one with {len(code)} was given"
            )
    return torch.tensor(codes, dtype=torch.float32, device=atlas.device)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)


class Window(_Asked):
    """A rectangle of a plane, in latent units."""

    left: Number
    right: Number
    bottom: Number
    top: Number

    def of_chart(self) -> ChartWindow:
        """The same for a chart.

        Raises:
            UserError: it is empty.
        """
        if not (self.left < self.right and self.bottom < self.top):
            raise UserError(
                "the window is empty; left is to be less than right, and bottom less than top"
            )
        return ChartWindow(self.left, self.right, self.bottom, self.top)


class Plane(_Asked):
    """A plane in Z, and the resolution of the map on it."""

    kind: Literal["principal", "through", "attributes", "given"] = Field(
        "principal",
        description="The plane in which codes vary most; through three codes; of two "
        "attributes; or a given one.",
    )
    codes: Annotated[list[Code], Field(max_length=3)] | None = Field(
        None, description="through: the three codes."
    )
    attributes: Names | None = Field(None, description="attributes: the two names.")
    origin: Code | None = Field(None, description="given, attributes: a code of the plane.")
    axes: Annotated[list[Code], Field(max_length=2)] | None = Field(
        None, description="given: two directions."
    )
    window: Window | None = Field(
        None, description="The part shown; by default the part with the codes."
    )
    level: float = Field(
        0.0,
        ge=0,
        le=1.3,
        allow_inf_nan=False,
        description="Angle in radians of the noise level; 0 is sharp.",
    )
    resolution: int = Field(256, ge=2, le=LIMITS.resolution, description="Pixels along each side.")
    arrows: int = Field(
        0, ge=0, le=LIMITS.arrows, description="Arrows of the score along each side."
    )


class Points(_Asked):
    """Real codes to project onto a plane."""

    origin: Code
    axes: Annotated[list[Code], Field(min_length=2, max_length=2)]
    part: Part = "train"
    offset: int = Field(0, ge=0, le=2**40, description="The first code.")
    count: int = Field(LIMITS.rows, ge=1, le=LIMITS.rows, description="How many codes.")


class Raster(_Asked):
    """A window of a plane in which all real codes are counted."""

    origin: Code
    axes: Annotated[list[Code], Field(min_length=2, max_length=2)]
    part: Part = "train"
    window: Window
    resolution: int = Field(256, ge=2, le=LIMITS.resolution, description="Cells along each side.")


class Decode(_Asked):
    """Codes to decode."""

    codes: Codes


class Membership(_Asked):
    """Codes to compare with real ones."""

    codes: Codes


class Travel(_Asked):
    """Waypoints to connect by one or several planners."""

    waypoints: Annotated[list[Code], Field(min_length=2, max_length=LIMITS.waypoints)]
    planners: Names = Field(["typical"], min_length=1)
    frames: Frames = 17
    closed: bool = Field(False, description="Whether to return to the first waypoint.")
    preserve: Names = Field([], description="Attributes of the first waypoint to keep.")
    pace: Literal["latent", "perceived"] = "latent"
    images: bool = Field(
        True, description="Whether to decode the frames; without images, the answer is faster."
    )
    options: dict[str, dict[str, Option]] = Field(
        {},
        max_length=8,
        description="Settings by planner and name; integers up to four times their default.",
    )


class _FromOne(_Asked):
    start: Code
    frames: Frames = 17


class Traverse(_FromOne):
    """A path from one code along an attribute."""

    attribute: str | Code = Field(description="Its name, or a direction.")
    by: Number | None = Field(None, description="By how much to change it; negative for less.")
    to: Number | None = Field(None, description="The value to reach, instead of by.")
    keep: Names = []
    within: Annotated[float, Field(gt=0, le=MOST)] | None = Field(
        None,
        description="How far the kept attributes may move; by default 0.1, or a tenth of the "
        "standard deviation of a number.",
    )
    steps: int = Field(4, ge=1, le=16, description="Of the curve from frame to frame.")


class RandomWalk(_FromOne):
    """A random walk among dense codes around one code."""

    stride: int = Field(10, ge=1, le=40, description="Steps of the walk from frame to frame.")
    width: float = Field(
        0.0,
        ge=0,
        le=3,
        description="Noise width of the density it samples; a wider one lets it move further.",
    )
    tuning: int = Field(
        200, ge=10, le=400, description="Steps of the trial walk that sets the step size."
    )
    seed: Seed = 0


class Project(_Asked):
    """A code to project to high density."""

    start: Code
    share: float = Field(
        0.05,
        ge=0.001,
        le=0.999,
        description="Share of real codes less likely than the projection; 0.5 is typical.",
    )


class Sample(_Asked):
    """Codes to sample from the map."""

    n: int = Field(16, ge=1, le=LIMITS.samples)
    sampler: str = Field("auto", max_length=40)
    temperature: float = Field(1.0, gt=0, le=10, description="Below 1 stays near the modes.")
    near: Code | None = Field(None, description="A code to sample around.")
    width: Annotated[float, Field(gt=0, le=MOST)] | None = Field(
        None, description="Standard deviation around it."
    )
    where: dict[str, str | tuple[Number | None, Number | None]] = Field(
        {}, max_length=8, description="Class name, or a range whose ends may be null, by attribute."
    )
    seed: Seed = 0

    def conditions(self) -> dict[str, str | tuple[float, float]]:
        """What `Atlas.sample_codes` takes as `where`."""
        return {
            name: value if isinstance(value, str) else _range(*value)
            for name, value in self.where.items()
        }


class Neighbours(_Asked):
    """Real codes near some codes."""

    codes: Codes
    k: int = Field(8, ge=1, le=LIMITS.neighbours)
    part: Part = "train"


class Export(_Asked):
    """A path to write as a file."""

    points: Annotated[list[Code], Field(min_length=1, max_length=LIMITS.frames)]
    format: Literal["gif", "mp4", "png", "npz", "json"]
    seconds: float = Field(4.0, ge=0.1, le=60, description="Duration of a film, one way.")
    bounce: bool = Field(True, description="Whether a film plays there and back.")
    name: str = Field("path", max_length=80, description="Label of a film strip.")


def _range(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high
