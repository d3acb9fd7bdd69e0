"""LatentMap, the density whose log_prob is logit + log r. The only place where the sign is fixed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from latent_atlas.boundary import Boundary, make_boundary
from latent_atlas.calibration import Calibration, calibrate
from latent_atlas.checkpoint import read_tensors, write_tensors
from latent_atlas.config import MapConfig
from latent_atlas.density import Membership
from latent_atlas.errors import UserError
from latent_atlas.nn.discriminators import LatentDiscriminator
from latent_atlas.nn.initial import initial_weights
from latent_atlas.ratio import Codes, batched_logits, fit_ratio
from latent_atlas.shapes import Latents, Values

__all__ = ["LatentMap"]


class LatentMap(Membership):
    """The density map of a population in Z, read off its discriminator: log q(z) = l(z) + log r(z).

    Label convention: encoder codes are real (1), boundary codes are fake (0). Adversarial-autoencoder code
    often has it the other way round.

    Attributes:
        boundary: r, where z_fake was drawn.
        calibration: What held-out codes said of the logit.
    """

    def __init__(
        self, network: LatentDiscriminator, boundary: Boundary, held_out: Values, calibration: Calibration
    ) -> None:
        """Arguments: D_z; r; log q of held-out real codes, shape (n,); and the logit's measured honesty."""
        self.network = network.eval().requires_grad_(False)
        self.boundary = boundary
        self.calibration = calibration
        self.dimension = network.stem.in_features
        self._held_out = held_out.sort().values

    @property
    def device(self) -> torch.device:
        """Where codes have to be."""
        return self._held_out.device

    def logit(self, latents: Latents) -> Values:
        """l(z) = log q(z) - log r(z) in nats, shape (n,), for codes of any floating type on any device."""
        return self.network(latents.to(self.device, torch.float32))

    def log_prob(self, latents: Latents) -> Values:
        """log q(z) = l(z) + log r(z) in nats, shape (n,).

        Raises:
            UserError: the boundary has no density, so the ratio cannot become one.
        """
        if self.boundary.density is None:
            raise UserError(
                f"boundary '{self.boundary.name}' has no log-density, so log_prob and score are closed; realness, "
                "confusion and the gradient of log D_z still work, and boundary 'prior' has all of them"
            )
        latents = latents.to(self.device, torch.float32)
        return self.logit(latents) + self.boundary.density.log_prob(latents)

    def typicality(self, latents: Latents) -> Values:
        """Share of held-out real codes that are less likely than each code, in [0, 1], shape (n,)."""
        rank = torch.searchsorted(self._held_out, self.log_prob(latents).contiguous())
        return rank / len(self._held_out)

    def floor(self, share: float) -> float:
        """The log-density in nats below which the given share of held-out real codes lies."""
        return torch.quantile(self._held_out, share).item()

    @classmethod
    def fit(
        cls,
        means: Tensor,
        log_variances: Tensor | None = None,
        boundary: str = "prior",
        *,
        config: MapConfig | None = None,
        steps: int | None = None,
        held_out: float | Codes = 0.1,
        generator: torch.Generator,
        log: Callable[[dict[str, float]], None] | None = None,
    ) -> "LatentMap":
        """Learn the map of codes from anywhere.

        Arguments:
            means: Codes, shape (n, d), of order one in each coordinate.
            log_variances: log sigma² of q(z|x), shape (n, d); None where each image is one point.
            boundary: Where z_fake is drawn.
            config: Network and optimisation; its `boundary` and `steps` give way to the arguments of that name.
            steps: Upper limit of optimisation steps.
            held_out: Share of the codes kept for early stopping and typicality, or such codes themselves.
            generator: Source of all randomness; its device is where the map lives.
            log: Called with a record of the losses now and then.

        Raises:
            UserError: the codes are not finite, or not of shape (n, d), or too few.
        """
        config = replace(config or MapConfig(), boundary=boundary)
        config = config if steps is None else replace(config, steps=steps)
        device = generator.device
        codes = _checked(means, log_variances).to(device)
        if not isinstance(held_out, Codes) and not 0 < held_out < 1:
            raise UserError(f"held_out is {held_out}; choose a share between 0 and 1, or give codes")
        if isinstance(held_out, Codes) and held_out.means.shape[1:] != means.shape[1:]:
            raise UserError(f"held-out codes have shape {tuple(held_out.means.shape)}, the others {tuple(means.shape)}")
        if isinstance(held_out, Codes):
            train, test = codes, _checked(held_out.means, held_out.log_variances, at_least=1).to(device)
        else:
            train, test = _split(codes, held_out, generator)
        dimension = codes.means.shape[1]
        # A seed of its own: the generator's would repeat the random numbers of the split.
        with initial_weights(int(torch.randint(2**62, (), generator=generator, device=device))):
            network = LatentDiscriminator(dimension, width=config.width, depth=config.depth).to(device)
        if config.z_real == "means":
            train, test = train.points(), test.points()
        fit_ratio(network, train, test, make_boundary(boundary, dimension), config, generator=generator, log=log)
        return cls.from_network(network, test, boundary, generator=generator)

    @classmethod
    def from_network(
        cls, network: LatentDiscriminator, held_out: Codes, boundary: str, *, generator: torch.Generator
    ) -> "LatentMap":
        """Make the map of a D_z that has learned already, calibrated on held-out codes."""
        source = make_boundary(boundary, held_out.means.shape[1])
        count = max(4 * len(held_out), 20_000)
        real = held_out.sample(count, generator=generator)
        logits = batched_logits(network, real)
        fake = batched_logits(network, source.sample(count, generator=generator))
        log_prob = logits if source.density is None else logits + source.density.log_prob(real)
        return cls(network, source, log_prob, calibrate(logits, fake))

    def save(self, path: Path) -> None:
        """Write the map as one safetensors file."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        about = {
            "boundary": self.boundary.name,
            "dimension": self.dimension,
            "width": self.network.stem.out_features,
            "depth": len(self.network.blocks),
            "calibration": self.calibration.numbers(),
        }
        write_tensors(path, tensors | {"held_out": self._held_out}, {"map": json.dumps(about)})

    @classmethod
    def load(cls, path: Path, *, device: torch.device | str = "cpu") -> "LatentMap":
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is not a map.
        """
        tensors, metadata = read_tensors(path, device=device)
        if "map" not in metadata:
            raise UserError(f"{path} is not a map; a run's map is its map.safetensors")
        about = json.loads(metadata["map"])
        network = LatentDiscriminator(about["dimension"], width=about["width"], depth=about["depth"]).to(device)
        held_out = tensors.pop("held_out")
        network.load_state_dict({name.removeprefix("network."): value for name, value in tensors.items()})
        boundary = make_boundary(about["boundary"], about["dimension"])
        try:
            calibration = Calibration(**about["calibration"])
        except TypeError:
            raise UserError(f"{path} was written by another version of latent-atlas; train the run again") from None
        return cls(network, boundary, held_out, calibration)


