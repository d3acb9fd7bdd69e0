"""Maps of spatial codes (c, h, w), from exact fields to images through our own autoencoder."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from command_line import latent_atlas
from latent_atlas import Atlas, LatentMap
from latent_atlas.atlas.functions import networks
from latent_atlas.atlas.graphs import save_graph
from latent_atlas.codes.posterior import Codes
from latent_atlas.config import Config, MapConfig, ModelConfig
from latent_atlas.data.load import load_images
from latent_atlas.density import StandardNormal
from latent_atlas.density.base import gradient
from latent_atlas.errors import UserError
from latent_atlas.nn.init import initial_weights
from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.nn.spatial_discriminator import GaussianField, SpatialDiscriminator
from latent_atlas.runs import Run
from latent_atlas.training.loop import train
from runs import made_once, quick_calibration, quick_gallery, trained

SHAPE = (1, 4, 5)
QUICK = MapConfig(width=32, depth=1, steps=200, batch_size=256, check_every=50)
QUICKEST: dict[str, Any] = {"steps": 4, "width": 8, "depth": 1, "batch_size": 32, "check_every": 2}
SPATIAL = (
    "data.limit=300 model.latent_shape=2x4x4 model.width=4 model.discriminator_width=4 train.steps=60 "
    "train.batch_size=32 train.adversarial_start=30 train.device=cpu map.steps=30 map.width=16 map.depth=1 "
    "map.check_every=10 map.batch_size=128"
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class FoldedField:
    """A Gaussian field u, seen as z with u = z + 0.4 sin 2z at each place: it has a closed form."""

    def __init__(self) -> None:
        places = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0))
        covariance = 0.6 * (-torch.cdist(places, places).square() / 8).exp() + 0.4 * torch.eye(20)
        self.field = torch.distributions.MultivariateNormal(torch.zeros(20), covariance)

    def sample(self, n: int, *, seed: int) -> Tensor:
        u = torch.randn(n, 20, generator=generator(seed)) @ self.field.scale_tril.T
        low, high = u - 1, u + 1
        for _ in range(30):  # by bisection
            z = (low + high) / 2
            below = z + 0.4 * (2 * z).sin() < u
            low, high = torch.where(below, z, low), torch.where(below, high, z)
        return low.unflatten(1, SHAPE)

    def log_prob(self, codes: Tensor) -> Tensor:
        z = codes.flatten(1)
        stretched = (1 + 0.8 * (2 * z).cos()).log().sum(dim=1)
        return self.field.log_prob(z + 0.4 * (2 * z).sin()) + stretched


@pytest.fixture(scope="module")
def folded() -> LatentMap:
    codes = FoldedField().sample(6_000, seed=0)
    with quick_calibration():
        return LatentMap.fit(codes, generator=generator(), config=QUICK, warn=False)


def test_a_spatial_map_comes_near_the_exact_density_and_score(folded: LatentMap) -> None:
    z = FoldedField().sample(1_000, seed=1).flatten(1).requires_grad_()
    exact = FoldedField().log_prob(z)
    (score,) = torch.autograd.grad(exact.sum(), z)
    codes = z.detach()
    gaussian = torch.distributions.MultivariateNormal(codes.mean(dim=0), codes.T.cov())
    by_gaussian = gaussian.log_prob(z)
    (score_by_gaussian,) = torch.autograd.grad(by_gaussian.sum(), z)
    lost, lost_by_gaussian = (
        (exact - found).mean() for found in (folded.log_prob(codes), by_gaussian)
    )
    assert lost_by_gaussian > 4
    assert abs(lost) < 0.4 * lost_by_gaussian
    cosine = nn.functional.cosine_similarity
    assert cosine(score_by_gaussian, score).mean() < 0.7
    assert cosine(folded.score(codes), score).mean() > 0.88


def test_gradients_of_realness_have_the_shape_of_the_codes(folded: LatentMap) -> None:
    codes = FoldedField().sample(5, seed=1)
    expected = gradient(folded.realness, codes)
    assert expected.shape == codes.shape
    torch.testing.assert_close(folded.realness_gradient(codes), expected, rtol=1e-3, atol=1e-4)


def spatial_member(latent_map: LatentMap) -> SpatialDiscriminator:
    (member,) = latent_map.network.members
    assert isinstance(member, SpatialDiscriminator)
    return member


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2])
@pytest.mark.parametrize("shape", [(2, 4, 5), (1, 6, 4)])
def test_a_field_of_low_frequencies_is_any_gaussian_at_every_level(
    angle: float, shape: tuple[int, ...]
) -> None:
    d = math.prod(shape)
    factor = torch.eye(d) + 0.05 * torch.randn(d, d, generator=generator())
    codes = 1 + torch.randn(9 * d, d, generator=generator(1)) @ factor.T
    mean, covariance = Codes(codes).moments()
    noised = math.cos(angle) ** 2 * covariance + math.sin(angle) ** 2 * torch.eye(d)
    exact = torch.distributions.MultivariateNormal(math.cos(angle) * mean, noised)
    z = torch.randn(10, d, generator=generator(2))
    y, ratio = GaussianField.fit(codes, shape, len(codes))(z, torch.full((1,), angle))
    expected = exact.log_prob(z.double()) - StandardNormal(d).log_prob(z)
    torch.testing.assert_close(ratio, expected.float(), atol=1e-3, rtol=1e-4)
    squares = (z - exact.mean) @ torch.linalg.inv(noised) * (z - exact.mean)
    torch.testing.assert_close(y.square().sum(dim=1), squares.sum(dim=1).float(), rtol=1e-3, atol=0)


def test_channels_are_known_at_high_frequencies_too() -> None:
    """White noise whose channels depend on each other: few codes tell its covariance at any size."""
    mix = torch.tensor([[1.0, 0.0], [0.9, 0.3]])
    noise = torch.randn(400, 2, 12, 12, generator=generator())
    codes = torch.einsum("ce,nehw->nchw", mix, noise).flatten(1)
    field = GaussianField.fit(codes[:300], (2, 12, 12), 300)
    assert field.low == 4  # 32 coefficients, for 300 codes
    places = (mix @ mix.T)[None].repeat(144, 1, 1)
    exact = torch.distributions.MultivariateNormal(torch.zeros(144, 2), places)
    held_out = codes[300:]
    expected = exact.log_prob(held_out.unflatten(1, (2, 144)).mT).sum(dim=1)
    found = field(held_out, torch.zeros(1))[1] + StandardNormal(288).log_prob(held_out)
    assert (expected - found).mean() < 5  # of 144 nats between the channels' dependence and none
    assert (expected - StandardNormal(288).log_prob(held_out)).mean() > 100


def test_a_spatial_map_is_saved_whole(folded: LatentMap, tmp_path: Path) -> None:
    assert spatial_member(folded).field.low == 5
    folded.save(tmp_path / "map.safetensors")
    again = LatentMap.load(tmp_path / "map.safetensors")
    z = FoldedField().sample(20, seed=3)
    assert again.shape == SHAPE
    for angle in (0.0, 0.4):
        torch.testing.assert_close(again.at(angle).score(z), folded.at(angle).score(z))
        torch.testing.assert_close(again.at(angle).log_prob(z), folded.at(angle).log_prob(z))


def test_a_spatial_map_is_exported_with_its_gradients(folded: LatentMap, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    codes = Codes(FoldedField().sample(20, seed=5).flatten(1))
    atlas = Atlas(None, folded, {"train": codes, "held_out": codes}, Config())
    slopes, graph = networks(atlas)["slopes"], tmp_path / "slopes.onnx"
    names = {"inputs": slopes.inputs, "outputs": slopes.outputs}
    save_graph(slopes.function, slopes.examples, graph, **names)
    given = {"latents": codes.means.numpy(), "angle": torch.zeros(1).numpy()}
    found = dict(zip(slopes.outputs, runtime.InferenceSession(graph).run(None, given), strict=True))
    log_prob, score = folded.log_prob_and_score(codes.means)
    torch.testing.assert_close(torch.tensor(found["log_prob"]), log_prob, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(torch.tensor(found["score"]), score, atol=1e-3, rtol=1e-3)


def test_a_map_s_answer_does_not_depend_on_its_neighbours(folded: LatentMap) -> None:
    z = FoldedField().sample(6, seed=4)
    torch.testing.assert_close(folded.log_prob(z)[:1], folded.log_prob(z[:1]), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "settings", "kind"),
    [
        ((2, 4, 4), {}, SpatialDiscriminator),
        ((2, 4, 4), {"boundary": "gaussian-diagonal"}, SpatialDiscriminator),
        ((2, 4, 4), {"levels": 1}, LatentDiscriminator),
        ((2, 4, 4), {"boundary": "radius"}, LatentDiscriminator),
        ((2, 4, 4), {"boundary": "gaussian"}, LatentDiscriminator),
        ((4, 2, 4), {}, LatentDiscriminator),  # hardly a map
        ((8, 4), {}, LatentDiscriminator),  # tokens
    ],
)
def test_the_network_is_chosen_by_the_shape(
    shape: tuple[int, ...], settings: dict[str, str | int], kind: type[nn.Module]
) -> None:
    codes = torch.randn(300, *shape, generator=generator())
    config = MapConfig(**settings, **QUICKEST)  # pyright: ignore[reportArgumentType]
    with quick_calibration():
        found = LatentMap.fit(codes, config=config, generator=generator(), warn=False)
    assert type(found.network.members[0]) is kind
    assert found.shape == shape
    assert found.logit(codes).shape == (300,)


def test_maps_out_of_the_prior_s_reach_stay_maps() -> None:
    """As unscaled codes of latent diffusion, of standard deviations of about 5, and few of them."""
    codes = 10 + 5 * torch.randn(120, 2, 4, 4, generator=generator())
    with quick_calibration():
        found = LatentMap.fit(
            codes,
            config=MapConfig(**QUICKEST),
            generator=generator(),
            warn=False,
        )
    assert found.boundary.name == "gaussian-diagonal"
    assert any("gaussian-diagonal" in warning for warning in found.warnings)
    assert spatial_member(found).field.low == 2  # eight coefficients
    assert found.score(codes).isfinite().all()


@pytest.mark.parametrize("shape", ["4x7x8", "4x5x5", "0x4x4", "4x4", "4x04x04", "a", ""])
def test_a_shape_that_the_encoder_cannot_have_is_refused(shape: str) -> None:
    with pytest.raises(UserError, match=rf"latent_shape is '{shape}'; .* such as 4x28x28, 4x14x14"):
        ModelConfig(28, latent_shape=shape)


def test_the_dimension_is_that_of_the_shape() -> None:
    model = ModelConfig(28, latent_dim=5, latent_shape="3x7x7")
    assert (model.latent_dim, model.code_shape) == (147, (3, 7, 7))
    assert ModelConfig(28, latent_dim=5).code_shape == (5,)
    with pytest.raises(UserError, match="such as 4x16x16, 4x8x8, 4x4x4"):  # that both E and G have
        ModelConfig(64, latent_shape="3x32x32", patch_size=2, encoder_patch_size=4)
    with pytest.raises(UserError, match="encoder_patch_size is 6, with which E and G have no maps"):
        ModelConfig(64, latent_shape="3x8x8", patch_size=2, encoder_patch_size=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        with quick_calibration():
            trained(folder, SPATIAL)

    return made_once("spatial", tmp_path_factory, make)


def test_our_own_autoencoder_has_spatial_codes_from_end_to_end(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas = Atlas.load(run)
    spatial_member(atlas.map)
    assert atlas.map.shape == (2, 4, 4)
    z = atlas.codes["held_out"].means[:3]
    by_maps = atlas.decode(z.unflatten(1, (2, 4, 4)))
    torch.testing.assert_close(atlas.decode(z), by_maps)
    path, drawn = tmp_path / "trip.png", tmp_path / "new.npy"
    with quick_gallery():
        words = ("travel", str(run), "test:0", "test:1", "--frames", "5", "--out", str(path))
        assert latent_atlas(*words, "--json") == 0
    assert "typical" in json.loads(capsys.readouterr().out)["travel"]
    assert latent_atlas("sample", str(run), "--count", "4", "--out", str(drawn)) == 0
    assert latent_atlas("anomalies", str(run), "digits") == 0


def test_a_trained_run_goes_on_where_it_stopped(run: Path) -> None:
    """Its networks stay; its map is fitted again, as a spatial one."""
    folder = Run(run)
    before, config = (run / "model.safetensors").read_bytes(), folder.config()
    (run / "map.safetensors").unlink()
    images = load_images(config.data, 8, 1)
    with quick_calibration():
        again = train(images, config, folder, log=lambda entry: None, resume=True)
    assert (run / "model.safetensors").read_bytes() == before
    spatial_member(again)


@pytest.mark.parametrize("mode", ["online", "adversarial"])
def test_joint_modes_have_a_map_of_the_codes_shape(mode: str, tmp_path: Path) -> None:
    with quick_calibration():
        trained(
            tmp_path / "run", f"{SPATIAL} train.mode={mode} train.steps=4 train.adversarial_start=2"
        )
    assert LatentMap.load(tmp_path / "run" / "map.safetensors").shape == (2, 4, 4)


def diffusers_autoencoder(kind: str) -> nn.Module:
    """An autoencoder of latent diffusion at its smallest, with random weights: (4, 4, 4) of 8 pixels."""
    import diffusers

    tiny: dict[str, Any] = {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
    }
    kl: dict[str, Any] = {
        "block_out_channels": (8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "norm_num_groups": 4,
        "sample_size": 8,
    }
    with initial_weights(0):
        sizes = {"AutoencoderTiny": tiny, "AutoencoderKL": kl}[kind]
        return getattr(diffusers, kind)(latent_channels=4, **sizes)


@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny"])
def test_autoencoders_of_diffusers_have_spatial_maps(kind: str) -> None:
    images = torch.rand(120, 3, 8, 8, generator=generator())
    with quick_calibration(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        atlas = Atlas.wrap(
            diffusers_autoencoder(kind),
            images=images,
            pixel_range=(-1.0, 1.0),
            generator=generator(),
            **QUICKEST,
        )
    spatial_member(atlas.map)
    assert atlas.map.shape == (4, 4, 4)
    path = atlas.travel(images[0], images[1], planner="geodesic", frames=3)
    assert path.strip().shape == (3, 3, 8, 8)
    assert atlas.sample(2, generator=generator()).shape == (2, 3, 8, 8)


def test_tokens_are_codes_too() -> None:
    """Four tokens of eight numbers an image, (n, k, d), are a map of 32 coordinates."""

    def encode(images: Tensor) -> Tensor:
        return images.unfold(2, 4, 4).unfold(3, 4, 4).flatten(1, 3).flatten(2)[:, :, ::2]

    def decode(tokens: Tensor) -> Tensor:
        halves = tokens.repeat_interleave(2, dim=2).unflatten(2, (4, 4)).unflatten(1, (2, 2))
        return halves.permute(0, 1, 3, 2, 4).reshape(-1, 1, 8, 8)

    images = torch.rand(150, 1, 8, 8, generator=generator())
    with quick_calibration(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        atlas = Atlas.wrap(
            encode=encode,
            decode=decode,
            images=images,
            generator=generator(),
            **QUICKEST,
        )
    assert atlas.map.shape == (4, 8)
    assert isinstance(atlas.map.network.members[0], LatentDiscriminator)
    tokens = encode(images[:2])
    torch.testing.assert_close(atlas.encode(images[:2]), tokens.flatten(1))
    assert atlas.map.score(tokens).shape == (2, 4, 8)
    assert atlas.travel(*tokens, planner="linear", frames=3).strip().shape == (3, 1, 8, 8)
