"""Each term against its closed form, and each sign against what the term is for."""

import copy
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from latent_atlas.codes.posterior import kl_standard_normal
from latent_atlas.density_ratio.losses import latent_discriminator
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.training import losses

KINDS = ("relativistic", "hinge", "non-saturating")


def test_kl_equals_the_closed_form(generator: torch.Generator) -> None:
    means = torch.randn(5, 3, generator=generator)
    log_variances = torch.randn(5, 3, generator=generator)
    expected = kl_divergence(Normal(means, (0.5 * log_variances).exp()), Normal(0.0, 1.0)).sum(
        dim=1
    )
    torch.testing.assert_close(kl_standard_normal(means, log_variances), expected)


def test_kl_of_the_prior_itself_is_zero() -> None:
    assert kl_standard_normal(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_descent_of_the_image_discriminator_separates_real_from_fake(
    kind: losses.Adversarial,
) -> None:
    real = torch.zeros(4, requires_grad=True)
    fake = torch.zeros(4, requires_grad=True)
    losses.image_discriminator(real, fake, kind).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all()  # descent raises the logit of real images
    assert (fake.grad > 0).all()  # and lowers that of generated ones


@pytest.mark.parametrize("kind", KINDS)
def test_descent_of_the_decoder_raises_the_logit_of_its_images(kind: losses.Adversarial) -> None:
    fake = torch.zeros(4, requires_grad=True)
    losses.image_generator(torch.zeros(4), fake, kind).backward()
    assert fake.grad is not None
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_decoder_and_image_discriminator_pull_the_fake_logit_opposite_ways(
    kind: losses.Adversarial,
) -> None:
    slopes = []
    for term in (losses.image_discriminator, losses.image_generator):
        fake = torch.zeros(4, requires_grad=True)
        term(torch.zeros(4), fake, kind).backward()
        assert fake.grad is not None
        slopes.append(fake.grad.sum().item())
    assert slopes[0] * slopes[1] < 0


def test_latent_discriminator_and_fooling_pull_real_codes_opposite_ways() -> None:
    real = torch.zeros(3, requires_grad=True)
    fake = torch.zeros(3, requires_grad=True)
    latent_discriminator(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    fooling = torch.zeros(3, requires_grad=True)
    losses.latent_fooling(fooling).backward()
    assert fooling.grad is not None
    assert (fooling.grad > 0).all()  # the encoder's codes should look fake: their logit falls


def test_latent_discriminator_of_a_coin_is_log_two() -> None:
    loss = latent_discriminator(torch.zeros(3), torch.zeros(3))
    assert loss.item() == pytest.approx(math.log(2))


def test_gradient_penalty_of_a_linear_discriminator_is_half_the_squared_weight(
    generator: torch.Generator,
) -> None:
    weight = torch.randn(1, 3, 3, generator=generator, requires_grad=True)
    images = torch.rand(6, 1, 3, 3, generator=generator)
    penalty = losses.gradient_penalty(lambda x: (weight * x).sum(dim=(1, 2, 3)), images)
    torch.testing.assert_close(penalty, 0.5 * weight.square().sum())
    (slope,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(slope, weight)


def test_gradient_penalty_agrees_with_double_backward(generator: torch.Generator) -> None:
    network = ImageDiscriminator(8, 1, width=4, depth=1)
    images = torch.rand(3, 1, 8, 8, generator=generator, requires_grad=True)
    (slope,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    expected = 0.5 * slope.flatten(1).square().sum(dim=1).mean()
    actual = losses.gradient_penalty(network, images.detach())
    torch.testing.assert_close(actual, expected)
    weights = [network.stem.weight, network.head.weight]
    for a, b in zip(
        torch.autograd.grad(actual, weights), torch.autograd.grad(expected, weights), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_feature_matching_moves_the_fake_features_only(generator: torch.Generator) -> None:
    fake = [
        torch.zeros(2, 3, 4, 4, requires_grad=True),
        torch.zeros(2, 6, 2, 2, requires_grad=True),
    ]
    real = [torch.ones_like(f).requires_grad_() for f in fake]
    loss = losses.feature_matching(fake, real)
    assert loss.item() == pytest.approx(1)
    loss.backward()
    assert all(r.grad is None for r in real)
    assert all(f.grad is not None and (f.grad < 0).all() for f in fake)


def test_balanced_weight_equalises_the_gradients_at_the_last_layer() -> None:
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    reconstruction, adversarial = 3 * weight.sum(), 0.5 * weight.sum()
    assert losses.balanced_weight(reconstruction, adversarial, weight).item() == pytest.approx(6)


def test_balanced_weight_is_capped_where_the_adversary_is_silent() -> None:
    weight = torch.ones(2, requires_grad=True)
    assert losses.balanced_weight(weight.sum(), 0 * weight.sum(), weight, cap=10.0).item() == 10


@pytest.mark.parametrize(("kind", "expected"), [("l1", 0.5), ("l2", 0.25)])
def test_reconstruction_is_a_mean_per_pixel(kind: str, expected: float) -> None:
    decoded = torch.full((2, 3, 4, 4), 0.5)
    assert losses.reconstruction(decoded, torch.zeros_like(decoded), kind).item() == expected


def units(n: int, d: int, generator: torch.Generator) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator))


def test_isometry_of_a_linear_decoder_is_its_closed_form_at_any_scale(
    generator: torch.Generator,
) -> None:
    matrix = torch.randn(12, 4, generator=generator)
    squares = torch.linalg.svdvals(matrix).square()
    expected = 2 / 6 * (4 * squares.square().sum() / squares.sum() ** 2 - 1)
    z, v = torch.zeros(200_000, 4), units(200_000, 4, generator)
    for scale in (1.0, 100.0):
        loss = losses.isometry(lambda z, scale=scale: scale * z @ matrix.T, z, v)
        torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)


def test_isometry_is_zero_for_an_orthogonal_decoder_and_counts_what_varies_between_codes(
    generator: torch.Generator,
) -> None:
    orthogonal, _ = torch.linalg.qr(torch.randn(9, 3, generator=generator))
    z, v = torch.randn(500, 3, generator=generator), units(500, 3, generator)
    assert losses.isometry(lambda z: 5 * z @ orthogonal.T, z, v).item() == pytest.approx(
        0, abs=1e-5
    )

    def complex_exponential(z: torch.Tensor) -> torch.Tensor:
        """At every code a scaled isometry, of scale exp(a) at a + bi."""
        return torch.stack([z[:, 0].exp() * z[:, 1].cos(), z[:, 0].exp() * z[:, 1].sin()], dim=1)

    z, v = z[:, :2], units(500, 2, generator)
    s = (2 * z[:, 0]).exp()
    torch.testing.assert_close(
        losses.isometry(complex_exponential, z, v), s.var(correction=0) / s.mean() ** 2
    )


def test_isometry_s_gradient_is_that_of_finite_differences(generator: torch.Generator) -> None:
    w, u = (torch.randn(shape, generator=generator).double() for shape in ((3, 8), (8, 6)))
    z, v = torch.randn(5, 3, generator=generator).double(), units(5, 3, generator).double()
    w.requires_grad_()
    (slope,) = torch.autograd.grad(losses.isometry(lambda z: (z @ w).tanh() @ u, z, v), w)
    direction = torch.randn(w.shape, generator=generator).double()
    above, below = (
        losses.isometry(lambda z, h=h: (z @ (w + h * direction)).tanh() @ u, z, v).item()
        for h in (1e-6, -1e-6)
    )
    assert (above - below) / 2e-6 == pytest.approx((slope * direction).sum().item(), rel=1e-6)


def test_isometry_is_the_same_beside_a_compiled_decoder(generator: torch.Generator) -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 6))
    compiled = copy.deepcopy(plain)
    compiled.compile(backend="eager")
    z, v = torch.randn(5, 3, generator=generator), units(5, 3, generator)
    assert torch.equal(compiled(z), plain(z))  # compiled by now
    one, other = (losses.isometry(decoder, z, v) for decoder in (plain, compiled))
    assert torch.equal(one, other)
    slopes = (
        torch.autograd.grad(one, plain[0].weight),
        torch.autograd.grad(other, compiled[0].weight),
    )
    assert slopes[0][0].any()
    torch.testing.assert_close(*slopes)
