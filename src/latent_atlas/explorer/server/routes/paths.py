"""Paths: between waypoints, along an attribute, as a random walk, and to high density."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from fastapi import APIRouter
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.server import schemas
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
    """A path through the waypoints by each planner.

    For each planner P arrays P/points (f, d), P/images (f, h, w, c) in bytes unless they are not
    wanted and decode has them, P/log_prob (f) in nats, P/off_manifold (f), 1 or 0, and P/p_value
    (f), the share of real codes that look less real, where it is known. Facts by planner: metrics,
    converged (null where the planner does not iterate), seconds and warnings; or error, a sentence,
    where this planner finds no path.
    """

    def work(known: Known) -> Arrays:
        waypoints = list(tensor(body.waypoints, known.atlas))
        arrays: dict[str, Tensor] = {}
        facts: dict[str, Any] = {}
        for planner in dict.fromkeys(body.planners):
            some, facts[planner] = _attempted(
                known, planner, partial(_between, known, body, waypoints, planner)
            )
            arrays |= some
        return Arrays(arrays, facts)

    return await asking.of(work, slow=True)


@routes.post("/traverse", responses=ARRAYS, response_class=Arrays)
async def traverse(body: schemas.Traverse, asking: Asking) -> Arrays:
    """A path from one code along an attribute; the answer is that of travel, under `traverse`."""

    def path(known: Known) -> LatentPath:
        return known.atlas.traverse(
            tensor([body.start], known.atlas),
            body.attribute
            if isinstance(body.attribute, str)
            else tensor([body.attribute], known.atlas)[0],
            **body.model_dump(include={"keep", "by", "to", "within", "frames", "steps"}),
        )

    return await asking.of(lambda known: _one(known, "traverse", path), slow=True)


@routes.post("/random-walk", responses=ARRAYS, response_class=Arrays)
async def random_walk(body: schemas.RandomWalk, asking: Asking) -> Arrays:
    """A random walk around one code; the answer is that of travel, under `random_walk`."""

    def path(known: Known) -> LatentPath:
        return known.atlas.random_walk(
            tensor([body.start], known.atlas),
            **body.model_dump(include={"frames", "stride", "width", "tuning"}),
            generator=torch.Generator(known.atlas.device).manual_seed(body.seed),
        )

    return await asking.of(lambda known: _one(known, "random_walk", path), slow=True)


@routes.post("/project", responses=ARRAYS, response_class=Arrays)
async def project(body: schemas.Project, asking: Asking) -> Arrays:
    """One code projected to high density; the answer is that of travel, under `project`, with two
    frames.
    """
    return await asking.of(
        lambda known: _one(
            known,
            "project",
            lambda known: known.atlas.project(tensor([body.start], known.atlas), body.share),
        ),
        slow=True,
    )


def _between(known: Known, body: schemas.Travel, waypoints: list[Tensor], name: str) -> LatentPath:
    planner = planner_with(name, body.options.get(name, {}))
    if isinstance(planner, Pullback) and known.atlas.model is not None:
        # This decoder checks whether the client still waits; the atlas's own does not.
        planner = replace(planner, decode=known.differentiable)
    return known.atlas.travel(
        waypoints,
        None,
        planner,
        frames=body.frames,
        closed=body.closed,
        preserve=body.preserve,
        pace=body.pace,
        # Without a decoder a frame's image depends on its path, so it cannot be asked for alone.
        images=body.images or known.atlas.model is None,
    )


def _one(known: Known, name: str, plan: Callable[[Known], LatentPath]) -> Arrays:
    return Arrays(*_answer(known, name, lambda: plan(known)))


def _attempted(
    known: Known, name: str, plan: Callable[[], LatentPath]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The arrays and facts of a path, or the sentence that says why there is none."""
    try:
        arrays, facts = _answer(known, name, plan)
    except UserError as refusal:
        return {}, {"error": str(refusal)}
    return arrays, facts[name]


def _answer(
    known: Known, name: str, plan: Callable[[], LatentPath]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The arrays and facts of a path."""
    began = time.perf_counter()
    path = plan()
    seconds = time.perf_counter() - began
    arrays = {f"{name}/points": path.points[:, 0]}
    if path.images is not None:
        arrays[f"{name}/images"] = pixels(path.strip())
    if path.p_values is not None:
        arrays[f"{name}/p_value"] = path.p_values[:, 0]
    if known.has_log_prob:
        with torch.no_grad():
            log_prob = known.atlas.map.log_prob(path.points[:, 0])
        arrays |= {
            f"{name}/log_prob": log_prob,
            f"{name}/off_manifold": known.off_manifold(log_prob),
        }
    metrics = {name: values[0].item() for name, values in path.metrics.as_dict().items()}
    converged = None if path.info.converged is None else bool(path.info.converged[0])
    warnings = list(path.warnings)
    return arrays, {
        name: {"metrics": metrics, "converged": converged, "seconds": seconds, "warnings": warnings}
    }
