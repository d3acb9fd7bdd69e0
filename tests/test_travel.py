"""Paths: ends, rules against hand-computed steps, the fixed point, and what is reported."""

import math
import re
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_atlas.config.parse import split_setting, with_values
from latent_atlas.density.base import Density, DensityRatioModel, ExactRatio, StandardNormal
from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel import (
    PLANNERS,
    Auto,
    Geodesic,
    Graph,
    LatentPath,
    Planner,
    Pullback,
    Walk,
    plan,
)
from latent_atlas.travel.path import PathMetrics, PlannerInfo
from latent_atlas.travel.planners.base import Resources
from latent_atlas.travel.planners.baselines import slerp
from latent_atlas.travel.planners.geodesic import WIDTHS
from latent_atlas.travel.planners.walk import rule1, rule2
from latent_atlas.travel.polyline import arc_lengths, resample

WORLD = two_clusters(2, distance=3.0)


CODES = WORLD.sample(200, generator=torch.Generator().manual_seed(7))


def made(planner: str) -> Planner:
    """The planner of that name with what it needs."""
    if planner == "pullback":
        return Pullback(decode=lambda z: 3 * z)
    return Graph(codes=CODES) if planner == "graph" else PLANNERS[planner]()


MAP = ExactRatio(WORLD, StandardNormal(2))


class Slope(DensityRatioModel):
    """l(z) = w · z, so that D, grad D and grad log D are known by hand."""

    dimension = 2
    weight = torch.tensor([1.0, -2.0])

    def logit(self, latents: Tensor) -> Tensor:
        return latents @ self.weight

    def sample_boundary(self, n: int, *, generator: torch.Generator) -> Tensor:
        return torch.rand(n, 2, generator=generator)

    def log_prob(self, latents: Tensor) -> Tensor:
        return self.logit(latents)


Z, END = torch.tensor([[0.5, 0.25]]), torch.tensor([[2.0, 1.0]])  # l(Z) = 0, so D = 1/2


def test_rule_1_takes_the_step_computed_by_hand() -> None:
    # grad D = D (1 - D) w = (1/4, -1/2); grad |z_B - z|² = -2 (1.5, 0.75) = (-3, -1.5)
    step = rule1(Slope(), Z, END, alpha=0.2, beta=-0.1)
    torch.testing.assert_close(step, Z + 0.2 * torch.tensor([[0.25 + 0.3, -0.5 + 0.15]]))


def test_rule_2_takes_the_step_computed_by_hand() -> None:
    # grad log D = (1 - D) w = (1/2, -1)
    step = rule2(Slope(), Z, END, alpha=0.2, gamma=0.1)
    torch.testing.assert_close(step, Z + torch.tensor([[0.1 + 0.15, -0.2 + 0.075]]))


def test_rule_1_reaches_for_the_end_only_with_negative_beta() -> None:
    flat = ExactRatio(StandardNormal(2), StandardNormal(2))
    before = (END - Z).norm()
    assert (END - rule1(flat, Z, END, alpha=0.1, beta=-0.5)).norm() < before
    assert (END - rule1(flat, Z, END, alpha=0.1, beta=0.5)).norm() > before


def test_rule_2_stops_where_the_fixed_point_formula_says() -> None:
    start, end = torch.tensor([[-1.5, 0.3]]), torch.tensor([[0.0, 0.8]])
    how = Walk(alpha=0.05, gamma=0.05, steps=5_000, tolerance=1e-7)
    points, info = how.plan(MAP, start, end, frames=9)
    last = points[-1]
    assert info.converged is not None
    assert info.converged.all()
    left = -(how.alpha / how.gamma) * MAP.log_realness_gradient(last)
    torch.testing.assert_close(end - last, left, atol=1e-4, rtol=1e-3)
    assert left.norm() > 0.1  # it does stop short


@pytest.mark.parametrize("rule", [1, 2])
def test_a_walk_with_arrival_ends_exactly_at_the_end(rule: int) -> None:
    start, end = torch.tensor([[-1.5, 0.0]]), torch.tensor([[1.5, 0.4]])
    points, info = Walk(rule=rule, arrive=True).plan(MAP, start, end, frames=9)
    torch.testing.assert_close(points[-1], end, atol=1e-6, rtol=0)
    assert info.converged is not None
    assert info.converged.all()


