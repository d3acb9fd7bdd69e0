"""Journeys: between stops by several planners, along an attribute, around a place, and back into the population."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from fastapi import APIRouter
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.explorer.server import schemas
from latent_atlas.explorer.server.cache import Known
from latent_atlas.explorer.server.planner_options import planner_with
from latent_atlas.explorer.server.safetensors_response import ARRAYS, Arrays, pixels
from latent_atlas.explorer.server.schemas import tensor
from latent_atlas.explorer.server.state import Asking
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.planners.decoder_geodesic import Pullback

__all__ = ["routes"]

routes = APIRouter()


@routes.post("/travel", responses=ARRAYS, response_class=Arrays)
async def travel(body: schemas.Travel, asking: Asking) -> Arrays:
    """A journey by each planner, from stop to stop.

    For each planner P arrays P/points (f, d), P/images (f, h, w, c) in bytes unless they are not wanted, P/log_prob (f)
    in nats and P/outside (f), 1 or 0. Facts by planner: metrics, converged (null where nothing has to), seconds and
    notes; or error, a sentence, where this planner cannot go there.
    """

    def work(known: Known) -> Arrays:
        stops = list(tensor(body.stops, known.atlas))
        arrays: dict[str, Tensor] = {}
        facts: dict[str, Any] = {}
        for planner in dict.fromkeys(body.planners):
            some, facts[planner] = _attempted(
                known, planner, partial(_between, known, body, stops, planner)
            )
            arrays |= some
        return Arrays(arrays, facts)

    return await asking.of(work)


@routes.post("/along", responses=ARRAYS, response_class=Arrays)
async def along(body: schemas.Along, asking: Asking) -> Arrays:
    """A journey from one code along an attribute, others left alone; the answer is as that of travel, under `along`."""

    def journey(known: Known) -> LatentPath:
        return known.atlas.traverse(
            tensor([body.start], known.atlas),
            body.attribute
            if isinstance(body.attribute, str)
            else tensor([body.attribute], known.atlas)[0],
            **body.model_dump(include={"keep", "by", "to", "within", "frames", "steps"}),
        )

    return await asking.of(lambda known: _one(known, "along", journey))


@routes.post("/explore", responses=ARRAYS, response_class=Arrays)
async def explore(body: schemas.Explore, asking: Asking) -> Arrays:
    """A random walk through the population around one code; the answer is as that of travel, under `explore`."""

    def journey(known: Known) -> LatentPath:
        return known.atlas.random_walk(
            tensor([body.start], known.atlas),
            **body.model_dump(include={"frames", "stride", "width", "tuning"}),
            generator=torch.Generator(known.atlas.device).manual_seed(body.seed),
        )

    return await asking.of(lambda known: _one(known, "explore", journey))


@routes.post("/repair", responses=ARRAYS, response_class=Arrays)
async def repair(body: schemas.Repair, asking: Asking) -> Arrays:
    """One code brought back into the population; the answer is as that of travel, under `repair`, of two frames."""
    return await asking.of(
        lambda known: _one(
            known,
            "repair",
            lambda known: known.atlas.project(tensor([body.start], known.atlas), body.share),
        )
    )


def _between(known: Known, body: schemas.Travel, stops: list[Tensor], name: str) -> LatentPath:
    planner = planner_with(name, body.options.get(name, {}))
    if isinstance(planner, Pullback) and known.atlas.model is not None:
        # This decoder stops when a request is cancelled; the atlas's own does not.
        planner = replace(planner, decode=known.differentiable)
    return known.atlas.travel(
        stops,
        None,
        planner,
        frames=body.frames,
        closed=body.closed,
        preserve=body.preserve,
        pace=body.pace,
        images=body.images,
    )


def _one(known: Known, name: str, journey: Callable[[Known], LatentPath]) -> Arrays:
    return Arrays(*_told(known, name, lambda: journey(known)))


def _attempted(
    known: Known, name: str, journey: Callable[[], LatentPath]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A journey's arrays and facts, or the sentence that says why there is none."""
    try:
        arrays, facts = _told(known, name, journey)
    except UserError as refusal:
        return {}, {"error": str(refusal)}
    return arrays, facts[name]


def _told(
    known: Known, name: str, journey: Callable[[], LatentPath]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What is sent of a journey."""
    began = time.perf_counter()
    path = journey()
    seconds = time.perf_counter() - began
    arrays = {f"{name}/points": path.points[:, 0]}
    if path.images is not None:
        arrays[f"{name}/images"] = pixels(path.strip())
    if known.has_log_prob:
        with torch.no_grad():
            log_prob = known.atlas.map.log_prob(path.points[:, 0])
        arrays |= {f"{name}/log_prob": log_prob, f"{name}/outside": known.outside(log_prob)}
    metrics = {name: values[0].item() for name, values in path.metrics.as_dict().items()}
    converged = None if path.info.converged is None else bool(path.info.converged[0])
    notes = list(path.warnings)
    return arrays, {
        name: {"metrics": metrics, "converged": converged, "seconds": seconds, "notes": notes}
    }
