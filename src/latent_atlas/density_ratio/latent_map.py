"""LatentMap, the density with log_prob = logit + log r. The sign is fixed here and nowhere else."""

import copy
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.boundary.gaussian import PriorBoundary
from latent_atlas.boundary.registry import load_boundary
from latent_atlas.codes.posterior import Codes, as_codes, sphere_of
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import Density, DensityRatioModel, noise_width
from latent_atlas.density_ratio.calibration import Calibration
from latent_atlas.density_ratio.fit import calibrated_ratio, fit_density_ratio
from latent_atlas.errors import UserError, checked, require
from latent_atlas.nn.latent_discriminator import Ensemble, LatentDiscriminator
from latent_atlas.nn.mixture_reference import MixtureReference
from latent_atlas.nn.spatial_discriminator import (
    Discriminator,
    GaussianField,
    SpatialDiscriminator,
    is_spatial,
)
from latent_atlas.nn.wide_discriminator import ScaleMixture, WideDiscriminator
from latent_atlas.runs import read_tensors, reading, write_tensors
from latent_atlas.shapes import ArrayLike, Latents, Located, Values, as_array, as_floats, batched

__all__ = ["LatentMap"]

BATCH = 4_096  # codes evaluated at a time
FORMAT = 4  # of the file; raised whenever its tensors or facts change


@dataclass(frozen=True)
class About:
    """The facts of a map's file."""

    boundary: str
    dimension: Annotated[int, Field(ge=1, le=2**24)]
    shape: tuple[int, ...]
    width: Annotated[int, Field(ge=1, le=2**14)]
    depth: Annotated[int, Field(ge=0, le=256)]
    ensemble_size: Annotated[int, Field(ge=1, le=256)]
    warnings: tuple[str, ...]
    calibration: dict[str, Any]
    components: Annotated[int, Field(ge=0, le=2**10)] = 0
    leading: Annotated[int, Field(ge=0, le=2**24)] = 0
    learned: Annotated[int, Field(ge=0, le=2**24)] = 0
    null: Annotated[int, Field(ge=0, le=2**24)] = 0
    shared_scale: bool = False
    low: Annotated[int, Field(ge=0, le=2**12)] = 0
    sphere: Annotated[float, Field(gt=0)] | None = None

    def network(self) -> Ensemble:
        """An ensemble of these sizes."""
        return Ensemble(self._member() for _ in range(self.ensemble_size))

    def _member(self) -> Discriminator | WideDiscriminator:
        size = {"width": self.width, "depth": self.depth}
        if self.low and is_spatial(self.shape):
            return SpatialDiscriminator(GaussianField(self.shape, self.low), **size)
        if not self.leading:
            return LatentDiscriminator(self.dimension, components=self.components, **size)
        axes = (torch.zeros(self.dimension, k) for k in (self.leading, self.null))
        return WideDiscriminator(
            LatentDiscriminator(self.learned, **size),
            MixtureReference(self.leading, self.components),
            ScaleMixture(self.dimension - self.leading - self.null),
            *axes,
            shared_scale=self.shared_scale,
        )


