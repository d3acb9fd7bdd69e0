"""Anyone's autoencoder behind two verbs: stand-ins of every interface, and the real one of diffusers."""

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from latent_atlas import Atlas
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder, adapt
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config, ModelConfig
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.nn.vaegan import VAEGAN

if TYPE_CHECKING:
    from diffusers import AutoencoderKL  # takes seconds to import

CPU = torch.device("cpu")
IMAGES = torch.rand(230, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TINY: dict[str, Any] = {"steps": 20, "width": 8, "depth": 1, "batch_size": 64, "check_every": 10}


def halves(images: Tensor) -> Tensor:
    """The image as a spatial code of two channels, (n, 2, 4, 8): nothing is lost."""
    return images.unflatten(2, (2, 4)).squeeze(1)


def whole(latents: Tensor) -> Tensor:
    """The inverse of `halves`."""
    return latents.flatten(1, 2)[:, None]


def returned_by_encode(kind: str, images: Tensor) -> Any:
    means = halves(images)
    spread = means - 3
    posterior = SimpleNamespace(mean=means, logvar=spread)
    return {
        "means": means,
        "means in a tuple": (means,),
        "a pair": (means, spread),
        "a list of two": [means, spread],
        "a posterior": posterior,
        "latent_dist": SimpleNamespace(latent_dist=posterior),
        "latent_dist in a tuple": (posterior,),
        "latents": SimpleNamespace(latents=means),
        "latent": SimpleNamespace(latent=means),
    }[kind]


WITHOUT_SPREAD = ("means", "means in a tuple", "latents", "latent")
WITH_SPREAD = ("a pair", "a list of two", "a posterior", "latent_dist", "latent_dist in a tuple")


@pytest.mark.parametrize("kind", WITHOUT_SPREAD + WITH_SPREAD)
def test_whatever_encode_returns_is_means_and_log_variances(kind: str) -> None:
    adapted = adapt(
        None, IMAGES, encode=lambda x: returned_by_encode(kind, x), decode=whole, device=CPU
    )
    assert (adapted.image_shape, adapted.latent_shape) == ((1, 8, 8), (2, 4, 8))
    means, spread = adapted.posterior(IMAGES[:5])
    torch.testing.assert_close(means, halves(IMAGES[:5]))
    assert (spread is None) == (kind in WITHOUT_SPREAD)
    if spread is not None:
        torch.testing.assert_close(spread, halves(IMAGES[:5]) - 3)
    torch.testing.assert_close(adapted.encode(IMAGES[0]), means[:1].flatten(1))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), lambda x: SimpleNamespace(sample=x)])
@pytest.mark.parametrize("batch", [1, 3, 512])
def test_spatial_codes_are_rows_and_images_come_back(wrap: Any, batch: int) -> None:
    adapted = adapt(
        None, IMAGES, encode=halves, decode=lambda z: wrap(whole(z)), batch=batch, device=CPU
    )
    codes = adapted.encode(IMAGES[:7])
    assert codes.shape == (7, 64)
    torch.testing.assert_close(adapted.decode(codes), IMAGES[:7])


