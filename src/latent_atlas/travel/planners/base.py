"""The planners by name: what each is asked for, its settings, and how it is run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from latent_atlas.attributes.penalised_density import PenalisedDensity
from latent_atlas.density.base import Density, DensityRatioModel, ExactRatio, StandardNormal
from latent_atlas.shapes import Latents, Points, Trace, Values
from latent_atlas.travel.metrics import density_threshold
from latent_atlas.travel.path import Relaxed, resample
from latent_atlas.travel.planners.baselines import linear, slerp
from latent_atlas.travel.planners.decoder_geodesic import Decode, Pullback, pullback
from latent_atlas.travel.planners.geodesic import Geodesic, action, cost, geodesic
from latent_atlas.travel.planners.knn_graph import Codes, Graph, check_codes, graph
from latent_atlas.travel.planners.string_method import String, string
from latent_atlas.travel.planners.walk import Walk, walk

__all__ = [
    "MEANS_SHARE",
    "PLANNERS",
    "Planned",
    "Planner",
    "Request",
    "between_means",
    "floor_of",
    "understood",
]

DEAREST = 1e6  # cost of a place where the density is 0, so that a route is the sum of finite edges
BETWEEN = (
    8  # pieces that a candidate's steps are judged in: between its nodes a path may leap over a gap
)
MEANS_SHARE = 0.1  # of held-out means that lie under τ; q is of draws around means: twice as many of those do at d = 16
POLLED = 2_000  # codes that are asked for a floor
AS_GOOD = 0.01  # share by which an action may exceed the least for a simpler path to be preferred


@dataclass(frozen=True)
class Request:
    """What a planner is asked for; see `plan`."""

    density: Density
    start: Latents
    end: Latents
    frames: int
    threshold: float | Values | None
    generator: torch.Generator | None

    @property
    def ends(self) -> Trace:
        """Both ends, shape (2, n, d): the straight line that planners of whole paths start from."""
        return torch.stack([self.start, self.end])

    @torch.no_grad()
    def with_floor(self, share: float, *populations: Tensor | None) -> "Request":
        """The same with a floor in nats: the one given, or that of a share of the first population that there is.

        Without a population it is what `density_threshold` knows. Codes know better, where they are such as are
        travelled between: means, say, on the map of draws around them, which in many dimensions are far less likely.

        Raises:
            UserError: the codes are not of the journeys' space.
        """
        population = next((codes for codes in populations if codes is not None), None)
        if population is not None:
            check_codes(population, self.start)
        if self.threshold is not None:
            return self
        if population is None:
            return replace(
                self,
                threshold=density_threshold(
                    self.density, self.start, self.end, self.generator, share
                ),
            )
        return replace(self, threshold=floor_of(self.density, population.to(self.start), share))


def between_means(learned: Tensor, held_out: Tensor) -> dict[str, Any]:
    """What planners are given where journeys go between encoder means (m, d), and the map is of draws around them.

    The graph is of the means that the map has learned from; the floor is of others, which it has not learned by heart.
    """
    return {"codes": learned, "population": held_out, "share": MEANS_SHARE}


@torch.no_grad()
def floor_of(density: Density, codes: Codes, share: float) -> float:
    """The log-density in nats under which a share of codes lies; what restricts a density does not count."""
    density = density.density if isinstance(density, PenalisedDensity) else density
    some = codes[:: max(len(codes) // POLLED, 1)]
    return torch.quantile(density.log_prob(some), share).item()


Planned = tuple[Points, dict[str, float | bool], dict[str, Values]]
"""Points (frames, n, d), the planner's info, and numbers per journey."""


@dataclass(frozen=True)
class Planner:
    """A planner under its name.

    Attributes:
        run: Plans what was requested, with an object of each class of settings, and with what it needs and takes.
        settings: Dataclasses of its settings.
        needs: Options that are no settings, and have to be given.
        takes: Options that are no settings, and what they are if they are not given.
        follows: Whether it follows the density's gradient.
    """

    run: Callable[..., Planned]
    settings: tuple[type, ...] = ()
    needs: tuple[str, ...] = ()
    takes: Mapping[str, Any] = field(default_factory=dict)
    follows: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """Every option by name with its default, which is None for those that have to be given."""
        settings = {part.name: part.default for how in self.settings for part in fields(how)}
        return dict.fromkeys(self.needs) | dict(self.takes) | settings

    def plan(self, asked: Request, options: Mapping[str, Any]) -> Planned:
        """Run, with options that are its own and complete."""
        hows = [
            how(**{p.name: options[p.name] for p in fields(how) if p.name in options})
            for how in self.settings
        ]
        return self.run(
            asked, *hows, **{name: options.get(name, self.takes.get(name)) for name in self._others}
        )

    @property
    def _others(self) -> tuple[str, ...]:
        return (*self.needs, *self.takes)


def _straight(line: Callable[[Latents, Latents, int], Trace]) -> Callable[..., Planned]:
    """A baseline that knows the two ends only."""
    return lambda asked: (line(asked.start, asked.end, asked.frames), {}, {})


def _walk(asked: Request, how: Walk) -> Planned:
    """A walk on the density's own discriminator, or on the best one against N(0, I)."""
    ratio = asked.density
    if not isinstance(ratio, DensityRatioModel):
        ratio = ExactRatio(ratio, StandardNormal(ratio.dimension))
    trace, info = walk(ratio, asked.start, asked.end, how)
    return resample(trace, asked.frames), info, {}