def test_a_walk_on_a_flat_map_follows_the_straight_line() -> None:
    flat = ExactRatio(StandardNormal(2), StandardNormal(2))
    points, _ = Walk(gamma=0.1).plan(flat, Z, END, frames=33)
    along, across = END - Z, points - Z
    area = across[..., 0] * along[:, 1] - across[..., 1] * along[:, 0]
    assert area.abs().max() < 1e-5


def test_a_walk_that_needs_more_steps_says_so() -> None:
    path = plan(MAP, Z, END, Walk(steps=3))
    assert path.info.converged.tolist() == [False]
    assert path.info.iterations == 3


@pytest.mark.parametrize("planner", PLANNERS)
def test_every_planner_starts_at_the_start_and_has_the_frames_asked_for(
    planner: str, generator: torch.Generator
) -> None:
    start, end = torch.randn(2, 5, 2, generator=generator)
    path = plan(WORLD, start, end, made(planner), frames=9)
    assert path.points.shape == (9, 5, 2)
    assert torch.equal(path.points[0], start)
    assert path.planner == planner
    measured = path.metrics.as_dict()
    assert list(measured) == [
        "distance_left",
        "length_ratio",
        "off_manifold",
        "lowest_log_prob",
        "largest_jump",
    ]
    assert all(values.shape == (5,) for values in measured.values())


@pytest.mark.parametrize("planner", [planner for planner in PLANNERS if planner != "walk"])
def test_all_but_the_walk_arrive_exactly(planner: str) -> None:
    path = plan(WORLD, Z, END, made(planner))
    assert torch.equal(path.points[-1], END)
    assert path.metrics.distance_left.item() == 0


def test_slerp_turns_a_quarter_circle() -> None:
    points = slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 3)
    half = math.sqrt(0.5)
    torch.testing.assert_close(points[1], torch.tensor([[half, half]]))


@pytest.mark.parametrize("end", [(2.0, 0.0), (-2.0, 0.0), (0.0, 0.0)])
def test_slerp_goes_straight_where_there_is_no_great_circle(end: tuple[float, float]) -> None:
    points = slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([end]), 5)
    assert points.isfinite().all()
    torch.testing.assert_close(points[2], (points[0] + points[4]) / 2)


def test_linear_leaves_the_population_between_two_clusters(generator: torch.Generator) -> None:
    path = plan(
        WORLD, torch.tensor([-1.5, 0.0]), torch.tensor([1.5, 0.0]), "linear", generator=generator
    )
    assert 0.2 < path.metrics.off_manifold.item() < 0.8
    assert path.metrics.length_ratio.item() == pytest.approx(1)


def test_resampled_frames_are_equally_far_apart_and_keep_the_ends(
    generator: torch.Generator,
) -> None:
    trace = torch.randn(40, 3, 2, generator=generator).cumsum(dim=0)
    points = resample(trace, 11)
    assert torch.equal(points[0], trace[0])
    assert torch.equal(points[-1], trace[-1])
    straight = resample(
        torch.tensor([[[0.0]], [[0.0]], [[3.0]]]), 4
    )  # a repeated point is no distance
    torch.testing.assert_close(straight.flatten(), torch.tensor([0.0, 1.0, 2.0, 3.0]))


def test_resampling_a_path_that_never_moves_keeps_it() -> None:
    still = torch.ones(5, 2, 3)
    assert torch.equal(resample(still, 7), torch.ones(7, 2, 3))


def test_arc_length_is_the_sum_of_the_steps() -> None:
    points = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[3.0, 5.0]]])
    assert arc_lengths(points).flatten().tolist() == [0, 5, 6]


