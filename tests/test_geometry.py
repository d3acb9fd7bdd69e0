"""Geometry against exact answers: linear decoders, a sphere, hand-made codes, known densities."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import StandardNormal
from latent_atlas.density.toys import GaussianMixture
from latent_atlas.errors import UserError
from latent_atlas.geometry import (
    Geometry,
    Spectrum,
    active_units,
    correlations,
    distances_by_radius,
    estimated_spectrum,
    exact_spectrum,
    kl_per_image,
    largest_steps,
    measure,
    path_lengths,
    prior_inside,
    spectrum,
)
from latent_atlas.training import losses


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orthonormal(pixels: int, d: int) -> Tensor:
    """A matrix (pixels, d) with orthonormal columns."""
    return torch.linalg.qr(normal(pixels, d))[0]


def linear(matrix: Tensor) -> Any:
    """G(z) = A z."""
    return lambda z: z @ matrix.T


def on_sphere(z: Tensor) -> Tensor:
    """Stereographic projection of the plane onto the unit sphere: conformal, of scale 2 / (1 + |z|²)."""
    squared = z.square().sum(dim=1, keepdim=True)
    return torch.cat([2 * z, squared - 1], dim=1) / (1 + squared)


def measured(decode: Any, codes: Tensor, **settings: Any) -> Geometry:
    settings = {"threshold": -1e9, "generator": torch.Generator().manual_seed(0)} | settings
    return measure(StandardNormal(codes.shape[1]), decode, codes, **settings)


class TestDense:
    def test_kl_is_the_closed_form(self) -> None:
        means, log_variances = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(4)]])
        assert kl_per_image(means, log_variances) == pytest.approx(
            0.5 + 0.5 * (4 - 1 - math.log(4))
        )

    def test_active_units_are_those_whose_means_vary_by_more_than_a_hundredth(self) -> None:
        signs = torch.tensor([1.0, -1.0]).repeat(50)[:, None]
        assert active_units(signs * torch.tensor([0.0, 0.0999, 0.1001, 3.0])) == 2
        assert active_units(5 + 0 * signs) == 0

    @pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
    def test_prior_inside_is_the_mass_of_a_ball(
        self, radius: float, generator: torch.Generator
    ) -> None:
        threshold = -0.5 * radius**2 - math.log(2 * math.pi)
        share = prior_inside(StandardNormal(2), threshold, 20_000, generator=generator)
        assert share == pytest.approx(1 - math.exp(-0.5 * radius**2), abs=0.015)

    def test_the_prior_misses_a_population_that_is_elsewhere(
        self, generator: torch.Generator
    ) -> None:
        far = GaussianMixture(torch.ones(1), torch.tensor([[9.0, 9.0]]), torch.ones(1))
        assert prior_inside(far, -5.0, 1_000, generator=generator) == 0


class TestContinuous:
    def test_path_length_of_a_linear_decoder_is_the_squared_distance(
        self, generator: torch.Generator
    ) -> None:
        matrix, start, end = normal(7, 3), normal(50, 3, seed=2), normal(50, 3, seed=3)
        lengths = path_lengths(linear(matrix), start, end, generator=generator)
        torch.testing.assert_close(
            lengths, ((end - start) @ matrix.T).square().sum(dim=1), rtol=2e-2, atol=0
        )

    def test_its_expectation_over_codes_is_closed_as_well(self) -> None:
        matrix = normal(7, 3)
        found = measured(linear(matrix), normal(3_000, 3, seed=4), samples=3_000)
        # z_B - z_A is N(0, 2 I), so that E|A (z_B - z_A)|² = 2 tr AᵀA.
        assert found.path_length.value == pytest.approx(2 * matrix.square().sum().item(), rel=0.1)
        assert found.relative_path_length.value == pytest.approx(1, abs=0.01)

    def test_a_detour_is_longer_than_straight(self) -> None:
        def winding(z: Tensor) -> Tensor:
            return torch.cat([z, (9 * z).sin()], dim=1)

        assert measured(winding, normal(300, 2)).relative_path_length.value > 2

    def test_a_jump_is_told_from_a_slope(self) -> None:
        start, end = torch.tensor([[-1.0], [2.0]]), torch.tensor([[1.0], [3.0]])
        torch.testing.assert_close(largest_steps(lambda z: 5 * z, start, end, 8), torch.ones(2))
        torch.testing.assert_close(
            largest_steps(lambda z: (z > 0.1).float(), start, end, 8), torch.tensor([8.0, 1.0])
        )
        assert (
            measured(lambda z: (z > 0.1).float() + 1e-6 * z, normal(200, 1)).largest_step.value
            > 7.9
        )


class TestEuclidean:
    def test_an_isometry_keeps_distances_at_every_radius(self, generator: torch.Generator) -> None:
        codes = normal(200, 4, seed=5)
        found = distances_by_radius(linear(3 * orthonormal(9, 4)), codes, 300, generator=generator)
        torch.testing.assert_close(found.stretch(), torch.full((6, 300), 3.0), rtol=1e-3, atol=0)
        assert all(min(pair) > 0.999 for pair in found.correlations())
        assert found.radii == tuple(sorted(found.radii))
        for outer, latent in zip(found.radii, found.latent, strict=True):
            assert 0.5 * outer <= latent.min() <= latent.max() <= outer

    def test_on_the_sphere_distances_are_chords(self, generator: torch.Generator) -> None:
        codes = normal(100, 2, seed=6)
        codes = codes / codes.norm(
            dim=1, keepdim=True
        )  # the unit circle is mapped onto the equator, isometrically
        one, other = codes[:50], codes[50:]
        torch.testing.assert_close(
            (on_sphere(one) - on_sphere(other)).norm(dim=1), (one - other).norm(dim=1)
        )
        found = measured(on_sphere, codes, samples=400)
        assert found.pearson.value == pytest.approx(1, abs=1e-5)
        # Off the circle, on the chords between its codes, the scale 2 / (1 + |z|²) is larger than 1.
        assert found.stretch.middle[-1] > 1.02
        assert found.near_pearson.value > 0.95

    def test_a_decoder_that_flattens_a_direction_loses_the_correlation(self) -> None:
        round_, flat = (
            measured(linear(torch.tensor([1.0, w]).diag()), normal(500, 2)) for w in (1.0, 0.0)
        )
        assert round_.near_pearson.value > 0.999
        assert flat.near_pearson.value < 0.6

    def test_correlations_are_those_of_values_and_of_ranks(self) -> None:
        x = torch.arange(1.0, 9.0)
        assert correlations(x, -2 * x + 3) == pytest.approx((-1, -1))
        pearson, spearman = correlations(x, x**5)
        assert pearson < 0.95
        assert spearman == pytest.approx(1)
        assert correlations(x, torch.ones(8)) == (0, 0)


class TestJacobian:
    def test_singular_values_of_a_linear_decoder_are_those_of_its_matrix(self) -> None:
        matrix = normal(11, 4)
        found = exact_spectrum(linear(matrix), normal(3, 4))
        expected = torch.linalg.svdvals(matrix.double()).flip(0)
        torch.testing.assert_close(found.values, expected.expand(3, 4), rtol=1e-5, atol=0)
        torch.testing.assert_close(
            found.condition(), (expected[-1] / expected[0]).expand(3), rtol=1e-5, atol=0
        )
        torch.testing.assert_close(
            found.log_spread(), expected.log().std(correction=0).expand(3), rtol=1e-5, atol=0
        )

    def test_an_orthogonal_decoder_has_condition_one_at_any_scale(
        self, generator: torch.Generator
    ) -> None:
        for made in (
            exact_spectrum,
            lambda decode, z: estimated_spectrum(decode, z, generator=generator),
        ):
            found = made(linear(100 * orthonormal(20, 6)), normal(5, 6))
            torch.testing.assert_close(found.condition(), torch.ones(5).double(), rtol=1e-4, atol=0)
            torch.testing.assert_close(
                found.log_spread(), torch.zeros(5).double(), rtol=0, atol=1e-4
            )
            assert found.distortion() == pytest.approx(0, abs=1e-6)

    def test_the_sphere_is_conformal_but_not_of_one_scale(self) -> None:
        z = normal(50, 2)
        found = exact_spectrum(on_sphere, z)
        scale = 2 / (1 + z.double().square().sum(dim=1))
        torch.testing.assert_close(found.values, scale[:, None].expand(50, 2), rtol=1e-5, atol=0)
        s = scale.square()
        assert found.distortion() == pytest.approx(
            (s.var(correction=0) / s.mean() ** 2).item(), rel=1e-4
        )

    def test_distortion_is_what_the_isometry_loss_draws(self, generator: torch.Generator) -> None:
        matrix = normal(9, 3)

        def decode(z: Tensor) -> Tensor:
            return (z @ matrix.T).tanh()

        z = normal(40, 3, seed=7)
        v = torch.nn.functional.normalize(torch.randn(40_000, 3, generator=generator))
        drawn = losses.isometry(decode, z.repeat(1_000, 1), v).item()
        assert exact_spectrum(decode, z).distortion() == pytest.approx(drawn, rel=0.03)

    def test_lanczos_finds_the_spectrum_of_a_large_decoder(
        self, generator: torch.Generator
    ) -> None:
        d = 120
        sigma = torch.logspace(-1, 1, d)
        matrix = orthonormal(d, d) @ sigma.diag() @ torch.linalg.qr(normal(d, d, seed=8))[0]
        exact = exact_spectrum(linear(matrix), normal(1, d))
        found = estimated_spectrum(linear(matrix), normal(400, d), generator=generator)
        torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(400).double())
        assert found.log_spread().mean().item() == pytest.approx(exact.log_spread().item(), rel=0.1)
        assert found.distortion() == pytest.approx(exact.distortion(), rel=0.25)
        assert found.values.amax(dim=1).mean().item() == pytest.approx(10, rel=0.02)
        assert (found.condition() <= 100 * 1.01).all()
        assert found.condition().mean() > 20

    def test_lanczos_with_as_many_steps_as_dimensions_is_exact(
        self, generator: torch.Generator
    ) -> None:
        matrix = normal(9, 4)
        found = estimated_spectrum(linear(matrix), normal(2, 4), generator=generator)
        expected = torch.linalg.svdvals(matrix.double()).flip(0)
        torch.testing.assert_close(found.values, expected.expand(2, 4), rtol=1e-3, atol=0)

    def test_quantiles_of_the_spectrum_are_its_values_by_rank(self) -> None:
        found = exact_spectrum(linear(torch.tensor([1.0, 2.0, 4.0]).diag()), torch.zeros(1, 3))
        shares = torch.tensor([0.1, 0.5, 0.9])
        torch.testing.assert_close(
            found.quantiles(shares), torch.tensor([[1.0, 2.0, 4.0]]).double()
        )

    def test_it_works_whoever_calls_it(self, generator: torch.Generator) -> None:
        matrix = normal(5, 2)
        expected = exact_spectrum(linear(matrix), torch.zeros(2, 2)).values
        for context in (torch.no_grad(), torch.inference_mode()):
            with context:
                found = spectrum(linear(matrix), torch.zeros(2, 2), generator=generator)
            torch.testing.assert_close(found.values, expected)


def trained(weight: float, seed: int) -> tuple[float, Spectrum]:
    """A small decoder that learned images of a stretched, bent plane and their codes, with isometry of some weight."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(128, 2, generator=generator)
    images = torch.cat([places * torch.tensor([3.0, 1.0]), (3 * places).sin()], dim=1)
    codes = (2 * places - 1).requires_grad_()  # learned as well, as an encoder's are
    w, u = (
        torch.randn(shape, generator=generator).mul(0.3).requires_grad_()
        for shape in ((2, 16), (16, 4))
    )

    def decode(z: Tensor) -> Tensor:
        return (z @ w).tanh() @ u

    optimizer = torch.optim.Adam([w, u, codes], lr=2e-2)
    for _ in range(300):
        v = torch.nn.functional.normalize(torch.randn(128, 2, generator=generator))
        error = (decode(codes) - images).square().mean()
        loss = error + weight * losses.isometry(decode, codes.detach(), v) if weight else error
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return error.item(), exact_spectrum(decode, codes.detach())


