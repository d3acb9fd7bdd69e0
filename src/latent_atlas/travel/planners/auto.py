"""The best of several planners for each path."""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import checked
from latent_atlas.shapes import Latents, Points, Trace, Values
from latent_atlas.travel.metrics import density_threshold
from latent_atlas.travel.path import PlannerInfo
from latent_atlas.travel.planners.base import Planner, Resources
from latent_atlas.travel.planners.baselines import Linear
from latent_atlas.travel.planners.geodesic import Geodesic, action
from latent_atlas.travel.planners.knn_graph import Graph
from latent_atlas.travel.polyline import resample

__all__ = ["Auto"]

BETWEEN = 8  # pieces that each step is evaluated in: between its nodes a path may cross a gap
AS_GOOD = 0.01  # share by which an action may exceed the least for a simpler path to be preferred


@checked
@dataclass(frozen=True)
class Auto(Graph):
    """For each path the best of `Linear`, `Geodesic` and, if there are codes, `Graph`.

    The best has the least action ∫ c² |dz/ds|² ds on the density without noise. A simpler planner
    is preferred if its action exceeds the least by 1 % at most.

    Attributes:
        strength, share, threshold, widths, nodes, iterations, tolerance: As for `Geodesic`.
        codes: Real codes, shape (m, d), as for `Graph`; None leaves the graph out.
        neighbours, max_codes, refine: As for `Graph`.
    """

    name: ClassVar[str] = "auto"

    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
        initial: Trace | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """See `Planner.plan`; `info.chosen` names the planner of each path."""
        how = self.completed(density, Resources())
        tau = how.threshold
        if tau is None:
            tau = density_threshold(density, start, end, generator, how.share)
            how = replace(how, threshold=tau) if isinstance(tau, float) else how
        candidates: list[Planner] = [Linear(), _of_kind(Geodesic, how)]
        if how.codes is not None:
            candidates.append(_of_kind(Graph, how))
        found = [
            one.plan(density, start, end, frames=max(frames, self.nodes), generator=generator)
            for one in candidates
        ]
        paths = torch.stack([points for points, _ in found])
        best = _best(paths, density, tau, self.strength)
        points = paths[best, :, torch.arange(len(start), device=best.device)].transpose(0, 1)
        names = tuple(candidates[k].name for k in best.tolist())
        info = replace(_of_the_best([info for _, info in found], best), chosen=names)
        return points if len(points) == frames else resample(points, frames), info


def _of_kind(kind: type[Geodesic], how: Graph) -> Geodesic:
    """A planner of another kind with the same settings."""
    return kind(**{part.name: getattr(how, part.name) for part in fields(kind)})


@torch.no_grad()
def _best(paths: Tensor, density: Density, threshold: float | Values, strength: float) -> Tensor:
    """The number of the best candidate of each path, shape (n,), of (candidates, frames, n, d)."""
    frames = BETWEEN * (paths.shape[1] - 1) + 1
    actions = torch.stack(
        [action(resample(path, frames), density, threshold, strength) for path in paths]
    ).nan_to_num(torch.inf)
    return (actions <= (1 + AS_GOOD) * actions.min(dim=0).values).int().argmax(dim=0)


def _of_the_best(infos: list[PlannerInfo], best: Tensor) -> PlannerInfo:
    """The convergence of each path as its candidate has it; straight lines have converged."""
    rows, still = torch.arange(len(best), device=best.device), torch.ones_like(best)
    converged = [still.bool() if info.converged is None else info.converged for info in infos]
    residual = [0.0 * still if info.residual is None else info.residual for info in infos]
    return PlannerInfo(
        converged=torch.stack(converged)[best, rows],
        iterations=max(info.iterations for info in infos),
        residual=torch.stack(residual)[best, rows],
        graph=infos[-1].graph,
    )