def test_metrics_report_the_distance_left() -> None:
    path = plan(
        MAP, torch.tensor([-1.5, 0.0]), torch.tensor([0.0, 1.0]), Walk(alpha=0.1, gamma=0.05)
    )
    left = (path.end - path.points[-1]).norm() / (path.end - path.points[0]).norm()
    assert path.metrics.distance_left.item() == pytest.approx(left.item())
    assert left > 0.05


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"planner": "teleport"}, "no planner 'teleport'; choose linear, slerp, walk"),
        ({"planner": "typicl"}, "did you mean 'typical'"),
        ({"frames": 1}, "frames"),
        ({"end": torch.zeros(3)}, "shape"),
        ({"start": torch.tensor([math.nan, 0.0])}, "not finite"),
        ({"end": torch.zeros(2)}, "start and end of path 0 are the same code"),
        ({"start": torch.zeros(3), "end": torch.ones(3)}, "codes with 2 coordinates"),
        ({"planner": Walk(rule=1, alpha=5.0, beta=9.0)}, "walk diverged"),
        ({"planner": "pullback"}, "planner 'pullback' was given no decode"),
        ({"planner": "graph"}, "planner 'graph' was given no codes"),
        (
            {"planner": Graph(codes=torch.zeros(9, 3))},
            "paths between codes of 2 coordinates need a graph of such codes",
        ),
        ({"threshold": float("nan")}, "the threshold is nan; give a log-density"),
        (
            {"planner": Auto(codes=CODES / 0)},
            "coordinates that are not finite; leave those codes out",
        ),
        (
            {"planner": Auto(codes=CODES, max_codes=50)},
            "200 codes are more than the graph's 50; give a generator",
        ),
    ],
)
def test_bad_input_gets_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {"start": torch.zeros(2), "end": torch.ones(2), "planner": "walk"} | change
    with pytest.raises(UserError, match=sentence):
        plan(WORLD, **arguments)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"alpha": -1.0}, "alpha is -1.0"),
        ({"gamma": 2.0}, "gamma is 2.0"),
        ({"rule": 3}, "rule 3"),
        ({"steps": 0}, "0 steps"),
        ({"rule": 1, "alpha": 10.0, "beta": -1.0}, "pull 20 of the way"),
    ],
)
def test_a_bad_walk_gets_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Walk(**settings)


@pytest.mark.parametrize(
    ("planner", "settings", "sentence"),
    [
        ("linear", {"alpha": 1.0}, "planner 'linear' has no setting 'alpha'; it has no settings"),
        ("geodesic", {"alpha": 1.0}, "no setting 'alpha'; it has strength, share, threshold"),
        ("graph", {"codes": 1.0}, "no setting 'codes'; it has strength"),
        ("geodesic", {"nodes": "few"}, "nodes is 'few'; expected a whole number"),
        ("geodesic", {"strength": -1}, "strength is -1"),
    ],
)
def test_a_setting_in_words_that_a_planner_does_not_have_gets_one_sentence(
    planner: str, settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        with_values(PLANNERS[planner](), settings, called=f"planner '{planner}'")


def test_settings_in_words_reach_the_planner() -> None:
    made = with_values(Geodesic(), {"strength": 3, "widths": "0.5,0"}, called="planner")
    assert made == Geodesic(strength=3.0, widths=(0.5, 0.0))


@pytest.mark.parametrize(
    ("text", "widths"),
    [("0", (0.0,)), ("0.5", (0.5,)), ("0.5,0", (0.5, 0.0)), ("[1, 0]", (1.0, 0.0)), ("null", None)],
)
def test_a_setting_of_several_numbers_may_be_one(
    text: str, widths: tuple[float, ...] | None
) -> None:
    name, value = split_setting(f"widths={text}")
    assert with_values(Geodesic(), {name: value}, called="planner").widths == widths


@pytest.mark.parametrize("text", ["wide", "", "true", "0.5,wide", "0.5;0"])
def test_what_is_no_number_of_several_gets_one_sentence(text: str) -> None:
    name, value = split_setting(f"widths={text}")
    with pytest.raises(UserError, match=r"widths is .*; expected numbers separated by commas"):
        with_values(Geodesic(), {name: value}, called="planner")


@pytest.mark.parametrize("planner", PLANNERS)
def test_every_field_of_a_planner_is_documented(planner: str) -> None:
    documented = (PLANNERS[planner].__doc__ or "").partition("Attributes:")[2]
    for part in fields(PLANNERS[planner]):
        assert re.search(rf"\b{part.name}\b[\w, ]*:", documented), part.name


def test_the_documented_widths_of_a_geodesic_are_its_own() -> None:
    documented = (Geodesic.__doc__ or "").replace("\n", " ")
    assert f"None is ({', '.join(f'{width:g}' for width in WIDTHS)})" in re.sub(
        " +", " ", documented
    )


def test_an_atlas_s_planner_has_the_threshold_of_held_out_codes() -> None:
    known = Resources(codes=CODES, held_out=CODES[:100], decode=lambda z: z)
    lowest = torch.quantile(WORLD.log_prob(CODES[:100]), 0.1).item()
    made = Geodesic().completed(WORLD, known)
    assert made.threshold == pytest.approx(lowest)
    assert made.share == 0.1
    assert Geodesic(threshold=-3.0).completed(WORLD, known).threshold == -3.0
    graph, pullback = (PLANNERS[name]().completed(WORLD, known) for name in ("auto", "pullback"))
    assert isinstance(graph, Auto)
    assert torch.equal(graph.codes, CODES)
    assert graph.threshold == made.threshold
    assert isinstance(pullback, Pullback)
    assert pullback.decode is known.decode


def test_a_path_without_images_says_who_decodes_it() -> None:
    points, metrics = torch.zeros(3, 1, 2), PathMetrics(*torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"Atlas\.travel"):
        LatentPath(points, points[-1], "linear", PlannerInfo(), metrics).strip()


def test_a_density_with_neither_floor_nor_samples_is_judged_by_its_ends() -> None:
    class Bare(Density):
        dimension = 2

        def log_prob(self, latents: Tensor) -> Tensor:
            return -latents.square().sum(dim=1)

    path = plan(Bare(), torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 1.0]), "linear")
    assert (
        path.metrics.off_manifold.item() == 0
    )  # between its ends the line is nearer to the centre than they are


