"""LatentMap, the density whose log_prob is logit + log r. The only place where the sign is fixed."""

import copy
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas.boundary.base import AffineBoundary, Boundary
from latent_atlas.boundary.gaussian import PriorBoundary
from latent_atlas.boundary.registry import load_boundary
from latent_atlas.codes.posterior import Codes, as_codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import DensityRatioModel, StandardNormal, noise_width
from latent_atlas.density_ratio.calibration import Calibration, log_density
from latent_atlas.density_ratio.fit import measured, survey
from latent_atlas.density_ratio.noise_schedule import whitened
from latent_atlas.errors import UserError
from latent_atlas.nn.latent_discriminator import Ensemble, LatentDiscriminator
from latent_atlas.runs import read_tensors, write_tensors
from latent_atlas.shapes import Latents, Located, Values

__all__ = ["LatentMap"]

PIECE = 4_096  # codes judged at a time
FORMAT = 3


class LatentMap(DensityRatioModel):
    """The density map of a population in Z, read off its discriminator: log q(z) = l(z) + log r(z).

    Label convention: encoder codes are real (1), boundary codes are fake (0). Adversarial-autoencoder code
    often has it the other way round.

    Every method takes codes of shape (n, d), or of the spatial shape (n, c, h, w) that the map was fitted on.

    Attributes:
        boundary: r, where z_fake was drawn.
        calibration: What held-out codes said of the logit.
        blurs: Whether it has several levels, so that `at` and `noised` have smoother versions of it.
        angle: The noise level in radians at which the map is read: 0, the sharpest, unless it came from one of these.
        shape: Shape of a code: (d,), or (c, h, w) for spatial latents.
        notes: What was repaired in the codes, or should be known of them.
    """

    def __init__(
        self,
        network: Ensemble,
        boundary: Boundary,
        held_out: Latents,
        calibration: Calibration,
        *,
        shape: tuple[int, ...] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Arguments: D_z; r; held-out real codes, (n, d); the logit's measured honesty; shape of a code."""
        self.network = network.eval().requires_grad_(False)
        self.boundary = boundary
        self.calibration = calibration
        self.dimension = boundary.dimension
        self.shape = shape or (self.dimension,)
        self.notes = notes
        self.noise_levels = calibration.levels > 1
        self.angle = 0.0
        self._shrinks = False
        self._shift = 0.0
        self._codes = held_out
        self._ranked: dict[
            tuple[float, bool], Values
        ] = {}  # log q of these codes in ascending order, by level

    @property
    def device(self) -> torch.device:
        """Where codes have to be."""
        return self._codes.device

    def logit(self, latents: Located) -> Values:
        """l(z) = log q(z) - log r(z) in nats, shape (n,), for codes of any floating type on any device.

        With several levels it is the sum of what each adds, since D_z learned their differences.
        """
        w = self._white(latents)
        return self.network(w, w.new_full((1,), self.angle)) - self._shift

    def propose(self, n: int, *, generator: torch.Generator) -> Latents:
        """z_fake ~ r."""
        return self.boundary.sample(n, generator=generator)

    def log_prob(self, latents: Located) -> Values:
        """log q(z) = l(z) + log r(z) in nats, shape (n,).

        Raises:
            UserError: the boundary has no density, so the ratio cannot become one.
        """
        return self.logit_and_log_prob(latents)[1]

    def logit_and_log_prob(self, latents: Located) -> tuple[Values, Values]:
        """l(z) and log q(z) in nats, shape (n,) each, by one pass through D_z; errors as for `log_prob`."""
        log_r = self._log_boundary(latents)
        logit = self.logit(latents)
        return logit, logit + log_r

    def calibrated(self, logit: Values) -> Values:
        """a l + b at the sharp level, with a and b measured on held-out codes."""
        return logit if self.angle > 0 else self.calibration.scale * logit + self.calibration.shift

    def uncertainty(self, latents: Located) -> Values:
        """Standard deviation of log q(z) over the members of the ensemble in nats, shape (n,); 0 for a single one."""
        w = self._white(latents)
        return self.network.logits(w, w.new_full((1,), self.angle)).std(dim=0, correction=0)

    def typicality(self, latents: Located) -> Values:
        """Share of held-out real codes that are less likely than each code, in [0, 1], shape (n,)."""
        return self.rank(self.log_prob(latents))

    def rank(self, log_prob: Values) -> Values:
        """Share of held-out real codes that are less likely than codes of such log-densities, in [0, 1], shape (n,)."""
        known = self._log_prob_held_out()
        return torch.searchsorted(known, log_prob.contiguous()) / len(known)

    def threshold(self, share: float) -> float:
        """The log-density in nats below which the given share of held-out real codes lies."""
        return torch.quantile(self._log_prob_held_out(), share).item()

    def at(self, angle: float) -> "LatentMap":
        """The same map at the noise level t = `angle`, from sharp, 0, to smooth, below π/2: that of q_t.

        q_t is the population noised in the boundary's coordinates w to cos(t) w + sin(t) eps, which leaves the boundary
        as it is. Typicality and floor are by held-out codes without noise.

        Raises:
            UserError: the map has a single level, or no such angle.
        """
        if not 0 <= angle < math.pi / 2:
            raise UserError(
                f"the angle of a level is {angle}; choose 0 (sharp) to below π/2 (smooth)"
            )
        if angle > 0 and not self.noise_levels:
            raise UserError(
                "this map has a single level, at angle 0; fit it with levels=None or more than 1"
            )
        return self._changed(angle=float(angle), _shrinks=False)

    def noised(self, width: float) -> "LatentMap":
        """The map of the population with noise of standard deviation `width` added in the boundary's coordinates.

        w + width · eps is cos(t) w + sin(t) eps, divided by cos(t), at tan t = width; so unlike `at` it leaves places
        where they are: log q_t(cos(t) w) + d log cos(t), less log|det dz/dw|. Its realness compares with the boundary
        that is blurred likewise. Typicality and floor are by held-out codes without noise.

        Raises:
            UserError: the map has a single level, or the width is negative.
        """
        return self.at(math.atan(noise_width(width)))._changed(_shrinks=True)

    def normalised(self) -> "LatentMap":
        """The same map with log E_r[exp l], as it was measured, subtracted: log q then integrates to 1."""
        return self._changed(_shift=self.calibration.log_normalising_constant)

    @classmethod
    def fit(
        cls,
        means: Tensor,
        log_variances: Tensor | None = None,
        boundary: str | None = None,
        *,
        levels: int | None = None,
        steps: int | None = None,
        config: MapConfig | None = None,
        held_out: float | Codes = 0.1,
        generator: torch.Generator,
        log: Callable[[dict[str, float]], None] | None = None,
        watch: "Callable[[LatentMap], None] | None" = None,
        warn: bool = True,
    ) -> "LatentMap":
        """Learn the map of codes from anywhere.

        Arguments:
            means: Codes, shape (n, d), or (n, c, h, w) for spatial latents; n of 20 or more, and of d or more.
            log_variances: log sigma² of q(z|x), of the same shape; None where each image is one point.
            boundary: Where z_fake is drawn, one of `config.BOUNDARIES`; "gaussian" suits codes far from N(0, I).
            levels: How many levels the log-ratio is telescoped over; None measures KL(q || r) and chooses, 1 is a
                single classifier.
            steps: Upper limit of optimisation steps.
            config: Network, boundary and optimisation; the arguments above go before its settings.
            held_out: Share of the codes kept for early stopping and calibration, or such codes themselves.
            generator: Source of all randomness; its device is where the map lives.
            log: Called with a record of the losses now and then.
            watch: Called before it with the map as it is by then, whose constant is not set yet; learning goes on to
                change it.
            warn: Whether each of the map's `notes` is a UserWarning as well.

        Raises:
            UserError: no map can be learned from such codes, or so; the sentence says why.
        """
        given = {"boundary": boundary, "levels": levels, "steps": steps}
        config = replace(
            config or MapConfig(),
            **{name: value for name, value in given.items() if value is not None},
        )
        codes, notes = as_codes(means, log_variances)
        train, test = _parts(codes.to(generator.device), held_out, generator)
        shape = tuple(means.shape[1:])
        look = None if watch is None else lambda so_far: watch(cls(*so_far, shape=shape))
        found = survey(train, test, config, generator=generator, log=log, watch=look)
        notes += [found.boundary.note] if found.boundary.note else []
        for note in notes if warn else []:
            warnings.warn(note, stacklevel=2)
        return cls(*found, shape=shape, notes=tuple(notes))

    @classmethod
    def from_network(
        cls, network: LatentDiscriminator, held_out: Codes, *, generator: torch.Generator
    ) -> "LatentMap":
        """Make the map of a D_z that has learned already against the prior, calibrated on held-out codes."""
        boundary = PriorBoundary(held_out.means.shape[1])
        return cls(*measured(Ensemble([network]), held_out, boundary, generator=generator))

    def save(self, path: Path) -> None:
        """Write the map as one safetensors file."""
        member = self.network.members[0]
        assert isinstance(member, LatentDiscriminator)
        about = {
            "format": FORMAT,
            "boundary": self.boundary.name,
            "dimension": self.dimension,
            "shape": self.shape,
            "width": member.stem.out_features,
            "depth": len(member.blocks),
            "members": len(self.network.members),
            "notes": self.notes,
            "calibration": self.calibration.as_json(),
        }
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"boundary.{name}": value for name, value in self.boundary.tensors().items()}
        write_tensors(path, tensors | {"held_out": self._codes}, {"map": json.dumps(about)})

    @classmethod
    def load(cls, path: Path, *, device: torch.device | str = "cpu") -> "LatentMap":
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is not a map, or of another version.
        """
        tensors, metadata = read_tensors(path, device=device)
        if "map" not in metadata:
            raise UserError(f"{path} is not a map; a run's map is its map.safetensors")
        about = json.loads(metadata["map"])
        if about.get("format") != FORMAT:
            raise UserError(
                f"{path} was written by another version of latent-atlas; train the run again"
            )
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "boundary": {}}
        for place, value in tensors.items():
            part, _, name = place.partition(".")
            if part in parts:
                parts[part][name] = value
        size = {"width": about["width"], "depth": about["depth"]}
        network = Ensemble(
            LatentDiscriminator(about["dimension"], **size) for _ in range(about["members"])
        )
        network.to(device).load_state_dict(parts["network"])
        return cls(
            network,
            load_boundary(about["boundary"], about["dimension"], parts["boundary"]),
            tensors["held_out"],
            Calibration.from_json(about["calibration"]),
            shape=tuple(about["shape"]),
            notes=tuple(about["notes"]),
        )

    def _changed(self, **attributes: Any) -> "LatentMap":
        """The same map, read in another way."""
        other = copy.copy(self)
        vars(other).update(attributes)
        return other

    @torch.no_grad()
    def _log_prob_held_out(self) -> Values:
        """log q of held-out real codes, or their logits where r has no density, in ascending order."""
        level = (self.angle, self._shrinks)
        if level not in self._ranked:
            judge = self.logit if log_density(self.boundary) is None else self.log_prob
            values = torch.cat([judge(part) for part in self._codes.split(PIECE)]) + self._shift
            self._ranked[level] = values.sort().values
        return self._ranked[level] - self._shift

    def _log_boundary(self, latents: Located) -> Values:
        """log r(z) in nats at the map's level, shape (n,); errors as for `log_prob`."""
        log_r = log_density(self.boundary)
        if log_r is None:
            raise UserError(
                f"boundary '{self.boundary.name}' has no log-density for real codes, so log_prob and score are closed "
                f"({self.boundary.note}); realness, confusion and the gradient of log D_z still work, and boundary "
                "'prior' has all of them"
            )
        if self.angle == 0 or not isinstance(self.boundary, AffineBoundary):
            return log_r.log_prob(self._rows(latents))
        log_volume = self.dimension * math.log(math.cos(self.angle)) if self._shrinks else 0.0
        standard = StandardNormal(self.dimension).log_prob(self._white(latents))
        return standard - self.boundary.log_scale + log_volume

    def _white(self, latents: Located) -> Latents:
        """Codes in the coordinates that D_z knows; where the map is blurred, brought to its level."""
        w = whitened(self.boundary, self._rows(latents))
        return math.cos(self.angle) * w if self._shrinks else w

    def _rows(self, latents: Located) -> Latents:
        """Codes as rows (n, d), here and in single precision.

        Raises:
            UserError: they have another shape than those of the map.
        """
        if tuple(latents.shape[1:]) not in (self.shape, (self.dimension,)):
            sides = ", ".join(map(str, self.shape))
            raise UserError(
                f"codes of this map have shape (n, {sides}); these have {tuple(latents.shape)}"
            )
        return latents.flatten(1).to(self.device, torch.float32)


def _parts(
    codes: Codes, held_out: float | Codes, generator: torch.Generator
) -> tuple[Codes, Codes]:
    """Codes to learn from, and codes to be judged by."""
    if isinstance(held_out, Codes):
        test, _ = as_codes(held_out.means, held_out.log_variances, at_least=1)
        if test.means.shape[1] != codes.means.shape[1]:
            raise UserError(
                f"held-out codes have {test.means.shape[1]} coordinates, the others {codes.means.shape[1]}"
            )
        return codes, test.to(generator.device)
    if not 0 < held_out < 1:
        raise UserError(f"held_out is {held_out}; choose a share between 0 and 1, or give codes")
    return codes.split(held_out, generator=generator)