def _geodesic(asked: Request, how: Geodesic, *, population: Tensor | None) -> Planned:
    return _shortened(
        asked if population is None else asked.with_floor(how.share, population), asked.ends, how
    )


def _shortened(asked: Request, initial: Trace, how: Geodesic) -> Planned:
    """The geodesic that a path (steps, n, d) is shortened to."""
    settings = {"frames": asked.frames, "threshold": asked.threshold, "generator": asked.generator}
    return _at_rest(geodesic(asked.density, initial, how, **settings), asked.frames)


def _string(asked: Request, how: String) -> Planned:
    moved = string(asked.density, asked.ends, how, frames=asked.frames, generator=asked.generator)
    return _at_rest(moved, asked.frames)


def _pullback(asked: Request, how: Pullback, *, decode: Decode) -> Planned:
    return _at_rest(pullback(decode, asked.ends, how, frames=asked.frames), asked.frames)


def _graph(
    asked: Request,
    joined: Graph,
    how: Geodesic,
    *,
    codes: Codes,
    population: Tensor | None,
    refine: bool,
) -> Planned:
    """The route over real codes that is shortest by the geodesic's cost, and the geodesic that it is shortened to."""
    asked = asked.with_floor(how.share, population, codes)

    def dear(latents: Tensor) -> Tensor:
        assert asked.threshold is not None
        return cost(asked.density.log_prob(latents), asked.threshold, how.strength).nan_to_num(
            DEAREST, DEAREST
        )

    frames = max(asked.frames, how.nodes) if refine else asked.frames
    route, facts = graph(
        dear, codes, asked.start, asked.end, joined, frames=frames, generator=asked.generator
    )
    if not refine:
        return route, facts, {}
    points, info, numbers = _shortened(asked, route, how)
    return points, facts | info, numbers


def _auto(
    asked: Request, joined: Graph, how: Geodesic, *, codes: Codes | None, population: Tensor | None
) -> Planned:
    """The best, for each journey, of the straight line, the geodesic that it is shortened to, and the one that a route
    over real codes is shortened to where there are codes.
    """
    fine = replace(asked, frames=max(asked.frames, how.nodes)).with_floor(
        how.share, population, codes
    )
    candidates = {
        "linear": PLANNERS["linear"].run(fine),
        "geodesic": _geodesic(fine, how, population=None),
    }
    if codes is not None:
        candidates["graph"] = _graph(fine, joined, how, codes=codes, population=None, refine=True)
    points, info, numbers = _best(candidates, fine, how.strength)
    return points if fine.frames == asked.frames else resample(points, asked.frames), info, numbers


@torch.no_grad()
def _best(candidates: dict[str, Planned], asked: Request, strength: float) -> Planned:
    """Each journey by the candidate of least action on the sharp density, which is read between its nodes as well; or
    by the first that exceeds it by no more than 1 %: by the simplest of equals.
    """
    assert asked.threshold is not None
    paths = torch.stack([points for points, _, _ in candidates.values()])
    read = [resample(path, BETWEEN * (asked.frames - 1) + 1) for path in paths]
    actions = torch.stack(
        [action(path, asked.density, asked.threshold, strength) for path in read]
    ).nan_to_num(torch.inf)
    choice = (actions <= (1 + AS_GOOD) * actions.min(dim=0).values).int().argmax(dim=0)
    rows = torch.arange(len(choice), device=choice.device)
    still = torch.ones_like(actions[0])  # a straight line has nothing to come to rest from
    converged = torch.stack(
        [numbers.get("converged", still) for _, _, numbers in candidates.values()]
    )[choice, rows]
    numbers = {"converged": converged} | {
        f"by_{name}": (choice == k).to(still) for k, name in enumerate(candidates)
    }
    info: dict[str, float | bool] = {"converged": bool(converged.all())}
    info |= {
        name: max(told.get(name, 0) for _, told, _ in candidates.values())
        for name in ("iterations", "residual")
    }
    return paths[choice, :, rows].transpose(0, 1), info, numbers


def _at_rest(relaxed: Relaxed, frames: int) -> Planned:
    """Whole paths as frames at equal distances, and whether all of them and each of them came to rest."""
    info = {
        "converged": bool(relaxed.converged.all()),
        "iterations": relaxed.iterations,
        "residual": relaxed.residual.max().item(),
    }
    return (
        resample(relaxed.points, frames),
        info,
        {"converged": relaxed.converged.to(relaxed.points.dtype)},
    )


PLANNERS: dict[str, Planner] = {
    "linear": Planner(_straight(linear), follows=False),
    "slerp": Planner(_straight(slerp), follows=False),
    "walk": Planner(_walk, (Walk,)),
    "geodesic": Planner(_geodesic, (Geodesic,), takes={"population": None}),
    "string": Planner(_string, (String,)),
    "graph": Planner(
        _graph, (Graph, Geodesic), needs=("codes",), takes={"population": None, "refine": True}
    ),
    "pullback": Planner(_pullback, (Pullback,), needs=("decode",), follows=False),
    "auto": Planner(_auto, (Graph, Geodesic), takes={"codes": None, "population": None}),
}


def understood(planner: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a planner has; none where there is no such planner."""
    known = PLANNERS[planner].options if planner in PLANNERS else {}
    return {name: value for name, value in options.items() if name in known}
