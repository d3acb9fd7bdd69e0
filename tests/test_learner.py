"""Gradient routing: each update moves its own network along the gradient of its own loss, and nothing else."""

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from latent_atlas.codes.posterior import kl_standard_normal, reparameterise
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.presets import PRESETS
from latent_atlas.config.run import Config, ModelConfig, TrainConfig
from latent_atlas.device import Engine, bf16_speedup
from latent_atlas.training import losses
from latent_atlas.training.step import Batch, TrainStep, learning_rate_factor

TINY = Config(
    model=ModelConfig(image_size=8, channels=1, latent_dim=3, width=4, discriminator_width=4),
    train=TrainConfig(
        batch_size=6, steps=20, adversarial_start=0, kl_warmup=0, penalty_every=1, device="cpu"
    ),
    map=MapConfig(width=8, depth=1),
)


def learner(**changes: object) -> TrainStep:
    made = TrainStep(
        replace(TINY, train=replace(TINY.train, **changes)), Engine("cpu", "32", compile=False)
    )
    with (
        torch.no_grad()
    ):  # blocks start as the identity; move off it, so that every weight has a gradient
        generator = torch.Generator().manual_seed(5)
        for weight in made.model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return made


def batch(step: int = 1) -> Batch:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return Batch(images, step, torch.Generator().manual_seed(2))


def weights(network: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for weight in network.parameters()]


