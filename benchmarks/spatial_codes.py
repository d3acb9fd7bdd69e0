"""Maps of spatial codes: D_z by convolutions, beside a plain one, a Gaussian and a flow.

Question: is the density of our own autoencoder's spatial codes learned better by a D_z that knows their shape? Each row is
fitted to codes of the training images and asked about samples of held-out codes: log q as the map gives it, and, for D_z,
the log q of the diffusion whose scores they are, which is normalised whatever its constant: E log r plus KL(q || r) by the
gradients over levels. Samples are decoded, and compared with decoded held-out codes in the features of a classifier. The
weight of the KL divergence is that of codes which keep the image, 2e-5 for each nat.

    python benchmarks/spatial_codes.py                  # Fashion-MNIST at 4 x 7 x 7, about 40 minutes on one core
    python benchmarks/spatial_codes.py --rows gaussian flat --seeds 0 1 2
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines import fit_flow
from latent_atlas import LatentMap
from latent_atlas.config import Config, MapConfig
from latent_atlas.config.presets import PRESETS
from latent_atlas.config.run import with_settings
from latent_atlas.data import ImageSet
from latent_atlas.data.load import load_images
from latent_atlas.density import fit_gaussian_mixture
from latent_atlas.density_ratio.calibration import kl_over_levels
from latent_atlas.evaluation import frechet_distance
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run, read_tensors
from latent_atlas.sampling import Diffusion, draw
from latent_atlas.shapes import Latents
from latent_atlas.training.loop import encode_all, train_model
from reconstruction import feature_classifier
from record import record

Row = dict[str, Any]

RESULT = Path(__file__).parent / "results" / "spatial_codes.json"
SETTINGS: str = (
    "model.latent_shape=4x7x7 model.width=16 model.discriminator_width=16 train.kl_weight=2e-5 train.batch_size=64 "
    "train.steps=1500 train.kl_warmup=300 train.adversarial_start=500 train.device=cpu"
)
ASKED, INTEGRALS = 10_000, 3  # held-out codes; estimates of KL(q || r) by the gradients


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=2_600, help="of the spatial D_z")
    parser.add_argument("--batch", type=int, default=256, help="codes in such a step")
    parser.add_argument("--seconds", type=float, default=300, help="of a core, for the flow")
    parser.add_argument("--draws", type=int, default=2_000, help="samples of each row")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/spatial"), help="of the autoencoder"
    )
    given = parser.parse_args()
    settings = {name: getattr(given, name) for name in ("steps", "batch", "seconds", "draws")}
    before = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    rows: dict[str, Row] = before["results"] if before.get("settings") == settings else {}
    wanted = [(name, seed) for seed in given.seeds for name in given.rows]
    missing = [(name, seed) for name, seed in wanted if f"{name}, seed {seed}" not in rows]
    world = World(given) if missing else None
    for name, seed in missing:
        assert world is not None
        rows["training codes"] = world.bound
        rows[f"{name}, seed {seed}"] = world.row(name, seed)
        record("spatial_codes", rows, **settings)


class World:
    """The codes of an autoencoder, and what its samples are compared with."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        config = with_settings(PRESETS["fashion-mnist"], SETTINGS.split())
        self.shape = config.model.code_shape
        images = load_images(config.data, config.model.image_size, config.model.channels)
        self.model = autoencoder(config, images, given.work)
        generator = torch.Generator().manual_seed(0)
        train, self.held_out = (
            encode_all(self.model, x.images) for x in (images.train, images.test)
        )
        self.learn, self.check = train.split(0.1, generator=generator)
        self.asked = self.held_out.sample(ASKED, generator=generator)
        self.features = feature_classifier(images, epochs=1).features
        self.real = self.seen(self.held_out.sample_each(generator=generator))
        others = self.learn.sample(given.draws, generator=generator)
        self.bound = {"frechet": frechet_distance(self.seen(others), self.real)}

    def seen(self, latents: Latents) -> np.ndarray:
        """Features of decoded codes, as bytes."""
        with torch.no_grad():
            images = torch.cat([self.model.decode(part) for part in latents.split(512)])
        return self.features((images * 255).round().to(torch.uint8)).numpy()

    def row(self, name: str, seed: int) -> Row:
        """Fit, ask and draw."""
        generator = torch.Generator().manual_seed(seed)
        start = time.process_time()
        log_prob, sample, found = ROWS[name](self, generator)
        found["core seconds"] = time.process_time() - start
        with torch.no_grad():
            values = torch.cat([log_prob(part) for part in self.asked.split(1_000)])
        found["log q"] = values.mean().item()
        found["log q, standard error"] = (values.std() / len(values) ** 0.5).item()
        points = sample(self.given.draws, generator)
        found["frechet"] = frechet_distance(self.seen(points), self.real)
        return found


