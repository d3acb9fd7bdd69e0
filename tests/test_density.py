"""What every density promises: a score that is the gradient of log_prob, whoever asks for it."""

import math

import pytest
import torch

from latent_atlas.density import Density, ExactMembership, Membership, StandardNormal
from latent_atlas.toys import GaussianMixture, two_clusters


class ByAutograd(Density):
    """A density that gives no score of its own."""

    dimension = 3

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        return -latents.square().square().sum(dim=1)


def mixture() -> GaussianMixture:
    weights = torch.tensor([0.2, 0.8])
    means = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])
    return GaussianMixture(weights, means, torch.tensor([0.5, 1.5]))


DENSITIES: dict[str, Density] = {
    "StandardNormal": StandardNormal(3),
    "GaussianMixture": mixture(),
    "ExactMembership": ExactMembership(mixture(), StandardNormal(3)),
    "ByAutograd": ByAutograd(),
}


@pytest.fixture(params=DENSITIES, ids=str)
def density(request: pytest.FixtureRequest) -> Density:
    return DENSITIES[request.param]


def finite_differences(density: Density, z: torch.Tensor, step: float = 1e-4) -> torch.Tensor:
    z = z.double()
    columns = []
    for axis in torch.eye(z.shape[1], dtype=torch.float64):
        ahead, behind = density.log_prob(z + step * axis), density.log_prob(z - step * axis)
        columns.append((ahead - behind) / (2 * step))
    return torch.stack(columns, dim=1).float()


def test_score_is_the_gradient_of_log_prob(density: Density, generator: torch.Generator) -> None:
    z = torch.randn(6, 3, generator=generator)
    torch.testing.assert_close(density.score(z), finite_differences(density, z), rtol=1e-3, atol=1e-3)


def test_score_is_the_same_inside_no_grad_and_inference_mode(density: Density, generator: torch.Generator) -> None:
    z = torch.randn(4, 3, generator=generator)
    expected = density.score(z)
    with torch.no_grad():
        torch.testing.assert_close(density.score(z), expected)
    with torch.inference_mode():
        torch.testing.assert_close(density.score(z + 0), expected)


def test_mixture_integrates_to_one_and_samples_itself(generator: torch.Generator) -> None:
    world = two_clusters(2, distance=3.0)
    axis = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(axis, axis)
    assert world.log_prob(grid).exp().sum().item() * 0.05**2 == pytest.approx(1, abs=1e-3)
    draws = world.sample(20_000, generator=generator)
    assert draws.mean(dim=0).norm().item() < 0.05
    assert draws[:, 0].std().item() == pytest.approx(math.sqrt(1.5**2 + 0.25), abs=0.03)


def test_exact_membership_is_undecided_where_both_densities_agree() -> None:
    membership = ExactMembership(StandardNormal(2), StandardNormal(2))
    z = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    torch.testing.assert_close(membership.realness(z), torch.full((2,), 0.5))
    torch.testing.assert_close(membership.confusion(z), torch.ones(2))


def test_quantities_of_a_membership_follow_their_formulas(generator: torch.Generator) -> None:
    membership: Membership = ExactMembership(mixture(), StandardNormal(3))
    z = torch.randn(8, 3, generator=generator)
    q, p = mixture().log_prob(z).exp(), StandardNormal(3).log_prob(z).exp()
    real = q / (q + p)
    torch.testing.assert_close(membership.realness(z), real)
    torch.testing.assert_close(membership.energy(z), -q.log())
    entropy = -(real * real.log2() + (1 - real) * (1 - real).log2())
    torch.testing.assert_close(membership.confusion(z), entropy)
    slope = mixture().score(z) - StandardNormal(3).score(z)
    torch.testing.assert_close(membership.log_realness_gradient(z), (1 - real)[:, None] * slope)
    torch.testing.assert_close(membership.realness_gradient(z), (real * (1 - real))[:, None] * slope)


def test_confusion_stays_finite_far_away() -> None:
    membership = ExactMembership(two_clusters(2, 4.0), StandardNormal(2))
    confusion = membership.confusion(torch.tensor([[60.0, 0.0]]))
    assert confusion.isfinite().all()
    assert confusion.item() == pytest.approx(0)
