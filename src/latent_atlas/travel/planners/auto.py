"""The best of several planners for each path."""

from dataclasses import dataclass, fields, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.membership import Membership
from latent_atlas.errors import checked
from latent_atlas.shapes import Latents, Points, Trace, Values
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE, density_threshold
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.planners.base import Planner, Resources
from latent_atlas.travel.planners.baselines import Linear
from latent_atlas.travel.planners.geodesic import Geodesic, action
from latent_atlas.travel.planners.knn_graph import Graph
from latent_atlas.travel.planners.typical import Typical
from latent_atlas.travel.polyline import resample

__all__ = ["Auto"]

BETWEEN = 8  # pieces that each step is evaluated in: between its nodes a path may cross a gap
AS_GOOD = 0.01  # share by which an action may exceed the least for a simpler path to be preferred


@checked
@dataclass(frozen=True)
class Auto(Graph):
    """For each path the best of `Linear`, `Geodesic`, `Typical` and, if there are codes, `Graph`.

    The best has the most frames that look like real codes, by `membership`. Without one, it has
    the least action ∫ c² |dz/ds|² ds on the density without noise, and typical paths, which are
    longer, do not compete. The planner named first is preferred to others as good, and by their
    action to others that are better by 1 % at most.

    Attributes:
        strength, share, threshold, widths, nodes, iterations, tolerance: As for `Geodesic`; a
            planner that takes more nodes by default has as many.
        codes: Real codes, shape (m, d), as for `Graph`; None leaves the graph out.
        neighbours, max_codes, refine: As for `Graph`.
        membership: What tells real codes from points between them.
    """

    name: ClassVar[str] = "auto"

    membership: Membership | None = None

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
        kinds: list[type[Geodesic]] = [Geodesic]
        kinds += [Typical] if self.membership is not None else []
        kinds += [Graph] if how.codes is not None else []
        candidates: list[Planner] = [Linear(), *(_of_kind(kind, how) for kind in kinds)]
        found = [
            one.plan(density, start, end, frames=max(frames, self.nodes), generator=generator)
            for one in candidates
        ]
        paths = torch.stack([points for points, _ in found])
        if self.membership is None:
            best = _of_least_action(paths, density, tau, self.strength)
        else:
            best = _of_most_members(paths, self.membership)
        points = paths[best, :, torch.arange(len(start), device=best.device)].transpose(0, 1)
        names = tuple(candidates[k].name for k in best.tolist())
        info = replace(_of_the_best([info for _, info in found], best), chosen=names)
        return points if len(points) == frames else resample(points, frames), info

    def completed(self, density: Density, resources: Resources) -> "Auto":
        """With membership as well."""
        how = cast("Auto", super().completed(density, resources))
        if how.membership is None and resources.membership is not None:
            how = replace(how, membership=resources.membership())
        return how


def _of_kind(kind: type[Geodesic], how: Graph) -> Geodesic:
    """A planner of another kind with the same settings, as far as it has them, or more nodes."""
    names = {part.name for part in fields(kind)} & {part.name for part in fields(how)}
    alike = kind(**{name: getattr(how, name) for name in names})
    return replace(alike, nodes=max(how.nodes, kind.nodes))


@torch.no_grad()
def _of_least_action(
    paths: Tensor, density: Density, threshold: float | Values, strength: float
) -> Tensor:
    """The number of the best candidate of each path, shape (n,), of (candidates, frames, n, d)."""
    frames = BETWEEN * (paths.shape[1] - 1) + 1
    actions = torch.stack(
        [action(resample(path, frames), density, threshold, strength) for path in paths]
    ).nan_to_num(torch.inf)
    return (actions <= (1 + AS_GOOD) * actions.min(dim=0).values).int().argmax(dim=0)


def _of_most_members(paths: Tensor, membership: Membership) -> Tensor:
    """The same by the share of inner frames that look like real codes."""
    inner = paths[:, 1:-1]
    members = membership.p_value(inner.flatten(0, 2)) >= OFF_MANIFOLD_SHARE
    return members.unflatten(0, inner.shape[:3]).sum(dim=1).argmax(dim=0)


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
