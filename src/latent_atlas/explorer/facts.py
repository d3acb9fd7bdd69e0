"""What the server answers and a folder has as a file: the facts of an atlas, and image lists."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from latent_atlas import __version__
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.collection import thumbnails
from latent_atlas.atlas.overview import Section
from latent_atlas.attributes.registry import Kind
from latent_atlas.explorer.cache import Known

__all__ = [
    "WIDTHS",
    "AtlasFacts",
    "Attribute",
    "Option",
    "Planner",
    "arrays_and_facts",
    "facts_of",
]

WIDTHS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)  # tangents of the levels offered


class Image(BaseModel):
    """The shape of an image."""

    channels: int
    height: int
    width: int


class Attribute(BaseModel):
    """An attribute of codes.

    Its range is that of real codes or of the images, and null for classes.
    """

    name: str
    kind: Kind = Field(
        description="A direction; the log-odds of one class; those of all classes, which can be "
        "kept but not changed; or a number that the images have."
    )
    low: float | None = None
    high: float | None = None


class Option(BaseModel):
    """A setting of a planner."""

    name: str
    default: Any


class Planner(BaseModel):
    """A planner and its settings."""

    name: str
    options: list[Option]


class Counts(BaseModel):
    """Number of real codes by part."""

    train: int
    held_out: int


class AtlasFacts(BaseModel):
    """An atlas, and what can be asked of it; a run in training has only a name and limits."""

    name: str
    version: str = __version__
    training: bool = False
    demo: bool = False
    limits: dict[str, float]
    dimension: int | None = None
    image: Image | None = None
    classes: list[str] = []
    attributes: list[Attribute] = []
    levels: list[float] = Field(
        default=[], description="Angles of noise levels in radians; 0 is sharp."
    )
    planners: list[Planner] = []
    samplers: list[str] = []
    counts: Counts | None = None
    population: Counts | None = Field(
        default=None, description="Number of codes that those in `counts` were drawn from."
    )
    shown_by: str = Field(
        default="", description="What images of codes are: decoded, or the nearest real ones."
    )
    has_log_prob: bool = False
    threshold: float | None = Field(
        default=None, description="Log-density in nats below which a code is off-manifold."
    )
    spread: float | None = Field(
        default=None, description="Root mean square deviation of the codes."
    )
    lacks: list[str] = Field(
        default=[], description="What this explorer cannot do: embedding, mp4."
    )
    warnings: list[str] = Field(default=[], description="Sentences about the map.")


def facts_of(known: Known, name: str, limits: Mapping[str, int | float]) -> AtlasFacts:
    """The facts that do not depend on where the page computes.

    The caller adds planners, samplers and what is lacking.
    """
    atlas = known.atlas
    channels, height, width = atlas.shown_shape or (0, 0, 0)
    names = atlas.properties.names
    return AtlasFacts(
        name=name,
        limits=dict(limits),
        dimension=atlas.map.dimension,
        image=Image(channels=channels, height=height, width=width) if channels else None,
        classes=list(atlas.properties.classes),
        attributes=[one for name in names if (one := _attribute(known, name)) is not None],
        levels=[math.atan(width) for width in (WIDTHS if atlas.map.noise_levels else WIDTHS[:1])],
        counts=Counts(**{part: len(codes) for part, codes in atlas.codes.items()}),
        population=Counts(**atlas.population),
        shown_by=atlas.shown_by,
        has_log_prob=known.has_log_prob,
        threshold=known.threshold,
        spread=known.spread,
        warnings=[*atlas.map.warnings, atlas.map.calibration.verdict()],
    )


def arrays_and_facts(
    atlas: Atlas, sections: Sequence[Section]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Lists of images as an answer: their codes and images one after the other, and the rest."""
    lists = [one for section in sections for one in section.lists]
    arrays = {"codes": torch.cat([one.codes.cpu().float() for one in lists])}
    images = [one.images for one in lists if one.images is not None]
    if images:
        # Of the smallest side: a comparison may be older than a decoder, which sets another.
        side = min(some.shape[-1] for some in images)
        images = [thumbnails(some, side) for some in images]
        arrays["images"] = torch.cat(images).permute(0, 2, 3, 1).contiguous()
    return arrays, {
        "sections": [section.about() for section in sections],
        "shown_by": "reconstruction" if atlas.collection is None else "nearest",
    }


def _attribute(known: Known, name: str) -> Attribute | None:
    """An attribute; None of the components that are not offered."""
    properties = known.atlas.properties
    kind, found = properties.kind(name), known.ranges.get(name) or properties.range(name)
    if kind == "component" and found is None:
        return None
    low, high = found or (None, None)
    return Attribute(name=name, kind=kind, low=low, high=high)