Fitted = tuple[Callable[[Latents], Latents], Callable[[int, torch.Generator], Latents], Row]


def of_map(world: World, generator: torch.Generator, config: MapConfig, shape: tuple) -> Fitted:
    """A LatentMap of the codes in such a shape."""
    codes = world.learn.shaped(shape)
    settings = {"config": config, "held_out": world.check, "generator": generator}
    fitted = LatentMap.fit(*codes, **settings, warn=False)
    r = fitted.boundary
    log_r = r.log_prob(world.held_out.sample(100_000, generator=generator)).mean().item()
    integrals = [
        kl_over_levels(fitted.network, world.held_out, r, generator=generator)
        for _ in range(INTEGRALS)
    ]
    row = {
        "network": type(fitted.network.members[0]).__name__,
        "levels": fitted.calibration.levels,
        "log q by gradients": log_r + float(np.mean(integrals)),
        "log q by gradients, standard error": float(np.std(integrals, ddof=1)) / INTEGRALS**0.5,
        "log E_r[exp l]": fitted.calibration.log_normalising_constant,
        "log E_r[exp l], standard error": fitted.calibration.log_normalising_constant_error,
    }

    def sample(n: int, generator: torch.Generator) -> Latents:
        return draw(fitted, n, Diffusion(moves=0), generator=generator).points

    return fitted.log_prob, sample, row


def spatial(world: World, generator: torch.Generator) -> Fitted:
    config = MapConfig(steps=world.given.steps, batch_size=world.given.batch)
    return of_map(world, generator, config, world.shape)


def flat(world: World, generator: torch.Generator) -> Fitted:
    return of_map(world, generator, MapConfig(), (math.prod(world.shape),))


def wide(world: World, generator: torch.Generator) -> Fitted:
    return of_map(world, generator, MapConfig(boundary="gaussian"), (math.prod(world.shape),))


def gaussian(world: World, generator: torch.Generator) -> Fitted:
    mean, covariance = (some.float() for some in world.learn.moments())
    law = torch.distributions.MultivariateNormal(mean, covariance)
    factor = law.scale_tril

    def sample(n: int, generator: torch.Generator) -> Latents:
        return mean + torch.randn(n, len(mean), generator=generator) @ factor.T

    return law.log_prob, sample, {}


def mixture(world: World, generator: torch.Generator) -> Fitted:
    train, check = draws(world, generator)
    fitted = fit_gaussian_mixture(train, held_out=check, generator=generator)

    def sample(n: int, generator: torch.Generator) -> Latents:
        return fitted.sample(n, generator=generator)

    return fitted.log_prob, sample, {"components": len(fitted.weights)}


def flow(world: World, generator: torch.Generator) -> Fitted:
    """A neural spline flow; torch's generator draws its samples."""
    train, check = draws(world, generator)
    fitted = fit_flow(train, check, seconds=world.given.seconds, generator=generator)

    def sample(n: int, generator: torch.Generator) -> Latents:
        torch.manual_seed(generator.initial_seed())
        with torch.no_grad():
            return fitted.network().sample((n,)) * fitted.scales + fitted.means

    return fitted.log_prob, sample, {"steps": fitted.about["steps"]}


def draws(world: World, generator: torch.Generator) -> tuple[Latents, Latents]:
    """Samples of the codes, to fit and to stop by."""
    return world.learn.sample(200_000, generator=generator), world.check.sample(
        5_000, generator=generator
    )


ROWS: dict[str, Callable[[World, torch.Generator], Fitted]] = {
    "spatial": spatial,
    "flat": flat,
    "wide": wide,
    "gaussian": gaussian,
    "mixture": mixture,
    "flow": flow,
}


def autoencoder(config: Config, images: ImageSet, work: Path) -> VAEGAN:
    """The trained networks, which are kept in `work`."""
    run = Run(work)
    weights = run.file("model.safetensors")
    if not weights.is_file():
        run.claim()
        run.begin(config)
        return train_model(images.train.images, config, run, log=print, resume=False)
    model = VAEGAN(config.model, config.map)
    model.load_state_dict(read_tensors(weights)[0])
    return model.requires_grad_(False)


if __name__ == "__main__":
    main()
