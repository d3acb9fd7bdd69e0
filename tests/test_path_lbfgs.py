"""Lowering the energy of paths: known minima, monotony, independence, and what is said of journeys that do not end."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.toys import arc
from latent_atlas.travel.path_lbfgs import minimise
from latent_atlas.travel.planners.geodesic import action
from latent_atlas.travel.polyline import resample


def squares(points: Tensor, _: Tensor) -> Tensor:
    """|γ|² of each path, the energy of flat space."""
    return (len(points) - 1) * points.diff(dim=0).square().sum(dim=(0, 2))


def half_plane(points: Tensor, _: Tensor) -> Tensor:
    """∫ |dz|² / y² of each path: the hyperbolic plane, whose geodesics are half circles around places with y = 0."""
    weights = points[..., 1].pow(-2)
    steps = points.diff(dim=0).square().sum(dim=2)
    return (len(points) - 1) * ((weights[1:] + weights[:-1]) / 2 * steps).sum(dim=0)


def straight(nodes: int, *ends: tuple[float, float], dtype: torch.dtype = torch.float32) -> Tensor:
    return resample(torch.tensor(ends, dtype=dtype)[:, None], nodes)


def test_in_flat_space_a_bent_path_becomes_straight_at_once(generator: torch.Generator) -> None:
    bent = torch.randn(9, 4, 3, generator=generator)
    relaxed, info = minimise(squares, bent, iterations=5, tolerance=1e-4)
    torch.testing.assert_close(
        relaxed, torch.lerp(bent[0], bent[-1], torch.linspace(0, 1, 9)[:, None, None])
    )
    assert info.converged.all()
    assert info.iterations <= 2


def test_the_geodesic_of_the_half_plane_is_its_circle() -> None:
    relaxed, info = minimise(
        half_plane, straight(33, (-1, 1), (1, 1)), iterations=100, tolerance=1e-3
    )
    assert info.converged.all()
    torch.testing.assert_close(
        relaxed.norm(dim=2), torch.full((33, 1), math.sqrt(2)), atol=2e-3, rtol=0
    )


def test_halving_the_step_quarters_the_error_of_the_length() -> None:
    length = 2 * math.asinh(1)  # from (-1, 1) to (1, 1) in the half plane
    errors = []
    for nodes in (9, 17, 33):
        start = straight(nodes, (-1, 1), (1, 1), dtype=torch.float64)
        _, info = minimise(half_plane, start, iterations=200, tolerance=1e-9)
        errors.append(abs(info.history[-1].sqrt().item() - length))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_energies_never_rise_and_end_where_the_paths_are(generator: torch.Generator) -> None:
    start, end = arc().sample(16, generator=generator).chunk(2)
    relaxed, info = minimise(
        lambda points, _: action(points, arc(), -1.0, 5.0),
        resample(torch.stack([start, end]), 17),
        iterations=50,
        tolerance=1e-3,
    )
    assert info.history.shape == (info.iterations + 1, 8)
    assert (info.history.diff(dim=0) <= 0).all()
    assert (info.history[-1] < info.history[0]).any()
    torch.testing.assert_close(action(relaxed, arc(), -1.0, 5.0), info.history[-1])


def test_ends_stay_bit_for_bit(generator: torch.Generator) -> None:
    bent = torch.rand(7, 5, 2, generator=generator) + 0.5
    relaxed, _ = minimise(half_plane, bent, iterations=30, tolerance=1e-3)
    assert torch.equal(relaxed[[0, -1]], bent[[0, -1]])


def test_a_journey_takes_its_own_steps(generator: torch.Generator) -> None:
    bent = torch.rand(17, 6, 2, generator=generator) + 0.3
    together, _ = minimise(half_plane, bent, iterations=30, tolerance=1e-2)
    alone, _ = minimise(half_plane, bent[:, 2:3], iterations=30, tolerance=1e-2)
    torch.testing.assert_close(together[:, 2:3], alone, atol=1e-4, rtol=1e-4)


def test_a_journey_that_has_arrived_is_not_evaluated_again() -> None:
    start = torch.cat(
        [straight(17, (-1, 1), (1, 1)), straight(17, (1, 1), (1, 2))], dim=1
    )  # the second is a geodesic
    seen = []

    def energy(points: Tensor, journeys: Tensor) -> Tensor:
        seen.append(journeys.tolist())
        return half_plane(points, journeys)

    _, info = minimise(energy, start, iterations=100, tolerance=1e-2)
    assert info.converged.all()
    assert seen[0] == [0, 1]
    assert seen[-1] == [0]
    assert len(seen) == info.iterations + 1


def test_a_journey_that_was_given_too_few_steps_is_reported() -> None:
    start = torch.cat([straight(17, (-1, 0.1), (1, 0.1)), straight(17, (1, 1), (1, 1.01))], dim=1)
    _, info = minimise(half_plane, start, iterations=2, tolerance=1e-2)
    assert info.converged.tolist() == [False, True]
    assert info.residual[0] > 1e-2 >= info.residual[1]
    assert info.iterations == 2


def test_no_step_enters_where_the_energy_is_not_a_number() -> None:
    def walled(points: Tensor, journeys: Tensor) -> Tensor:
        inside = (points[..., 1] < 1.3).all(dim=0)
        return torch.where(inside, half_plane(points, journeys), math.nan)

    relaxed, info = minimise(walled, straight(17, (-1, 1), (1, 1)), iterations=40, tolerance=1e-3)
    assert info.history.isfinite().all()
    assert relaxed[..., 1].max() < 1.3
    assert relaxed[8, 0, 1] > 1.1  # the circle would pass sqrt(2)


def test_the_unit_of_the_energy_changes_nothing() -> None:
    start = straight(17, (-1, 1), (1, 1))
    one, thousand = (
        minimise(
            lambda points, rows, unit=unit: unit * half_plane(points, rows),
            start,
            iterations=50,
            tolerance=1e-2,
        )
        for unit in (1.0, 1_024.0)
    )
    torch.testing.assert_close(one[0], thousand[0])
    torch.testing.assert_close(one[1].residual, thousand[1].residual)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_paths_are_the_same_inside_no_grad_and_inference_mode(mode: type) -> None:
    expected, _ = minimise(half_plane, straight(9, (-1, 1), (1, 1)), iterations=30, tolerance=1e-2)
    with mode():
        relaxed, _ = minimise(
            half_plane, straight(9, (-1, 1), (1, 1)), iterations=30, tolerance=1e-2
        )
    assert torch.equal(relaxed, expected)
