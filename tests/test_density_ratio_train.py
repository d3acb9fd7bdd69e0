"""D_z over levels: what holds for any weights, what the exact logit does to the losses, and when learning stops."""

import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.boundary import PriorBoundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.config import MapConfig
from latent_atlas.density.base import StandardNormal, gradient
from latent_atlas.density.toys import GaussianMixture, two_clusters
from latent_atlas.density_ratio.losses import latent_discriminator, score_matching
from latent_atlas.density_ratio.train import (
    bridge,
    bridge_losses,
    train_discriminator,
    training_precision,
)
from latent_atlas.nn.init import initial_weights
from latent_atlas.nn.latent_discriminator import Ensemble, LatentDiscriminator, angle_of, place_of

WORLD = two_clusters(2, distance=2.4, scale=0.4)
PRIOR = PriorBoundary(2)


class Exact(nn.Module):
    """log q_t - log p of the two clusters at each code's own angle, plus what a test does to it."""

    def __init__(self, wrong: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, latents: Tensor, angles: Tensor) -> Tensor:
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        variances = cos**2 * WORLD.scales**2 + sin**2
        squares = (latents[:, None] - cos[:, :, None] * WORLD.means).square().sum(dim=2)
        parts = (
            WORLD.weights.log()
            - 0.5 * squares / variances
            - variances.log()
            - math.log(2 * math.pi)
        )
        logit = parts.logsumexp(dim=1) - StandardNormal(2).log_prob(latents)
        return logit if self.wrong is None else logit + self.wrong(latents, angles)


def shaken(seed: int = 0, dimension: int = 3) -> LatentDiscriminator:
    """A discriminator none of whose weights is zero."""
    with initial_weights(seed):
        network = LatentDiscriminator(dimension, width=16, depth=2)
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.3)
    return network


def test_pure_noise_belongs_to_nobody(generator: torch.Generator) -> None:
    z = torch.randn(20, 3, generator=generator)
    logits = shaken()(z, torch.full((1,), math.pi / 2))
    torch.testing.assert_close(logits, torch.zeros(20), atol=1e-5, rtol=0)
    assert shaken()(z).abs().min() > 1e-3


def test_the_sum_over_levels_is_the_whole_ratio(generator: torch.Generator) -> None:
    network, z = shaken(), torch.randn(20, 3, generator=generator)
    angles = angle_of(torch.linspace(0, 1, 8))
    logits = torch.stack([network(z, angle[None]) for angle in angles])
    torch.testing.assert_close(
        (logits[:-1] - logits[1:]).sum(dim=0), network(z), atol=1e-4, rtol=1e-4
    )


def test_one_angle_for_all_is_the_same_angle_for_each(generator: torch.Generator) -> None:
    network, z = shaken(), torch.randn(20, 3, generator=generator)
    torch.testing.assert_close(
        network(z, torch.full((1,), 0.7)), network(z, torch.full((20,), 0.7))
    )


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2])
def test_the_reference_is_a_gaussian_s_exact_log_ratio_at_every_level(
    angle: float, generator: torch.Generator
) -> None:
    mean = torch.tensor([1.0, -2.0])
    covariance = torch.tensor([[1.5, 0.6], [0.6, 0.4]])
    network = LatentDiscriminator(2, width=8, depth=1)  # its learned part starts at 0
    network.set_moments(mean, covariance, reference="gaussian")
    noised = math.cos(angle) ** 2 * covariance + math.sin(angle) ** 2 * torch.eye(2)
    exact = torch.distributions.MultivariateNormal(math.cos(angle) * mean, noised)
    z = 2 * torch.randn(30, 2, generator=generator)
    expected = exact.log_prob(z) - StandardNormal(2).log_prob(z)
    torch.testing.assert_close(network(z, torch.full((1,), angle)), expected, atol=1e-4, rtol=1e-4)
    network.set_moments(mean, covariance, reference="none")
    assert network(z).abs().max() == 0


def test_an_ensemble_answers_with_its_mean(generator: torch.Generator) -> None:
    members = [shaken(seed) for seed in range(3)]
    z = torch.randn(5, 3, generator=generator)
    torch.testing.assert_close(Ensemble(members)(z), sum(member(z) for member in members) / 3)
    assert Ensemble(members).logits(z).shape == (3, 5)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.5])
@pytest.mark.parametrize("spread", [None, 2.5])
@pytest.mark.parametrize("reference", ["gaussian", "none"])
def test_the_gradient_written_out_is_that_of_autograd(
    angle: float,
    spread: float | None,
    reference: Literal["gaussian", "none"],
    generator: torch.Generator,
) -> None:
    z, t = torch.randn(20, 3, generator=generator), torch.full((1,), angle)
    factor = torch.randn(3, 3, generator=generator)
    covariance = factor @ factor.T + 0.1 * torch.eye(3)
    members = [shaken(0), shaken(1)]
    for member in members:
        member.set_moments(z[0], covariance, spread, reference=reference)
    networks = Ensemble(members)
    logits, slopes = networks.at(t)(z)
    torch.testing.assert_close(logits, networks(z, t), rtol=1e-4, atol=1e-4)
    expected = gradient(lambda latents: networks(latents, t), z)
    torch.testing.assert_close(slopes, expected, rtol=1e-3, atol=1e-4)