@pytest.mark.parametrize("seed", [0, 1])
def test_training_with_isometry_evens_out_the_jacobian(seed: int) -> None:
    (_, plain), (error, evened) = trained(0.0, seed), trained(0.1, seed)
    assert error < 0.03  # a tenth of the images' variance: it has learned them
    assert evened.distortion() < 0.5 * plain.distortion()
    assert evened.log_spread().mean() < 0.6 * plain.log_spread().mean()
    assert evened.condition().median() < plain.condition().median()


def test_every_number_has_its_sample_and_says_what_is_good() -> None:
    codes = normal(100, 3)
    found = measured(linear(normal(5, 3)), codes, log_variances=torch.zeros(100, 3), samples=32)
    numbers = found.numbers()
    assert numbers["kl_per_image"].value == pytest.approx(
        0.5 * codes.square().sum(dim=1).mean().item()
    )
    assert all(
        n.samples > 0 and n.of and n.good and math.isfinite(n.value) for n in numbers.values()
    )
    assert found.active_units.value == 3
    assert found.prior_inside.value == 1
    read = json.loads(json.dumps(found.as_json()))
    assert read["condition"]["value"] == found.condition.value
    assert len(read["singular_values"]["middle"]) == 3
    assert read["features"] == "pixels"
    assert measured(linear(normal(5, 3)), codes).kl_per_image is None