def test_without_a_floor_each_journey_is_judged_by_its_own_ends() -> None:
    class Hill(Density):
        dimension = 1

        def log_prob(self, latents: Tensor) -> Tensor:
            return -latents.square().sum(dim=1)

    start, end = torch.tensor([[-1.0], [0.1]]), torch.tensor([[1.0], [9.0]])
    assert plan(Hill(), start, end, "linear").metrics.off_manifold.tolist() == [0, 0]
    assert plan(Hill(), start, end, "linear", threshold=-0.5).metrics.off_manifold.min() > 0


@pytest.mark.parametrize("planner", ["walk", "geodesic", "string", "graph", "auto"])
def test_a_density_without_a_score_gets_one_sentence(planner: str) -> None:
    class Rounded(Density):
        dimension = 2

        def log_prob(self, latents: Tensor) -> Tensor:
            return -latents.detach().square().sum(dim=1)

    with pytest.raises(UserError, match="Rounded is not differentiable"):
        plan(Rounded(), Z, END, made(planner))
    assert plan(Rounded(), Z, END, "linear").warnings == ()


@pytest.mark.parametrize("planner", ["walk", "geodesic", "string"])
def test_a_fault_within_a_density_is_passed_on(planner: str) -> None:
    class Broken(Density):
        dimension = 2

        def log_prob(self, latents: Tensor) -> Tensor:
            return latents @ torch.ones(3)

    with pytest.raises(RuntimeError, match="size mismatch"):
        plan(Broken(), Z, END, planner)


def test_ends_outside_the_population_are_noted_with_how_far(generator: torch.Generator) -> None:
    start, end = torch.tensor([[-1.5, 0.0], [-1.5, 0.0]]), torch.tensor([[1.5, 0.0], [1.5, 9.0]])
    path = plan(WORLD, start, end, threshold=-4.0)
    depth = -4.0 - WORLD.log_prob(end[1:]).item()
    assert path.warnings == (
        f"the end of 1 of 2 paths is off-manifold, up to {depth:.1f} nats below the threshold "
        "(path 1); travel.project moves codes onto the manifold",
    )
    assert torch.equal(path.points[-1], end)
    assert plan(WORLD, start[:1], end[:1], threshold=-4.0).warnings == ()