def test_one_level_is_the_plain_cross_entropy() -> None:
    codes = Codes(WORLD.sample(500, generator=torch.Generator().manual_seed(1)))
    ends = bridge(codes, PRIOR, 1, 200, generator=torch.Generator().manual_seed(2))
    network = shaken(dimension=2)
    cross_entropy, score = bridge_losses(network, ends, 1, with_score=False)
    expected = latent_discriminator(network(ends.sharp.latents), network(ends.smooth))
    torch.testing.assert_close(cross_entropy, expected)
    assert score.item() == 0
    assert {tuple(row) for row in ends.sharp.latents.tolist()} <= {
        tuple(row) for row in codes.means.tolist()
    }


def test_codes_are_compared_with_those_of_the_next_level(generator: torch.Generator) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Seen(nn.Module):
        """Keeps what it is asked for."""

        def forward(self, latents: Tensor, angles: Tensor) -> Tensor:
            seen.append((latents, angles))
            return latents.sum(dim=1)

    codes = Codes(torch.zeros(50, 2))  # a code's length over sqrt 2 then shows its level
    ends = bridge(codes, PRIOR, 4, 40_000, generator=generator)
    bridge_losses(Seen(), ends, 4, with_score=False)
    ((latents, angles),) = seen
    n = len(ends.sharp.latents)
    assert n == pytest.approx(40_000, rel=0.1)
    of_angles = angles.sin().square().view(-1, 4, len(ends.angles) // 4).mean(dim=(0, 2)).tolist()
    own, smoother, sharper = (
        part.square().view(-1, 4, len(ends.angles) // 4, 2).mean(dim=(0, 2, 3)).tolist()
        for part in latents.split([n, n // 2, n // 2])
    )
    assert own == pytest.approx(of_angles, rel=0.05)
    assert smoother[1:] == pytest.approx(of_angles[:-1], rel=0.1)
    assert sharper == pytest.approx([*of_angles[1:], 1.0], rel=0.1)


def test_levels_are_spread_evenly(generator: torch.Generator) -> None:
    angles = bridge(Codes(torch.zeros(50, 2)), PRIOR, 4, 256, generator=generator).angles
    places = place_of(angles)
    torch.testing.assert_close(places.diff(), torch.full((31,), 1 / 32))
    assert 0 <= places[0] < 1 / 32


@pytest.mark.parametrize("m", [1, 6, 24])
@pytest.mark.parametrize("mixture", [False, True])
def test_a_loss_of_the_gradient_has_the_gradient_of_autograd(
    m: int, mixture: bool, generator: torch.Generator
) -> None:
    network, k = shaken(), 24
    z, t = torch.randn(48, 3, generator=generator), torch.rand(m, generator=generator)
    network.set_moments(z[0], torch.eye(3) + 0.3, 2.5, reference="gaussian")
    if mixture:
        means, scales = torch.randn(2, 3, generator=generator), torch.eye(3).repeat(2, 1, 1)
        network.set_mixture(GaussianMixture(torch.tensor([0.4, 0.6]), means, scales))

    def both(logits: Tensor, slopes: Float[Tensor, "k d"]) -> list[Tensor]:
        loss = logits.sin().sum() + slopes.pow(3).sum()
        return [logits, slopes, *torch.autograd.grad(loss, list(network.parameters()))]

    at = z.clone().requires_grad_()
    logits = network(at, t.repeat(48 // m))
    (slopes,) = torch.autograd.grad(logits.sum(), at, create_graph=True)
    expected = both(logits, slopes[:k])
    for found, autograd in zip(both(*network.slope(z, t, k)), expected, strict=True):
        torch.testing.assert_close(
            found, autograd, rtol=1e-4, atol=1e-4 * autograd.abs().max().item()
        )


@pytest.mark.parametrize("levels", [1, 6])
@pytest.mark.parametrize(
    ("wrong", "bends"),
    [
        (lambda z, t: 0.3 * t.cos() * z[:, 0], True),
        (lambda z, t: -0.3 * t.cos() * z[:, 0], True),
        (lambda z, t: 0.15 * t.cos() * z.square().sum(dim=1), True),
        (lambda z, t: 0.5 * t.cos(), False),
        (lambda z, t: -0.5 * t.cos(), False),
    ],
    ids=["tilted", "tilted back", "bent", "raised", "lowered"],
)
def test_no_other_logit_has_less_loss_than_the_exact_one(
    levels: int, wrong: Callable[[Tensor, Tensor], Tensor], bends: bool, generator: torch.Generator
) -> None:
    codes = Codes(WORLD.sample(50_000, generator=generator))
    ends = bridge(codes, PRIOR, levels, 50_000, generator=generator)
    exact, worse = (
        bridge_losses(judged, ends, levels, with_score=levels > 1)
        for judged in (Exact(), Exact(wrong))
    )
    assert exact[0] < worse[0]
    if levels > 1:
        assert exact[1] < worse[1] if bends else exact[1] == worse[1]


def test_score_matching_of_a_known_score_is_what_the_noise_hides(
    generator: torch.Generator,
) -> None:
    noise = torch.randn(10_000, 2, generator=generator)
    z = 0.5 * noise  # one code at 0, so that score is -z / root² and the noise is found exactly
    root = torch.full((10_000, 1), 0.5)
    assert score_matching(-z / 0.25, noise, root).item() == pytest.approx(0, abs=1e-10)
    assert score_matching(z / 0.25, noise, root).item() == pytest.approx(0.5 * 4 * 2, rel=0.05)


def test_losses_reach_the_weights_through_the_gradient(generator: torch.Generator) -> None:
    network = shaken(dimension=2)
    ends = bridge(Codes(WORLD.sample(100, generator=generator)), PRIOR, 4, 64, generator=generator)
    _, score = bridge_losses(network, ends, 4, with_score=True)
    score.backward()
    weight = network.stem.weight
    assert weight.grad is not None
    slope = weight.grad[0, 0].item()
    with torch.no_grad():
        changed = []
        for step in (1e-3, -1e-3):
            weight[0, 0] += step
            changed.append(bridge_losses(network, ends, 4, with_score=True)[1].item())
            weight[0, 0] -= step
    assert slope == pytest.approx((changed[0] - changed[1]) / 2e-3, rel=0.02, abs=1e-3)


def test_early_stopping_keeps_the_best_weights() -> None:
    few = Codes(WORLD.sample(60, generator=torch.Generator().manual_seed(1)))
    rest = Codes(WORLD.sample(60, generator=torch.Generator().manual_seed(2)))
    records: list[dict[str, float]] = []
    overfit = MapConfig(
        width=64,
        depth=2,
        steps=1_500,
        batch_size=128,
        learning_rate=3e-3,
        weight_decay=0.0,
        patience=4,
        check_every=50,
        ema=0.99,
    )
    network = LatentDiscriminator(2, width=64, depth=2)
    generator = torch.Generator().manual_seed(0)
    kept = train_discriminator(
        network,
        few,
        rest,
        PRIOR,
        overfit,
        levels=1,
        score_weight=0.0,
        generator=generator,
        log=records.append,
    )
    held_out = [record["held_out_loss"] for record in records]
    assert records[-1]["step"] < 1_500
    assert kept.held_out_loss == min(held_out) < held_out[-1]
    assert records[[record["step"] for record in records].index(kept.step)]["loss"] == kept.loss
    real, fake = rest.sample(20_000, generator=generator), PRIOR.sample(20_000, generator=generator)
    assert latent_discriminator(network(real), network(fake)).item() == pytest.approx(
        kept.held_out_loss, abs=0.03
    )


def test_levels_reach_what_a_single_classifier_cannot(generator: torch.Generator) -> None:
    tight = GaussianMixture(torch.ones(1), torch.zeros(1, 4), torch.tensor([0.05]))
    exact = tight.kl_to_prior(generator=generator).nats  # 10
    codes = Codes(tight.sample(4_000, generator=generator))
    found = {}
    for levels in (1, 8):
        torch.manual_seed(0)  # of the weights, whatever ran before
        network = LatentDiscriminator(4, width=32, depth=1)
        config = MapConfig(steps=600, batch_size=64, learning_rate=4e-3, reference="none", ema=0.98)
        train_discriminator(
            network,
            codes,
            codes,
            PriorBoundary(4),
            config,
            levels=levels,
            score_weight=float(levels > 1),
            generator=generator,
        )
        with torch.no_grad():
            found[levels] = network(codes.means).mean().item()
    assert abs(found[8] - exact) < abs(found[1] - exact) / 2


def test_bfloat16_trains_the_same_map_and_leaves_float32_weights() -> None:
    codes = Codes(WORLD.sample(2_000, generator=torch.Generator().manual_seed(4)))
    logits = {}
    for precision in ("32", "bf16"):
        with initial_weights(0):
            network = LatentDiscriminator(2, width=32, depth=1)
        train_discriminator(
            network,
            codes,
            codes,
            PRIOR,
            MapConfig(steps=150, batch_size=256, precision=precision),
            levels=4,
            score_weight=1.0,
            generator=torch.Generator().manual_seed(5),
        )
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}
        logits[precision] = network(codes.means).detach()
    apart = (logits["32"] - logits["bf16"]).abs()
    assert 0 < apart.mean() < 0.1 * logits["32"].std()


def test_auto_is_bfloat16_where_a_cpu_multiplies_it_fast_and_the_network_is_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("latent_atlas.device.bf16_speedup", lambda device: 3.0)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert training_precision(MapConfig(), cpu) == "bf16"
    assert training_precision(MapConfig(width=16), cpu) == "32"
    assert training_precision(MapConfig(), gpu) == "32"
    assert training_precision(MapConfig(precision="bf16"), gpu) == "bf16"
