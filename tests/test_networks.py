"""Shapes for every size, no batch statistics, and what a model promises."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from latent_atlas.codes.posterior import reparameterise
from latent_atlas.config import Config, MapConfig, ModelConfig, TrainConfig
from latent_atlas.config.model import resolutions
from latent_atlas.nn.autoencoder import Decoder, Encoder
from latent_atlas.nn.blocks import ChannelNorm
from latent_atlas.nn.footprint import footprint
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.nn.vaegan import VAEGAN


@pytest.mark.parametrize("image_size", [8, 13, 28, 64, 256])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("stage", [None, 0, 1, -1])
def test_networks_fit_every_image_size(image_size: int, channels: int, stage: int | None) -> None:
    sides = resolutions(image_size)
    shape = (5,) if stage is None else (2, sides[stage], sides[stage])
    images = torch.rand(2, channels, image_size, image_size)
    means, log_variances = Encoder(image_size, channels, shape, width=2, depth=1)(images)
    assert means.shape == log_variances.shape == (2, math.prod(shape))
    decoded = Decoder(image_size, channels, shape, width=2, depth=1)(means)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert ImageDiscriminator(image_size, channels, width=2, depth=1)(images).shape == (2,)


@pytest.mark.parametrize(("image_size", "patch_size"), [(8, 2), (27, 2), (64, 4), (15, 3)])
@pytest.mark.parametrize("shape", [(5,), (2, 4, 4)])
def test_patches_are_places(image_size: int, patch_size: int, shape: tuple[int, ...]) -> None:
    size = {"width": 4, "depth": 1, "patch_size": patch_size}
    side = resolutions(image_size, patch_size)[0]
    shape = shape[:1] + (side,) * len(shape[1:])
    encoder, decoder = Encoder(image_size, 3, shape, **size), Decoder(image_size, 3, shape, **size)
    seen: list[tuple[int, ...]] = []
    for stem in (encoder.body[0], decoder.last):
        stem.register_forward_hook(lambda _, __, maps: seen.append(tuple(maps.shape[-2:])))
    images = torch.rand(2, 3, image_size, image_size)
    decoded = decoder(encoder(images)[0])
    assert decoded.shape == images.shape
    assert seen == [(side, side)] * 2
    assert ImageDiscriminator(image_size, 3, **size)(images).shape == (2,)
    # The pixels of a patch begin equal: no checkerboard has to be unlearned.
    whole = decoded[
        ..., : image_size // patch_size * patch_size, : image_size // patch_size * patch_size
    ]
    patches = torch.nn.functional.pixel_unshuffle(whole, patch_size).unflatten(1, (3, -1))
    torch.testing.assert_close(patches, patches[:, :, :1].expand_as(patches))


def test_e_takes_larger_patches_alone() -> None:
    sizes = ModelConfig(64, 1, 5, width=4, discriminator_width=4, patch_size=2)
    same, larger = (
        VAEGAN(config, MapConfig(width=8))
        for config in (sizes, replace(sizes, encoder_patch_size=4))
    )
    images = torch.rand(2, 1, 64, 64)
    assert larger.reconstruct(images).shape == images.shape
    counts = [
        [sum(weight.numel() for weight in part.parameters()) for part in model.children()]
        for model in (same, larger)
    ]
    assert counts[0][0] > counts[1][0]
    assert counts[0][1:] == counts[1][1:]


def test_resolutions_end_at_four_pixels_or_three() -> None:
    assert all(resolutions(size)[-1] in (3, 4) for size in range(8, 257))


@pytest.mark.parametrize(
    "network", ["encoder", "decoder", "image_discriminator", "latent_discriminator"]
)
def test_an_image_s_answer_does_not_depend_on_its_neighbours(
    network: str, generator: torch.Generator
) -> None:
    model = VAEGAN(ModelConfig(8, 1, 3, width=4, discriminator_width=4), MapConfig(width=8))
    codes = network in ("decoder", "latent_discriminator")
    shape = (4, 3) if codes else (4, 1, 8, 8)
    batch = torch.rand(shape, generator=generator)
    judge = getattr(model, network)
    together, alone = judge(batch), judge(batch[:1])
    if isinstance(together, tuple):
        together, alone = together[0], alone[0]
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_discriminators_have_no_batch_statistics() -> None:
    model = VAEGAN(ModelConfig(16, 3, 4, width=4), MapConfig(width=8))
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def test_channel_norm_leaves_each_pixel_s_channels_standardised(generator: torch.Generator) -> None:
    features = 3 + 7 * torch.randn(2, 16, 3, 3, generator=generator)
    channels = ChannelNorm(16)(features)
    torch.testing.assert_close(channels.mean(dim=1), torch.zeros(2, 3, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        channels.var(dim=1, correction=0), torch.ones(2, 3, 3), atol=1e-3, rtol=0
    )


def test_the_latent_discriminator_listens_to_the_noise_level(generator: torch.Generator) -> None:
    judge = LatentDiscriminator(3, width=16, depth=2)
    with torch.no_grad():
        for weight in judge.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    z = torch.randn(5, 3, generator=generator)
    torch.testing.assert_close(judge(z), judge(z, torch.zeros(5)))
    assert (judge(z) - judge(z, torch.full((5,), 1.0))).abs().max() > 1e-3


def test_reparameterised_codes_have_the_encoder_s_mean_and_spread(
    generator: torch.Generator,
) -> None:
    means, log_variances = torch.full((20_000, 1), 2.0), torch.full((20_000, 1), -1.0)
    z = reparameterise(means, log_variances, generator=generator)
    assert z.mean().item() == pytest.approx(2, abs=0.02)
    assert z.var().item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.03)


def test_initial_weights_depend_on_the_seed_alone_and_leave_torch_s_generator_alone() -> None:
    config = (ModelConfig(8, 1, 3, width=4), MapConfig(width=8))
    before = torch.random.get_rng_state()
    first, again, other = VAEGAN(*config, seed=1), VAEGAN(*config, seed=1), VAEGAN(*config, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.encoder.head.weight, again.encoder.head.weight)
    assert not torch.equal(first.encoder.head.weight, other.encoder.head.weight)


def test_footprint_counts_parameters_and_grows_with_the_batch() -> None:
    config = Config(model=ModelConfig(8, 1, 3, width=4), map=MapConfig(width=8))
    model = VAEGAN(config.model, config.map)
    counted = footprint(config)
    assert sum(counted.parameters.values()) == sum(w.numel() for w in model.parameters())
    larger = footprint(
        Config(model=config.model, train=TrainConfig(batch_size=512), map=config.map)
    )
    assert larger.training_bytes > counted.training_bytes