class LatentMap(DensityRatioModel):
    """The density of codes in Z, by its discriminator: log q(z) = l(z) + log r(z).

    Label convention: encoder codes are real (1), boundary codes are fake (0). Code for adversarial
    autoencoders often has it the other way round.

    Every method takes codes of shape (n, d), or of the shape (n, ...) that the map was fitted on:
    an array-like of any type, on any device.

    Attributes:
        boundary: r, where z_fake was drawn.
        calibration: How the logit compares with held-out codes.
        has_log_prob: Whether `log_prob` and `score` have values: False where log r is unknown, or r
            is 0 where real codes are.
        noise_levels: Whether it has several levels, so that `at` and `noised` give smoother maps.
        angle: The noise level t in radians at which the map is evaluated; 0 is without noise.
        shape: Shape of a code: (d,), or another such as (c, h, w) for spatial latents.
        warnings: What was repaired in the codes, or should be known of them, in sentences.
        sphere: Radius of the sphere that the codes lie on, or None; densities are those of the
            space around it.
    """

    boundary: Boundary  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        network: Ensemble,
        boundary: Boundary,
        held_out: Latents,
        calibration: Calibration,
        *,
        shape: tuple[int, ...] | None = None,
        warnings: tuple[str, ...] = (),
        sphere: float | None = None,
    ) -> None:
        """Arguments: D_z; r; held-out real codes, (n, d); calibration; a code's shape."""
        self.network = network.eval().requires_grad_(False)
        self.boundary = boundary  # pyright: ignore[reportIncompatibleVariableOverride]
        self.calibration = calibration
        self.dimension = boundary.dimension
        self.shape = shape or (self.dimension,)
        self.warnings = warnings
        self.sphere = sphere
        self.has_log_prob = boundary.has_log_prob and boundary.covers
        self.noise_levels = calibration.levels > 1
        self.angle = 0.0
        self._shrinks = False
        self._r: Density = boundary  # at this level
        self._shift = 0.0
        self._codes = held_out
        self._sloped: Callable[[Latents], tuple[Values, Latents]] | None = None
        self._ranked: dict[tuple[float, bool], Values] = {}  # their log q, ascending, by level

    @property
    def device(self) -> torch.device:
        """Where codes have to be."""
        return self._codes.device

    def logit(self, latents: Located) -> Values:
        """l(z) = log q(z) - log r(z) in nats, shape (n,).

        With several levels it is the sum of the differences that D_z learned.
        """
        w = self._white(latents)
        return self.network(w, w.new_full((1,), self.angle)) - self._shift

    def log_prob(self, latents: Located) -> Values:
        """log q(z) = l(z) + log r(z) in nats, shape (n,).

        Raises:
            UserError: `has_log_prob` is False.
        """
        return self.logit_and_log_prob(latents)[1]

    def logit_and_log_prob(self, latents: Located) -> tuple[Values, Values]:
        """l(z) and log q(z) in nats, shape (n,) each, by one evaluation of D_z."""
        log_r = self._log_boundary(latents)
        logit = self.logit(latents)
        return logit, logit + log_r

    def score(self, latents: Located) -> Located:
        """grad log q(z), of the codes' shape; errors as for `log_prob`."""
        return self.log_prob_and_score(latents)[1]

    def log_prob_and_score(self, latents: Located) -> tuple[Values, Located]:
        """log q(z) (n,) and its gradient, by one evaluation of D_z; errors as for `log_prob`."""
        with torch.inference_mode(False), torch.enable_grad():
            z = latents.detach().clone().requires_grad_()
            log_r, w = self._log_boundary(z), self._white(z)
            logit, slope = self._at_angle()(w.detach())
            (score,) = torch.autograd.grad([log_r, w], z, [torch.ones_like(log_r), slope])
        return logit - self._shift + log_r.detach(), score

    def of_rest(self, latents: Located) -> tuple[Values, Values] | None:
        """As for every density; wide codes have a rest, whose density depends on its length."""
        member = self.network.members[0]
        if not isinstance(member, WideDiscriminator):
            return None
        log_ratio, lengths = member.of_rest(self._white(latents))
        return log_ratio - 0.5 * lengths.square(), lengths

    def calibrated(self, logit: Values) -> Values:
        """a l + b at t = 0, with a and b measured on held-out codes; l at any other level."""
        return logit if self.angle > 0 else self.calibration.scale * logit + self.calibration.shift

    def uncertainty(self, latents: Located) -> Values:
        """Standard deviation of log q(z) over the ensemble in nats, shape (n,); 0 for one D_z."""
        w = self._white(latents)
        return self.network.logits(w, w.new_full((1,), self.angle)).std(dim=0, correction=0)

    def typicality(self, latents: Located) -> Values:
        """Share of held-out real codes with a lower log q than each code, in [0, 1], shape (n,)."""
        return self.rank(self.log_prob(latents))

    def rank(self, log_prob: ArrayLike) -> Values:
        """Share of held-out real codes with a lower log q than each given, in [0, 1], (n,)."""
        known = self._log_prob_held_out()
        log_prob = as_floats(log_prob).to(known)
        if log_prob.ndim != 1:
            raise UserError(
                f"log-densities must have shape (n,); these have {tuple(log_prob.shape)}"
            )
        return torch.searchsorted(known, log_prob.contiguous()) / len(known)

    def threshold(self, share: float, *, generator: torch.Generator | None = None) -> float:
        """The log-density in nats under which this share of held-out real codes lies.

        It is a logit where `has_log_prob` is False. The generator is not used.

        Raises:
            UserError: the share is not in [0, 1].
        """
        require(0 <= share <= 1, f"the share is {share}; choose a share of the codes from 0 to 1")
        return torch.quantile(self._log_prob_held_out(), share).item()

    @checked
    def at(self, angle: float) -> "LatentMap":
        """The map of q_t at the noise level t = `angle`, in [0, π/2).

        q_t is q noised in the boundary's coordinates w to cos(t) w + sin(t) eps, which leaves the
        boundary as it is. Typicality and threshold are by held-out codes without noise.

        Raises:
            UserError: the map has a single level, or no such angle.
        """
        if not 0 <= angle < math.pi / 2:
            raise UserError(f"the angle of a noise level is {angle}; choose 0 to below π/2")
        if angle > 0 and not self.noise_levels:
            raise UserError(
                "this map has a single level, at angle 0; fit it with levels=None or more than 1"
            )
        return self._changed(angle=float(angle), _shrinks=False, _r=self.boundary)

    def noised(self, width: float) -> "LatentMap":
        """The map of q with noise of standard deviation `width` in the coordinates of `whiten`.

        w + width · eps is cos(t) w + sin(t) eps, divided by cos(t), at tan t = width; so unlike
        `at` it does not shrink z: log q_t(cos(t) w) + d log cos(t) - log|det dz/dw|. Its realness
        compares with the boundary noised in the same way. Typicality and threshold are by held-out
        codes without noise.

        Raises:
            UserError: the map has a single level, or the width is negative.
        """
        level = self.at(math.atan(noise_width(width)))
        # Noise that keeps z where it is widens r; noise that shrinks z leaves an affine r alone.
        return level._changed(_shrinks=True, _r=self.boundary.noised(width))

    def whiten(self, latents: Located) -> Latents:
        """Codes in the coordinates in which the boundary is N(0, I), if it is affine; (n, d)."""
        return self.boundary.whiten(self._rows(latents))

    def unwhiten(self, latents: Latents) -> Latents:
        """The inverse of `whiten`, shape (n, d)."""
        return self.boundary.unwhiten(latents)

    def normalised(self) -> "LatentMap":
        """The same map less the measured log E_r[exp l], so that exp(log q) integrates to 1."""
        return self._changed(_shift=self.calibration.log_normalising_constant)

    def double(self) -> "LatentMap":
        """The same map in double precision, where a code's values do not depend on the others'."""
        tensors = {name: value.double() for name, value in self.boundary.tensors().items()}
        boundary = load_boundary(self.boundary.name, self.dimension, tensors)
        return self._changed(
            network=copy.deepcopy(self.network).double(),
            boundary=boundary,
            _r=boundary.noised(math.tan(self.angle)) if self._shrinks else boundary,
            _codes=self._codes.double(),
            _ranked={},
        )

    @classmethod
    @checked
    def fit(
        cls,
        means: ArrayLike,
        log_variances: ArrayLike | None = None,
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
        """Fit the map of given codes.

        Arguments:
            means: Codes, shape (n, d), or (n, ...) for latents of any shape; n is 20 or more, and d
                or more.
            log_variances: log sigma² of q(z|x), of the same shape; None where each image is one
                point.
            boundary: Where z_fake is drawn, one of `config.BOUNDARIES`; "gaussian" suits codes far
                from N(0, I).
            levels: How many noise levels the log-ratio is telescoped over; None estimates
                KL(q || r) and chooses, 1 is a single classifier.
            steps: Upper limit of optimisation steps.
            config: Network, boundary and optimisation; the arguments above override it.
            held_out: Share of the codes kept for early stopping and calibration, or such codes.
            generator: Source of all randomness; its device is where the map lives.
            log: Called with a record of the losses at each check.
            watch: Called before it with the map so far, whose constant is not set yet.
            warn: Whether each of the map's `warnings` is a UserWarning as well.

        Raises:
            UserError: no map can be fitted to these codes, or with these settings; the sentence
                says why.
        """
        given = {"boundary": boundary, "levels": levels, "steps": steps}
        config = replace(
            config or MapConfig(),
            **{name: value for name, value in given.items() if value is not None},
        )
        means = as_array(means)
        if config.z_real == "means":
            log_variances = None
        codes, found = as_codes(means, log_variances)
        train, test = _parts(codes.to(generator.device), held_out, generator)
        fitted = cls.fit_checked(
            train,
            test,
            config,
            shape=tuple(means.shape[1:]),
            warnings=tuple(found),
            generator=generator,
            log=log,
            watch=watch,
        )
        for warning in fitted.warnings if warn else ():
            warnings.warn(warning, stacklevel=3)  # points at the caller: `fit` is checked
        return fitted

    @classmethod
    @checked
    def fit_checked(
        cls,
        train: Codes,
        held_out: Codes,
        config: MapConfig,
        *,
        shape: tuple[int, ...],
        warnings: tuple[str, ...] = (),
        generator: torch.Generator,
        log: Callable[[dict[str, float]], None] | None = None,
        watch: "Callable[[LatentMap], None] | None" = None,
    ) -> "LatentMap":
        """Fit the map of codes that `as_codes` has checked, or of a sample of them.

        Arguments:
            train, held_out: On the generator's device.
            config: Network, boundary and optimisation.
            shape: Of one code.
            warnings: What is known of the codes, for the map's `warnings`.
            generator, log, watch: As for `fit`.

        Raises:
            UserError: as for `fit_density_ratio`.
        """
        look = None if watch is None else lambda so_far: watch(cls(*so_far[:4], shape=shape))
        parts = fit_density_ratio(
            train, held_out, config, shape=shape, generator=generator, log=log, watch=look
        )
        sphere = sphere_of(train)
        if sphere is not None:
            warnings += (
                f"the codes lie on a sphere of radius {sphere:.3g}; paths and draws are put back "
                "onto it",
            )
        return cls(*parts[:4], shape=shape, warnings=(*warnings, *parts.warnings), sphere=sphere)

    @classmethod
    @checked
    def from_network(
        cls,
        network: LatentDiscriminator,
        held_out: Codes,
        *,
        shape: tuple[int, ...] | None = None,
        generator: torch.Generator,
    ) -> "LatentMap":
        """The map of a D_z that was trained against the prior, calibrated on held-out codes."""
        boundary = PriorBoundary(held_out.means.shape[1])
        parts = calibrated_ratio(Ensemble([network]), held_out, boundary, generator=generator)
        return cls(*parts[:4], shape=shape)

    @checked
    def save(self, path: Path) -> None:
        """Write the map as one safetensors file."""
        member, sizes = self.network.members[0], {}
        mixture = getattr(member, "mixture", None)
        assert mixture is None or isinstance(mixture, MixtureReference)
        if isinstance(member, WideDiscriminator):
            sizes = {"leading": member.axes.shape[1], "null": member.null.shape[1]}
            sizes["shared_scale"] = member.shared_scale
            member = member.learned
            sizes["learned"] = len(member.mean)
        elif isinstance(member, SpatialDiscriminator):
            sizes = {"low": member.field.low}
        assert isinstance(member, Discriminator)
        about = {
            "format": FORMAT,
            "boundary": self.boundary.name,
            "dimension": self.dimension,
            "shape": self.shape,
            "width": member.norm.normalized_shape[0],
            "depth": len(member.blocks),
            "ensemble_size": len(self.network.members),
            "warnings": self.warnings,
            "calibration": self.calibration.as_json(),
            "components": 0 if mixture is None else len(mixture.means),
            "sphere": self.sphere,
            **sizes,
        }
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"boundary.{name}": value for name, value in self.boundary.tensors().items()}
        write_tensors(path, tensors | {"held_out": self._codes}, {"map": json.dumps(about)})

    @classmethod
    @checked
    def load(cls, path: Path, *, device: torch.device | str = "cpu") -> "LatentMap":
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is not a map, or of another version.
        """
        tensors, metadata = read_tensors(path, device=device)
        if "map" not in metadata:
            raise UserError(f"{path} is not a map; a run's map is its map.safetensors")
        with reading(path):
            about = json.loads(metadata["map"])
            if about.get("format") == FORMAT:
                return cls._rebuilt(TypeAdapter(About).validate_python(about), tensors, device)
        raise UserError(
            f"{path} was written by another version of latent-atlas; train the run again"
        )

    @classmethod
    def _rebuilt(
        cls, about: About, tensors: dict[str, Tensor], device: torch.device | str
    ) -> "LatentMap":
        """The map of what `save` wrote.

        Raises:
            UserError, ValueError, RuntimeError: the parts do not fit together.
        """
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "boundary": {}}
        for place, value in tensors.items():
            part, _, name = place.partition(".")
            if part in parts:
                parts[part][name] = value
        d, codes = about.dimension, tensors["held_out"]
        if codes.ndim != 2 or codes.shape[1] != d or math.prod(about.shape) != d or not len(codes):
            raise ValueError(f"held-out codes of shape {tuple(codes.shape)}, dimension {d}")
        if len(tensors) != len(parts["network"]) + len(parts["boundary"]) + 1:
            raise ValueError("a tensor belongs to none of its parts")
        network = about.network()
        network.to(device).load_state_dict(parts["network"])
        boundary = load_boundary(about.boundary, d, parts["boundary"])
        like = {name: value.shape for name, value in boundary.tensors().items()}
        if like != {name: value.shape for name, value in parts["boundary"].items()}:
            raise ValueError(f"its boundary '{about.boundary}' has other tensors")
        return cls(
            network,
            boundary,
            codes,
            Calibration.from_json(about.calibration),
            shape=about.shape,
            warnings=about.warnings,
            sphere=about.sphere,
        )

    def _changed(self, **attributes: Any) -> "LatentMap":
        """A copy of the map with other attributes."""
        other = copy.copy(self)
        vars(other).update(_sloped=None, **attributes)
        return other

    def _logit_and_slope(self, latents: Located) -> tuple[Values, Located]:
        """As for every density ratio, without autograd through D_z."""
        with torch.inference_mode(False), torch.enable_grad():
            z = latents.detach().clone().requires_grad_()
            w = self._white(z)
            logit, at_w = self._at_angle()(w.detach())
            (slope,) = torch.autograd.grad(w, z, at_w)
        return logit - self._shift, slope

    def _at_angle(self) -> Callable[[Latents], tuple[Values, Latents]]:
        """D_z at the map's angle, with its gradients."""
        if self._sloped is None:
            self._sloped = self.network.at(self._codes.new_full((1,), self.angle))
        return self._sloped

    @torch.no_grad()
    def _log_prob_held_out(self) -> Values:
        """log q of held-out real codes, or their logits without it, in ascending order."""
        level = (self.angle, self._shrinks)
        if level not in self._ranked:
            function = self.log_prob if self.has_log_prob else self.logit
            values = batched(function, self._codes, BATCH) + self._shift
            self._ranked[level] = values.sort().values
        return self._ranked[level] - self._shift

    def _log_boundary(self, latents: Located) -> Values:
        """log r(z) in nats at the map's level, shape (n,); errors as for `log_prob`."""
        if not self.has_log_prob:
            raise UserError(
                f"boundary '{self.boundary.name}' has no log-density for real codes, so log_prob "
                f"and score have no values ({self.boundary.warning}), and no path or sample "
                "can be measured by it; `latent-atlas map` draws realness and confusion, a fit by "
                "--boundary prior gives paths and samples too, and Walk(ratio=this map) walks by "
                "this one on such a map"
            )
        return self._r.log_prob(self._rows(latents))

    def _white(self, latents: Located) -> Latents:
        """Codes in the coordinates of D_z, shrunk to the noise level where the map is `noised`."""
        w = self.whiten(latents)
        return math.cos(self.angle) * w if self._shrinks else w

    def _rows(self, latents: Located) -> Latents:
        """Codes as rows (n, d), on the map's device and in its precision."""
        return latents.flatten(1).to(self._codes)

    def _checked_codes(self, latents: ArrayLike) -> Located:
        """Codes as rows, or in the map's own shape; errors as for `log_prob`."""
        codes = as_floats(latents)
        if codes.ndim < 2 or tuple(codes.shape[1:]) not in (self.shape, (self.dimension,)):
            sides = ", ".join(map(str, self.shape))
            raise UserError(
                f"codes of this map have shape (n, {sides}); these have {tuple(codes.shape)}"
            )
        return codes


def _parts(
    codes: Codes, held_out: float | Codes, generator: torch.Generator
) -> tuple[Codes, Codes]:
    """Codes to train on, and held-out codes."""
    if isinstance(held_out, Codes):
        test, _ = as_codes(held_out.means, held_out.log_variances, at_least=1)
        if test.means.shape[1] != codes.means.shape[1]:
            raise UserError(
                f"held-out codes have {test.means.shape[1]} coordinates, the others "
                f"{codes.means.shape[1]}; give codes of one encoder"
            )
        return codes, test.to(generator.device)
    if not 0 < held_out < 1:
        raise UserError(f"held_out is {held_out}; choose a share between 0 and 1, or give codes")
    return codes.split(held_out, generator=generator)