@pytest.mark.parametrize("pixel_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_black_and_white_are_what_the_autoencoder_takes(pixel_range: tuple[float, float]) -> None:
    adapted = adapt(None, IMAGES, encode=halves, decode=whole, pixel_range=pixel_range, device=CPU)
    for level, expected in zip((0.0, 1.0), pixel_range, strict=True):
        assert adapted.encode(torch.full((1, 8, 8), level)).unique().tolist() == [expected]
    torch.testing.assert_close(adapted.decode(adapted.encode(IMAGES)), IMAGES)
    beyond = torch.tensor([pixel_range[0] - 1, pixel_range[1] + 1])[:, None].expand(2, 64)
    assert adapted.decode(beyond).flatten(1).unique(dim=1).tolist() == [[0.0], [1.0]]


def test_bytes_are_images_too() -> None:
    pixels = torch.randint(
        0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    adapted = adapt(None, pixels, encode=halves, decode=whole, device=CPU)
    torch.testing.assert_close(adapted.encode(pixels), adapted.encode(pixels.float() / 255))


class Dropping(nn.Module):
    """A linear autoencoder in double precision that drops half of everything while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(64, 64, bias=False, dtype=torch.float64)
        self.drop = nn.Dropout(0.5)
        nn.init.eye_(self.line.weight)

    def encode(self, images: Tensor) -> Tensor:
        return self.drop(self.line(images.flatten(1)))

    def decode(self, latents: Tensor) -> Tensor:
        return self.drop(self.line(latents)).unflatten(1, (1, 8, 8))


def test_a_decoder_is_differentiated_through_where_that_is_asked_for() -> None:
    weight = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, -1.0, 0.0, 3.0]])
    model = Autoencoder(
        lambda x: x,
        lambda z: 0.5 + (z @ weight)[:, None, None],
        (1, 1, 4),
        (2,),
        batch=2,
        device=CPU,
    )
    z = torch.full((3, 2), 0.05, requires_grad=True)
    assert not model.decode(z).requires_grad
    (slope,) = torch.autograd.grad(model.differentiable(z).sum(), z)
    torch.testing.assert_close(slope, weight.sum(dim=1).expand(3, -1))
    torch.testing.assert_close(model.differentiable(z), model.decode(z))
    beyond = torch.full((1, 2), 9.0, requires_grad=True)
    (slope,) = torch.autograd.grad(model.differentiable(beyond).sum(), beyond)
    assert slope.abs().sum() == 0  # every pixel is black or white there


@pytest.mark.parametrize("apart", [False, True])
def test_modules_work_in_evaluation_mode_and_their_own_precision(apart: bool) -> None:
    model = Dropping()
    functions = {"encode": model.encode, "decode": model.decode} if apart else {}
    adapted = adapt(None if apart else model, IMAGES, **functions, device=CPU)
    assert not model.training
    codes = adapted.encode(IMAGES)
    assert codes.dtype == torch.float32
    assert not codes.requires_grad
    torch.testing.assert_close(adapted.decode(codes), IMAGES)
    assert model.line.weight.requires_grad


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"encode": None, "decode": None},
            "there is no encode and decode; give an object with encode and decode",
        ),
        ({"decode": None}, "there is no decode; give"),
        (
            {"autoencoder": nn.Linear(2, 2), "encode": None, "decode": None},
            "there is no encode and decode",
        ),
        ({"autoencoder": Dropping()}, "an autoencoder was given and functions beside it"),
        (
            {"pixel_range": (1.0, 1.0)},
            r"pixel_range is \(1.0, 1.0\); give what black and white are",
        ),
        ({"batch": 0}, "batch is 0; choose 1 or more"),
        (
            {"images": IMAGES[0]},
            r"images must have shape \(n, c, h, w\), n of 1 or more; these have \(1, 8, 8\)",
        ),
        ({"images": IMAGES[:0]}, "n of 1 or more"),
        (
            {"images": 4 * (IMAGES > 0.5) - 1.0},
            r"images must be in \[0, 1\], or bytes; these go from -1 to 3",
        ),
        ({"images": (255 * IMAGES).long()}, r"these go from 0 to 254: bring them to"),
        ({"encode": lambda x: (x, x, x)}, "encode returned 3 values; it must return means"),
        ({"encode": lambda x: {"means": x}}, "encode returned a dict; it must return means"),
        (
            {"encode": lambda x: x.sum()},
            r"encode made codes of shape \(\) of 1 images; a map needs \(n, d\)",
        ),
        (
            {"decode": lambda z: z.flatten(1)},
            r"decode returned a tensor of shape \(1, 64\); it must return images",
        ),
        ({"decode": lambda z: None}, "decode returned a NoneType"),
        (
            {"decode": lambda z: whole(z)[..., :4]},
            r"decode made an image of shape \(1, 8, 4\) of one of \(1, 8, 8\)",
        ),
    ],
)
def test_what_is_no_autoencoder_is_refused(given: dict[str, Any], sentence: str) -> None:
    words = {
        "autoencoder": None,
        "images": IMAGES,
        "encode": halves,
        "decode": whole,
        "device": CPU,
    } | given
    with pytest.raises(UserError, match=sentence):
        adapt(**words)


def test_images_of_another_shape_are_refused() -> None:
    adapted = Autoencoder(halves, whole, (1, 8, 8), (2, 4, 8), device=CPU)
    with pytest.raises(
        UserError, match=r"images must have shape \(n, 1, 8, 8\); these have \(2, 1, 8, 9\)"
    ):
        adapted.encode(torch.zeros(2, 1, 8, 9))


@pytest.fixture(scope="module")
def diffuser() -> "AutoencoderKL":
    """The autoencoder of latent diffusion at its smallest: codes (n, 1, 4, 4) of images (n, 1, 8, 8)."""
    from diffusers import AutoencoderKL

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoencoderKL(
            in_channels=1,
            out_channels=1,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            latent_channels=1,
            norm_num_groups=4,
            sample_size=8,
        )


@pytest.fixture(scope="module")
def atlas(diffuser: "AutoencoderKL") -> Atlas:
    generator = torch.Generator().manual_seed(0)
    labels = (IMAGES.mean(dim=(1, 2, 3)) > 0.5).long()
    return Atlas.wrap(
        diffuser,
        images=IMAGES,
        pixel_range=(-1.0, 1.0),
        boundary="gaussian",
        labels=labels,
        label_names=("dark", "light"),
        generator=generator,
        **TINY,
    )


def test_diffusers_own_encode_and_decode_lie_behind_the_verbs(
    atlas: Atlas, diffuser: "AutoencoderKL"
) -> None:
    with torch.no_grad():
        posterior = diffuser.encode(2 * IMAGES[:5] - 1).latent_dist
        decoded = diffuser.decode(posterior.mean).sample
    assert atlas.model is not None
    means, spread = atlas.model.posterior(IMAGES[:5])
    torch.testing.assert_close(means, posterior.mean)
    torch.testing.assert_close(spread, posterior.logvar)
    torch.testing.assert_close(atlas.encode(IMAGES[:5]), posterior.mean.flatten(1))
    expected = (decoded / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(atlas.decode(posterior.mean), expected)
    torch.testing.assert_close(atlas.decode(posterior.mean.flatten(1)), expected)


def test_the_map_is_of_the_codes_and_takes_both_shapes(atlas: Atlas) -> None:
    codes = atlas.encode(IMAGES)
    assert atlas.map.shape == (1, 4, 4)
    assert atlas.map.boundary.name == "gaussian"
    together = torch.cat([atlas.codes["train"].means, atlas.codes["held_out"].means])
    torch.testing.assert_close(together.sort(dim=0).values, codes.sort(dim=0).values)
    assert len(atlas.codes["held_out"]) == 23
    torch.testing.assert_close(
        atlas.map.log_prob(codes), atlas.map.log_prob(codes.unflatten(1, (1, 4, 4)))
    )
    assert atlas.map.score(codes).isfinite().all()


def test_labels_stay_with_their_codes(atlas: Atlas) -> None:
    codes = atlas.encode(IMAGES)
    for part in ("train", "held_out"):
        images = torch.cdist(atlas.codes[part].means, codes).argmin(dim=1)
        assert torch.equal(atlas.labels[part], (IMAGES[images].mean(dim=(1, 2, 3)) > 0.5).long())
    assert atlas.label_names == ("dark", "light")


def test_travel_takes_images_and_codes_of_both_shapes(atlas: Atlas) -> None:
    by_images = atlas.travel(IMAGES[0], IMAGES[1], frames=4)
    codes = atlas.encode(IMAGES[:2])
    by_codes = atlas.travel(codes[0], codes[1], frames=4)
    by_spatial = atlas.travel(*codes.unflatten(1, (1, 4, 4)), frames=4)
    assert by_images.points.shape == (4, 1, 16)
    assert by_images.strip().shape == (4, 1, 8, 8)
    torch.testing.assert_close(by_images.points, by_codes.points)
    torch.testing.assert_close(by_images.points, by_spatial.points)
    torch.testing.assert_close(by_images.strip()[0], atlas.decode(codes[0])[0])


def test_samples_are_images(atlas: Atlas) -> None:
    samples = atlas.sample(3, generator=torch.Generator().manual_seed(1))
    assert samples.shape == (3, 1, 8, 8)
    assert samples.min() >= 0
    assert samples.max() <= 1


def test_an_atlas_of_two_functions_learns_what_a_map_of_their_codes_learns(
    generator: torch.Generator,
) -> None:
    """Rows of two pixels are the codes themselves, so q is the pixels' own density."""
    images = torch.rand(400, 1, 1, 2, generator=generator)
    atlas = Atlas.wrap(
        images=images,
        encode=lambda x: x.flatten(1),
        decode=lambda z: z.reshape(-1, 1, 1, 2),
        boundary="gaussian",
        generator=generator,
        **(TINY | {"steps": 100}),
    )
    inside, outside = torch.full((1, 2), 0.5), torch.full((1, 2), 3.0)
    assert atlas.map.log_prob(inside).item() == pytest.approx(math.log(1.0), abs=0.7)
    assert atlas.map.log_prob(outside) < -5
    assert atlas.config.map.steps == 100


def test_repeated_images_are_told_of_and_too_few_refused(generator: torch.Generator) -> None:
    twice = torch.cat([IMAGES[:19], IMAGES[:1]])
    functions: dict[str, Any] = {"encode": halves, "decode": whole, "generator": generator}
    with (
        pytest.warns(UserWarning, match="1 of 20 codes repeat others"),
        pytest.raises(UserError, match="19 different"),
    ):
        Atlas.wrap(images=twice, **functions)


def test_codes_and_images_of_another_shape_are_refused(atlas: Atlas) -> None:
    with pytest.raises(UserError, match="codes must have 16 coordinates; these have 15"):
        atlas.decode(torch.zeros(2, 15))
    with pytest.raises(
        UserError, match=r"codes must have 16 coordinates; these have shape \(2, 1, 8, 8\)"
    ):
        atlas.decode(IMAGES[:2])
    with pytest.raises(UserError, match=r"images must have shape \(n, 1, 8, 8\)"):
        atlas.travel(torch.zeros(1, 4, 5), torch.zeros(1, 4, 5))


def test_the_geometry_of_a_spatial_latent_is_measured_through_attention(atlas: Atlas) -> None:
    found = atlas.geometry(samples=8)
    assert found.active_units.value <= 16
    assert 1 < found.condition.value < 1e6
    assert found.distortion.value > 0
    assert len(found.singular_values.middle) == 16


def our_own(shape: tuple[int, ...]) -> Atlas:
    """Our autoencoder with random weights, and a map of codes of standard deviation 0.5."""
    generator = torch.Generator().manual_seed(0)
    text = "x".join(map(str, shape)) if len(shape) == 3 else None
    config = ModelConfig(
        image_size=8, channels=1, latent_dim=math.prod(shape), latent_shape=text, width=4, depth=1
    )
    networks = VAEGAN(config, MapConfig()).requires_grad_(False)
    size = (config.latent_dim,)
    model = Autoencoder(networks.encoder, networks.decode, (1, 8, 8), size, device=CPU)
    train, held_out = (0.5 * torch.randn(n, *shape, generator=generator) for n in (200, 50))
    latent_map = LatentMap.fit(train, config=MapConfig(**TINY), generator=generator, warn=False)
    codes = {"train": Codes(train.flatten(1)), "held_out": Codes(held_out.flatten(1))}
    return Atlas(model, latent_map, codes, Config(model=config))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of so small a map
@pytest.mark.parametrize("shape", [(1, 4, 4), (5,)])
def test_our_autoencoder_is_one_of_diffusers(
    shape: tuple[int, ...], diffuser: "AutoencoderKL", generator: torch.Generator
) -> None:
    atlas = our_own(shape)
    vae = atlas.diffusers_vae()
    spatial = shape if len(shape) == 3 else (*shape, 1, 1)
    images = torch.rand(6, 1, 8, 8, generator=generator)
    found = vae.encode(2 * images - 1)
    assert type(found) is type(diffuser.encode(images))
    assert found.latent_dist.mode().shape == (6, *spatial)
    assert found.latent_dist.sample(generator).shape == (6, *spatial)
    assert atlas.model is not None
    means, spread = atlas.model.posterior(images)
    assert spread is not None
    torch.testing.assert_close(found.latent_dist.mode().flatten(1), means)
    torch.testing.assert_close(found.latent_dist.logvar.flatten(1), spread)
    z = torch.randn(4, *spatial, generator=generator)
    decoded = vae.decode(z)
    assert type(decoded) is type(diffuser.decode(torch.zeros(1, 1, 4, 4)))
    torch.testing.assert_close((decoded.sample + 1) / 2, atlas.decode(z.flatten(1)))
    torch.testing.assert_close(vae.decode(z, return_dict=False)[0], decoded.sample)
    assert vae.config.scaling_factor == pytest.approx(2, rel=0.05)
    for name, value in vars(vae.config).items():
        assert isinstance(value, type(getattr(diffuser.config, name))), name
    again = Atlas.wrap(
        vae, images=images.repeat(8, 1, 1, 1), pixel_range=(-1, 1), generator=generator, **TINY
    )
    torch.testing.assert_close(again.encode(images), atlas.encode(images), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(again.decode(means), atlas.decode(means), atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pipeline_of_diffusers_draws_images_through_our_decoder() -> None:
    diffusers = pytest.importorskip("diffusers")
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=1,
        attention_head_dim=8,
        in_channels=1,
        out_channels=2,
        num_layers=1,
        sample_size=4,
        norm_num_groups=1,
    )
    vae = our_own((1, 4, 4)).diffusers_vae()
    pipeline = diffusers.DiTPipeline(transformer, vae, diffusers.DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline([3, 5], num_inference_steps=2, output_type="np").images
    assert drawn.shape == (2, 8, 8, 1)
    assert 0 <= drawn.min() < drawn.max() <= 1