def loss_of(made: TrainStep, name: str, given: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss of the step and its terms, from a forward pass of its own."""
    return getattr(made, f"{name}_loss")(given, made.forward(given))


def moved(before: list[Tensor], network: nn.Module) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


NETWORKS = ("encoder", "decoder", "image_discriminator", "latent_discriminator")
UPDATES = {
    "image_discriminator": {"image_discriminator"},
    "latent_discriminator": {"latent_discriminator"},
    "autoencoder": {"encoder", "decoder"},
}


@pytest.mark.parametrize("mode", ["online", "adversarial"])
@pytest.mark.parametrize("update", UPDATES)
def test_each_update_moves_its_own_networks_and_no_other(update: str, mode: str) -> None:
    made = learner(mode=mode, feature_matching=0.1, balance=True, isometry=0.1)
    before = {name: weights(getattr(made.model, name)) for name in NETWORKS}
    made.differentiate(update, loss_of(made, update, batch())[0])
    made.update(update, 1e-3)
    for name in NETWORKS:
        assert moved(before[name], getattr(made.model, name)) == (name in UPDATES[update]), name


@pytest.mark.parametrize("update", UPDATES)
def test_each_loss_leaves_no_gradient_in_the_networks_it_does_not_move(update: str) -> None:
    made = learner(mode="adversarial", feature_matching=0.1, isometry=0.1)
    made.differentiate(update, loss_of(made, update, batch())[0])
    for name in NETWORKS:
        has_gradient = any(
            w.grad is not None and w.grad.any() for w in getattr(made.model, name).parameters()
        )
        assert has_gradient == (name in UPDATES[update]), name


def test_a_step_is_the_updates_of_each_loss_alone_at_the_same_weights() -> None:
    changes = {"mode": "adversarial", "feature_matching": 0.1, "balance": True, "prior_share": 0.5}
    whole = learner(**changes)
    whole.step(batch())
    for name, networks in UPDATES.items():
        alone = learner(**changes)
        alone.differentiate(name, loss_of(alone, name, batch())[0])
        alone.update(name, alone.rates[name])
        for network in networks:
            for a, b in zip(
                weights(getattr(whole.model, network)),
                weights(getattr(alone.model, network)),
                strict=True,
            ):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("invented", [0, 2, 6])
def test_the_image_discriminator_s_gradient_is_that_of_its_own_loss(invented: int) -> None:
    made = learner(r1=0.5, r2=0.25, prior_share=invented / 6)
    network, given = made.model.image_discriminator, batch()
    loss, _ = loss_of(made, "image_discriminator", given)
    actual = torch.autograd.grad(loss, list(network.parameters()))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        z = reparameterise(*made.model.encoder(given.images), generator=generator)
        prior = torch.randn(invented, 3, generator=generator)
        fake = made.model.decoder(torch.cat([prior, z[invented:]]))
    expected_loss = (
        losses.image_discriminator(network(given.images), network(fake), "relativistic")
        + 0.5 * losses.gradient_penalty(network, given.images)
        + 0.25 * losses.gradient_penalty(network, fake)
    )
    expected = torch.autograd.grad(expected_loss, list(network.parameters()))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("invented", [0, 2, 6])
def test_the_autoencoder_s_gradient_is_the_weighted_sum_of_its_terms(invented: int) -> None:
    made = learner(kl_weight=0.01, adversarial_weight=0.3, prior_share=invented / 6)
    m, given = made.model, batch(step=5)
    loss, _ = loss_of(made, "autoencoder", given)
    parameters = [*m.encoder.parameters(), *m.decoder.parameters()]
    actual = torch.autograd.grad(loss, parameters)
    generator = torch.Generator().manual_seed(2)
    means, log_variances = m.encoder(given.images)
    z = reparameterise(means, log_variances, generator=generator)
    decoded = m.decoder(z)
    fake = torch.cat([m.decoder(torch.randn(invented, 3, generator=generator)), decoded[invented:]])
    expected_loss = (
        (decoded - given.images).square().mean()
        + 0.01 * kl_standard_normal(means, log_variances).mean()
        + 0.3
        * torch.nn.functional.softplus(
            m.image_discriminator(given.images) - m.image_discriminator(fake)
        ).mean()
    )
    expected = torch.autograd.grad(expected_loss, parameters)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["relativistic", "hinge", "non-saturating"])
def test_descent_of_the_decoder_raises_what_the_image_discriminator_says_of_its_images(
    kind: str,
) -> None:
    made = learner(adversarial=kind, kl_weight=0.0)
    forward = made.forward(batch())
    z = forward.z.detach()
    loss, _ = made.image_generator_loss(batch(), forward, torch.zeros(()))
    before = made.model.image_discriminator(made.model.decoder(z[:3])).mean()
    gradients = torch.autograd.grad(loss, list(made.model.decoder.parameters()))
    with torch.no_grad():
        for weight, slope in zip(made.model.decoder.parameters(), gradients, strict=True):
            weight.sub_(0.05 * slope / (slope.norm() + 1e-12))
    assert made.model.image_discriminator(made.model.decoder(z[:3])).mean() > before


def test_the_adversarial_arm_s_encoder_makes_its_codes_look_fake() -> None:
    made = learner(mode="adversarial", fool_weight=1.0)
    _, terms = loss_of(made, "autoencoder", batch())
    before = terms["latent_fooling"]
    gradients = torch.autograd.grad(before, list(made.model.encoder.parameters()))
    with torch.no_grad():
        for weight, slope in zip(made.model.encoder.parameters(), gradients, strict=True):
            weight.sub_(1e-3 * slope / (slope.norm() + 1e-12))
    assert loss_of(made, "autoencoder", batch())[1]["latent_fooling"] < before


def test_the_image_discriminator_learns_before_its_loss_reaches_the_decoder() -> None:
    made = learner(discriminator_start=2, adversarial_start=4)
    terms = {step: set(made.step(batch(step))) for step in (2, 3, 4, 5)}
    assert "image_discriminator" not in terms[2]
    assert "image_discriminator" in terms[3]
    assert "image_generator" not in terms[4]
    assert "image_generator" in terms[5]


def test_lazy_penalties_weigh_as_much_over_time() -> None:
    every, lazily = learner(penalty_every=1), learner(penalty_every=4)
    plain = learner(r1=0.0, r2=0.0)
    base = loss_of(plain, "image_discriminator", batch(4))[0]
    now = loss_of(every, "image_discriminator", batch(4))[0] - base
    torch.testing.assert_close(
        loss_of(lazily, "image_discriminator", batch(4))[0] - base, 4 * now, rtol=1e-3, atol=1e-6
    )
    torch.testing.assert_close(loss_of(lazily, "image_discriminator", batch(3))[0], base)


def test_isometry_moves_the_decoder_alone_by_the_weighted_gradient_of_its_loss() -> None:
    made, plain = learner(isometry=0.5, adversarial="none"), learner(adversarial="none")
    encoder, decoder = (
        [*getattr(made.model, name).parameters()] for name in ("encoder", "decoder")
    )
    given = batch()
    loss, terms = loss_of(made, "autoencoder", given)
    gradients = torch.autograd.grad(loss, [*encoder, *decoder])
    base, _ = loss_of(plain, "autoencoder", batch())
    without = torch.autograd.grad(
        base, [*plain.model.encoder.parameters(), *plain.model.decoder.parameters()]
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        z = reparameterise(*made.model.encoder(given.images), generator=generator)
    alone = made.isometry_loss(z, Batch(given.images, 1, generator))
    torch.testing.assert_close(terms["isometry"], alone)
    of_decoder = torch.autograd.grad(0.5 * alone, decoder, allow_unused=True)
    expected = [torch.zeros_like(w) for w in encoder] + [
        0.0 if slope is None else slope for slope in of_decoder
    ]
    for a, b, c in zip(gradients, without, expected, strict=True):
        torch.testing.assert_close(a, b + c)
    assert any(slope is not None and slope.any() for slope in of_decoder)


def test_isometry_is_lazy_and_its_randomness_is_the_step_s() -> None:
    every, lazily = learner(isometry=0.5), learner(isometry=0.5, penalty_every=4)
    base = loss_of(learner(), "autoencoder", batch(4))[0]
    now = loss_of(every, "autoencoder", batch(4))[0] - base
    assert now > 0
    assert torch.equal(loss_of(every, "autoencoder", batch(4))[0], base + now)
    torch.testing.assert_close(
        loss_of(lazily, "autoencoder", batch(4))[0] - base, 4 * now, rtol=1e-3, atol=1e-6
    )
    assert torch.equal(loss_of(lazily, "autoencoder", batch(3))[0], base)


def test_isometry_grows_like_the_kl() -> None:
    def added(step: int) -> Tensor:
        plain, evened = (
            loss_of(learner(isometry=w, kl_warmup=10), "autoencoder", batch(step))[0]
            for w in (0.0, 0.5)
        )
        return evened - plain

    torch.testing.assert_close(added(2), 0.2 * added(10), rtol=1e-3, atol=1e-6)


def test_spectral_norm_keeps_every_singular_value_at_most_about_one() -> None:
    config = replace(TINY, model=replace(TINY.model, spectral_norm=True))
    made = TrainStep(config, Engine("cpu", "32", compile=False))
    for step in range(1, 12):  # the power iteration settles within a few forward passes
        made.step(batch(step))
    layers = [
        m for m in made.model.image_discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    assert layers
    for layer in layers:
        assert 0.9 < torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() < 1.1


def test_the_optimiser_follows_adam_s_formula_whatever_the_layout_of_its_weights() -> None:
    made = learner()
    for name, weights in made.weights.items():
        copies = [w.detach().clone(memory_format=torch.contiguous_format) for w in weights]
        plain = torch.optim.Adam(copies, lr=1e-3, betas=made.optimizers[name].defaults["betas"])
        for seed in range(3):
            for weight, copied in zip(weights, copies, strict=True):
                slope = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
                (weight * slope).sum().backward(inputs=[weight])
                copied.grad = slope
            made.update(name, 1e-3)
            plain.step()
        for weight, copied in zip(weights, copies, strict=True):
            torch.testing.assert_close(weight, copied)


def test_averages_follow_the_weights() -> None:
    made = learner(ema=0.9)
    for step in range(1, 4):
        made.step(batch(step))
    kept, now = made.average["encoder"].head.weight, made.model.encoder.head.weight
    assert not torch.equal(kept, now)
    finished = made.finished()
    assert torch.equal(finished.encoder.head.weight, kept)


def test_bfloat16_trains_with_float32_weights_and_losses() -> None:
    made = TrainStep(TINY, Engine("cpu", "bf16", compile=False))
    found = made.forward(batch(1))
    single = (found.means, found.log_variances, found.decoded, found.real_logits)
    assert all(value is not None and value.dtype == torch.float32 for value in single)
    record = made.step(batch(1))
    assert {"r1", "r2"} <= record.keys()
    assert all(value.isfinite() and value.dtype == torch.float32 for value in record.values())
    assert made.model.encoder.head.weight.dtype == torch.float32


def test_penalties_in_bfloat16_are_those_in_float32_to_its_digits() -> None:
    made = learner(precision="bf16", r1=0.5, r2=0.5)
    network = made.model.image_discriminator
    exact = losses.gradient_penalty(network, batch().images)
    made.engine = Engine("cpu", "bf16", compile=False)
    found = loss_of(made, "image_discriminator", batch())[1]["r1"]
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0)


@pytest.mark.parametrize(("speedup", "chosen"), [(0.1, "32"), (1.2, "32"), (6.0, "bf16")])
def test_auto_is_bfloat16_where_it_is_much_faster(
    speedup: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latent_atlas.device.bf16_speedup", lambda device: speedup)
    assert Engine("cpu", "auto", compile=False).precision == chosen
    assert Engine("cpu", "32", compile=False).precision == "32"


def test_the_speed_of_bfloat16_is_measured_without_a_trace() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    assert bf16_speedup(torch.device("cpu")) > 0
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_learning_rate_is_held_and_then_falls_to_zero() -> None:
    config = TrainConfig(steps=100, decay=0.4, adversarial_start=10)
    assert learning_rate_factor(1, config) == learning_rate_factor(60, config) == 1
    assert learning_rate_factor(80, config) == pytest.approx(0.5)
    assert learning_rate_factor(100, config) == pytest.approx(0)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_of_a_preset_moves_all_that_learns_from_images(preset: str) -> None:
    """One image, past the warm-up, on a step without penalties, whose second derivatives cost the most."""
    config = PRESETS[preset]
    made = TrainStep(config, Engine("cpu", "32", compile=False))
    shape, generator = (
        (config.model.channels, *[config.model.image_size] * 2),
        torch.Generator().manual_seed(0),
    )
    before = {name: weights(getattr(made.model, name)) for name in NETWORKS}
    step = config.train.adversarial_start + 1
    assert step % config.train.penalty_every
    losses = made.step(Batch(torch.rand(1, *shape, generator=generator), step, generator))
    assert {"reconstruction", "kl", "image_generator", "image_discriminator"} <= losses.keys()
    assert all(loss.isfinite() for loss in losses.values())
    for name in NETWORKS:
        assert moved(before[name], getattr(made.model, name)) == (name != "latent_discriminator"), (
            name
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU; install g++"
)
def test_a_compiled_network_gives_the_same_values_and_gradients_and_keeps_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "torch._inductor.config.compile_threads", 1
    )  # no processes that each import torch
    plain = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
    compiled = Engine("cpu", "32", compile=True).prepare(copy.deepcopy(plain))
    assert compiled._compiled_call_impl is not None
    assert [*compiled.state_dict()] == [*plain.state_dict()]
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    found = []
    for network in (plain, compiled):
        loss = network(z).square().sum()
        for _ in range(2):  # as when weights are balanced: a graph is walked twice
            gradients = torch.autograd.grad(loss, [*network.parameters()], retain_graph=True)
        found.append([loss, *gradients])
    torch.testing.assert_close(found[1], found[0])
