"""What is being explored: the first thing that the page asks."""

import importlib.util
import math
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from latent_atlas import __version__
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.explorer.server.cache import Known
from latent_atlas.explorer.server.planner_options import offered
from latent_atlas.explorer.server.routes.embedding import possible
from latent_atlas.explorer.server.routes.images import EXPLORED
from latent_atlas.explorer.server.safetensors_response import finite
from latent_atlas.explorer.server.state import Asking, Explorer

__all__ = ["routes"]

routes = APIRouter()
WIDTHS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)  # tangents of the levels offered


class Image(BaseModel):
    """The shape of an image."""

    channels: int
    height: int
    width: int


class Attribute(BaseModel):
    """Something that can be kept or changed; its range is that of real codes, null where it has to be learned first."""

    name: str
    kind: Literal["component", "class", "classes"] = Field(
        description="A direction; the log-odds of one class; or those of all classes, which can be kept, not changed."
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
    """Real codes by part."""

    train: int
    held_out: int


class AtlasFacts(BaseModel):
    """What is being explored; of a run that is still training, no more than its name and the limits."""

    name: str
    version: str
    training: bool
    demo: bool
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
    has_log_prob: bool = False
    edge: float | None = Field(
        default=None, description="Log-density in nats below which a place is outside."
    )
    spread: float | None = Field(
        default=None, description="Root mean square deviation of the codes."
    )
    lacks: list[str] = Field(default=[], description="What cannot be had here: embedding, mp4.")
    notes: list[str] = Field(
        default=[], description="What should be known of the map, in sentences."
    )


@routes.get("/atlas")
async def atlas(asking: Asking) -> AtlasFacts:
    """What is being explored, and what can be asked."""
    explorer = asking.explorer
    facts = AtlasFacts(
        name=_name(explorer), version=__version__, training=explorer.training, demo=explorer.demo,
        limits=vars(explorer.limits),
    )  # fmt: skip
    return facts if facts.training else await asking.of(lambda known: _whole(known, facts))


def _whole(known: Known, facts: AtlasFacts) -> AtlasFacts:
    held = known.atlas
    channels, height, width = held.image_shape if held.model is not None else (0, 0, 0)
    return facts.model_copy(
        update={
            "name": facts.name or held.config.data.source or "atlas",
            "dimension": held.map.dimension,
            "image": Image(channels=channels, height=height, width=width) if channels else None,
            "classes": [name for name in held.properties.names if _kind(name) == "class"],
            "attributes": [
                _attribute(known, name) for name in held.properties.names if _is_shown(known, name)
            ],
            "levels": [
                math.atan(width) for width in (WIDTHS if held.map.noise_levels else WIDTHS[:1])
            ],
            "planners": [
                Planner(
                    name=name,
                    options=[Option(name=o, default=finite(d)) for o, d in options.items()],
                )
                for name, options in offered().items()
                if held.model is not None or name != "pullback"
            ],
            "samplers": list(EXPLORED),
            "counts": Counts(**{part: len(codes) for part, codes in held.codes.items()}),
            "has_log_prob": known.has_log_prob,
            "edge": known.edge,
            "spread": known.spread,
            "lacks": _lacks(held),
            "notes": [*held.map.warnings, held.map.calibration.verdict()],
        }
    )


def _lacks(held: Atlas) -> list[str]:
    """What needs packages that are not installed, or other numbers of codes."""
    can = {
        "embedding": possible(len(held.codes["train"])),
        "mp4": importlib.util.find_spec("av") is not None,
    }
    return [name for name, there in can.items() if not there]


def _name(explorer: Explorer) -> str:
    if explorer.demo:
        return "demo"
    return "" if explorer.run is None else explorer.run.path.resolve().name


def _kind(name: str) -> Literal["component", "class", "classes"]:
    if name.startswith("component:"):
        return "component"
    return "classes" if name == "class" else "class"


def _is_shown(known: Known, name: str) -> bool:
    return _kind(name) != "component" or name in known.ranges


def _attribute(known: Known, name: str) -> Attribute:
    low, high = known.ranges.get(name, (None, None))
    return Attribute(name=name, kind=_kind(name), low=low, high=high)