def test_the_same_generator_gives_the_same_numbers() -> None:
    codes, decode = normal(60, 2), linear(normal(5, 2))
    assert measured(decode, codes) == measured(decode, codes)


def test_features_are_what_distances_are_seen_in() -> None:
    codes = normal(200, 2)
    blind = {"features": lambda x: x[:, :1], "feature_name": "the first pixel"}
    found = measured(lambda z: z, codes, **blind)
    assert found.features == "the first pixel"
    assert found.near_pearson.value < 0.6
    assert found.condition.value == pytest.approx(1)  # the Jacobian is the decoder's own


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"samples": 4}, "samples is 4; choose 8"),
        ({"codes": torch.ones(1, 2)}, "two or more different codes; there are 1"),
        ({"codes": torch.ones(30, 2)}, "two or more different codes; there are 30, all the same"),
        (
            {"decode": lambda z: torch.ones(len(z), 3)},
            "do not change with the codes, or have no derivative",
        ),
        (
            {"decode": lambda z: z.detach().round()},
            "do not change with the codes, or have no derivative",
        ),
    ],
)
def test_what_cannot_be_measured_gets_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    given = {"decode": lambda z: z, "codes": normal(30, 2)} | changes
    with pytest.raises(UserError, match=sentence):
        measured(given.pop("decode"), given.pop("codes"), **given)


def test_nearly_equal_codes_are_measured_by_the_one_that_differs() -> None:
    codes = torch.zeros(500, 2)
    codes[7] = 1
    assert measured(linear(2 * torch.eye(2)), codes, samples=8).stretch.middle == pytest.approx(
        [2] * 6, rel=1e-3
    )
