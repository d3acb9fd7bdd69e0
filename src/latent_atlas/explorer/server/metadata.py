"""The facts of the atlas: the first request of the page."""

import importlib.util

from fastapi import APIRouter

from latent_atlas.errors import printable
from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.facts import AtlasFacts, Option, Planner, facts_of
from latent_atlas.explorer.server.limits import EMBEDDED
from latent_atlas.explorer.server.planner_options import OFFERED_SAMPLERS, offered
from latent_atlas.explorer.server.state import Asking, Explorer
from latent_atlas.runs import json_safe

__all__ = ["routes"]

routes = APIRouter()


@routes.get("/atlas")
async def atlas(asking: Asking) -> AtlasFacts:
    """The atlas, and what can be asked of it."""
    explorer = asking.explorer
    if explorer.training:
        return AtlasFacts(
            name=_name(explorer), training=True, demo=explorer.demo, limits=vars(explorer.limits)
        )
    return await asking.of(lambda known: _whole(known, explorer))


def _whole(known: Known, explorer: Explorer) -> AtlasFacts:
    held = known.atlas
    name = _name(explorer) or printable(held.config.data.source) or "atlas"
    planners = [
        Planner(name=name, options=[Option(name=o, default=json_safe(d)) for o, d in given.items()])
        for name, given in offered().items()
        if held.model is not None or name != "pullback"
    ]
    return facts_of(known, name, vars(explorer.limits)).model_copy(
        update={
            "demo": explorer.demo,
            "planners": planners,
            "samplers": list(OFFERED_SAMPLERS),
            "lacks": _lacks(known),
        }
    )


def _lacks(known: Known) -> list[str]:
    """What needs packages that are not installed, another number of codes, or a model."""
    fewest, most = EMBEDDED
    pacmap = importlib.util.find_spec("pacmap") is not None
    has_model = known.atlas.model is not None
    can = {
        "embedding": pacmap and fewest <= len(known.parts["train"].means) <= most,
        "mp4": importlib.util.find_spec("av") is not None,
        "photos": has_model or known.atlas.collection is not None,
        "pace": has_model,
    }
    return [name for name, there in can.items() if not there]


def _name(explorer: Explorer) -> str:
    if explorer.demo:
        return "demo"
    return "" if explorer.run is None else printable(explorer.run.path.resolve().name)
