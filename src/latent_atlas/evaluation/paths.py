"""The same paths by several planners, evaluated with models that none of them planned with."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.membership import Membership
from latent_atlas.errors import UserError, checked
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.geometry.manifold import Manifold, manifold_of
from latent_atlas.progress import steps
from latent_atlas.shapes import Images, Latents, Points, Values
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE, frame_log_probs
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.plan import plan
from latent_atlas.travel.planners.auto import Auto
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.planners.baselines import Linear, Slerp
from latent_atlas.travel.planners.flow import Flow
from latent_atlas.travel.planners.geodesic import Geodesic
from latent_atlas.travel.planners.knn_graph import Graph
from latent_atlas.travel.planners.typical import Typical
from latent_atlas.travel.planners.walk import Walk

__all__ = [
    "COMPARED",
    "EvaluationModel",
    "drift",
    "frame_numbers",
    "plan_rows",
    "travel_numbers",
    "travel_table",
]

Rows = Mapping[str, Planner]
"""Planners by the name of their row."""

COMPARED: Rows = {
    "linear": Linear(),
    "slerp": Slerp(),
    "walk, rule 1": Walk(rule=1),
    "walk, rule 2": Walk(rule=2),
    "walk, arriving": Walk(rule=2, arrive=True),
    "geodesic": Geodesic(),
    "typical": Typical(),
    "flow": Flow(),
    "graph": Graph(),
    "auto": Auto(),
}
"""The planners that are compared."""

JUDGED = 32  # paths whose frames membership is asked of, as it decodes and encodes each
MEASURED = (
    "distance_left",
    "length_ratio",
    "off_manifold",
    "lowest_log_prob",
    "largest_jump",
)
"""The metrics that every path has."""

Features = Callable[[Images], Float[np.ndarray, "n f"]]
"""A feature extractor: images (n, c, h, w) in [0, 1] to features (n, f)."""

Frames = TypeVar("Frames", Tensor, np.ndarray)


@dataclass(frozen=True)
class EvaluationModel:
    """A density that no planner used, with its density threshold.

    Attributes:
        density: Known, or fitted to other codes than the planner's.
        threshold: The log-density in nats under which 5 % of held-out real codes lie.
    """

    density: Density
    threshold: float

    @classmethod
    @torch.no_grad()
    def on(cls, density: Density, held_out: Latents) -> "EvaluationModel":
        """The model whose threshold is the 5 % quantile at held-out codes (n, d)."""
        return cls(density, torch.quantile(density.log_prob(held_out), OFF_MANIFOLD_SHARE).item())

    def off_manifold(self, points: Points) -> Values:
        """Share of inner frames under the threshold per path, shape (n,), in [0, 1]; 5 % for codes.

        Raises:
            UserError: there are no inner frames.
        """
        return (frame_log_probs(self.density, _inner(points)) < self.threshold).double().mean(dim=0)


def drift(attribute: Callable[[Latents], Tensor], points: Points) -> Values:
    """Drift of an attribute: the largest |a_i(z) - a_i(z_A)| over frames and values, shape (n,).

    Arguments:
        attribute: Codes (n, d) to numbers (n,) or (n, k), such as the log-odds of k classes.
        points: Codes, shape (frames, n, d).
    """
    values = attribute(points.flatten(0, 1)).reshape(*points.shape[:2], -1)
    return (values - values[0]).abs().amax(dim=(0, 2))


def plan_rows(
    density: Density,
    start: Latents,
    end: Latents,
    rows: Rows = COMPARED,
    *,
    frames: int = 17,
    generator: torch.Generator | None = None,
) -> dict[str, LatentPath]:
    """Paths between the same codes by several planners.

    Arguments:
        density, start, end, frames, generator: As for `travel.plan`.
        rows: Planners by the name of the row; `Atlas.planner` completes those of an atlas.

    Returns:
        By row, the paths; their `info` has the wall-clock `seconds` that they took together.
    """
    paths = {}
    for row, planner in steps("planners", [*rows.items()]):
        began = time.perf_counter()
        path = plan(density, start, end, planner, frames=frames, generator=generator)
        seconds = time.perf_counter() - began
        paths[row] = replace(path, info=replace(path.info, seconds=seconds))
    return paths


@checked
def travel_table(
    paths: Mapping[str, LatentPath],
    *,
    evaluation_models: Mapping[str, EvaluationModel],
    decode: Callable[[Latents], Images],
    features: Features,
    reconstructions: Float[np.ndarray, "m f"],
    attributes: Mapping[str, Callable[[Latents], Tensor]] | None = None,
) -> dict[str, dict[str, float]]:
    """Evaluate paths with models that planned none of them; inner frames only, the ends are real.

    Arguments:
        paths: By the name of their row.
        evaluation_models: By name.
        decode: Codes (n, d) to images.
        features: Of images.
        reconstructions: Features of reconstructed held-out images, which have the decoder's losses
            as the frames do; the original images do not.
        attributes: By name, as for `drift`.

    Returns:
        By row, means over paths: off_manifold by each evaluation model; the numbers of
        `frame_numbers` for all frames together; feature_jump, the largest distance of features
        between neighbouring frames; the drift of each attribute; seconds_per_path, if the path has
        its `seconds`; and those of `travel.metrics.measure` by the density that planned.

    Raises:
        UserError: a path has no inner frames, or there are too few for a manifold.
    """
    real = manifold_of(reconstructions)
    table = {}
    for row, path in paths.items():
        seen = features(decode(path.points.flatten(0, 1))).reshape(*path.points.shape[:2], -1)
        inner = _inner(seen).reshape(-1, seen.shape[-1])
        numbers = {
            f"off_manifold {name}": model.off_manifold(path.points).mean().item()
            for name, model in evaluation_models.items()
        }
        numbers |= frame_numbers(inner, real)
        numbers["feature_jump"] = float(
            np.linalg.norm(np.diff(seen, axis=0), axis=2).max(axis=0).mean()
        )
        numbers |= {name: value.mean().item() for name, value in path.metrics.as_dict().items()}
        for name, attribute in (attributes or {}).items():
            numbers[f"drift {name}"] = drift(attribute, path.points).mean().item()
        if path.info.seconds is not None:
            numbers["seconds_per_path"] = path.info.seconds / path.points.shape[1]
        table[row] = numbers
    return table


def frame_numbers(frames: Float[np.ndarray, "m f"], real: Manifold) -> dict[str, float]:
    """Fréchet distance, precision and recall of all frames together, against real images.

    Arguments:
        frames: Their features.
        real: The manifold of real images, in the same features.

    Returns:
        frechet: distance to the real images; precision: share of the frames in their manifold;
        recall: share of the real images in the manifold of as many frames, at most.

    Raises:
        UserError: there are too few frames for a manifold.
    """
    spread = (
        np.linspace(0, len(frames) - 1, min(len(frames), len(real.features))).round().astype(int)
    )
    return {
        "frechet": frechet_distance(frames, real.features),
        "precision": float(real.contains(frames).mean()),
        "recall": float(manifold_of(frames[spread]).contains(real.features).mean()),
    }


def travel_numbers(
    density: Density,
    codes: Latents,
    pairs: int,
    *,
    rows: Rows,
    generator: torch.Generator,
    membership: Membership | None = None,
) -> dict[str, dict[str, float]]:
    """Metrics of paths between random pairs of codes, by the density itself.

    Arguments:
        density: The map, or any density.
        codes: Codes that pairs are drawn from, shape (n, d), n of 2 or more.
        pairs: Number of pairs, the same for every planner; equal ones are left out.
        rows: Planners by the name of the row.
        generator: Draws the pairs, and is the planners'.
        membership: Says which frames look like real codes; it may decode them.

    Returns:
        By row, the mean over paths of each metric that every path has, and where there is a
        membership that of `non_members` over the first 32 paths.
    """
    picks = torch.randint(len(codes), (2, pairs), generator=generator, device=generator.device)
    start, end = codes[picks[0]], codes[picks[1]]
    apart = (start - end).norm(dim=1) > 0
    paths = plan_rows(density, start[apart], end[apart], rows, generator=generator)
    numbers = {
        row: {name: getattr(path.metrics, name).mean().item() for name in MEASURED}
        for row, path in paths.items()
    }
    if membership is not None:
        for row, path in paths.items():
            p_values = membership.p_value(path.points[1:-1, :JUDGED].flatten(0, 1))
            numbers[row]["non_members"] = (p_values < OFF_MANIFOLD_SHARE).float().mean().item()
    return numbers


def _inner(frames: Frames) -> Frames:
    """All but the first and the last frame.

    Raises:
        UserError: there are no others.
    """
    if len(frames) < 3:
        raise UserError(
            f"a path of {len(frames)} frames has none between its ends; choose frames of 3 or more"
        )
    return frames[1:-1]