def _checked(means: Tensor, log_variances: Tensor | None, at_least: int = 20) -> Codes:
    """Codes that a map can be learned from, or one sentence saying why not."""
    if means.ndim != 2:
        raise UserError(f"codes must have shape (n, d); these have {tuple(means.shape)}")
    if log_variances is not None and log_variances.shape != means.shape:
        raise UserError(
            f"log_variances must have the shape of means, {tuple(means.shape)}; it has {tuple(log_variances.shape)}"
        )
    if len(means) < at_least:
        raise UserError(f"a map needs at least {at_least} codes; there are {len(means)}")
    bad = ~means.isfinite().all(dim=1)
    if log_variances is not None:
        bad |= ~log_variances.isfinite().all(dim=1)
    if bad.any():
        raise UserError(
            f"{int(bad.sum())} of {len(means)} codes are not finite, the first at row {int(bad.nonzero()[0])}"
        )
    return Codes(means.float(), None if log_variances is None else log_variances.float())


def _split(codes: Codes, share: float, generator: torch.Generator) -> tuple[Codes, Codes]:
    """Codes to learn from, and a random share of them to be judged by."""
    order = torch.randperm(len(codes), generator=generator, device=generator.device)
    count = max(int(share * len(codes)), 10)
    spread = codes.log_variances
    parts = (order[count:], order[:count])
    train, test = (Codes(codes.means[rows], None if spread is None else spread[rows]) for rows in parts)
    return train, test
