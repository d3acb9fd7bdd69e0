"""What a density is.

Paths, samples and anomaly scores ask two questions of a code z: how likely is it, `log_prob`, and
in which direction does that grow, `score`. A `DensityRatioModel` is a density known through a
discriminator, and answers the discriminator's own questions as well.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.errors import UserError, check_methods, checked
from latent_atlas.shapes import ArrayLike, Latents, Located, Values, as_rows, converts

__all__ = [
    "Density",
    "DensityRatioModel",
    "Divergence",
    "ExactRatio",
    "SamplableDensity",
    "StandardNormal",
    "denoise",
    "entropy",
    "gradient",
    "noise_width",
    "on_sphere",
    "value_and_gradient",
]

# Methods of densities and density ratios whose first argument is codes.
OF_CODES = (
    "log_prob",
    "score",
    "log_prob_and_score",
    "responsibilities",
    "whiten",
    "unwhiten",
    "logit",
    "energy",
    "logit_and_log_prob",
    "calibrated_logit",
    "realness",
    "confusion",
    "realness_gradient",
    "log_realness_gradient",
    "of_rest",
    "uncertainty",
    "typicality",
    "penalty",
    "accepts",
)
# Methods of theirs whose arguments are numbers and generators.
OF_NUMBERS = ("sample", "sample_boundary", "threshold", "noised", "kl_to_prior")
DRAWS = 10_000  # from which the threshold of a density that can be sampled is measured


def gradient(function: Callable[[Tensor], Tensor], latents: Located) -> Located:
    """Gradient of a per-code function, also inside `no_grad` and `inference_mode`.

    Arguments:
        function: Maps (n, d) to (n,), each value depending on its own row only.
        latents: Codes, shape (n, d).

    Returns:
        The gradient of each value with respect to its row, shape (n, d), detached.
    """
    return value_and_gradient(function, latents)[1]


def value_and_gradient(
    function: Callable[[Tensor], Tensor], latents: Located
) -> tuple[Values, Located]:
    """The values (n,) of a per-code function, detached, and its `gradient`, in one evaluation."""
    # A tensor made in inference mode cannot enter autograd, so the clone is made outside of it.
    with torch.inference_mode(False), torch.enable_grad():
        z = latents.detach().clone().requires_grad_()
        value = function(z)
        (slope,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), slope


def noise_width(width: float) -> float:
    """The same standard deviation of noise, if it is one.

    Raises:
        UserError: it is negative.
    """
    if width < 0:
        raise UserError(f"the noise width is {width}; choose 0 or more")
    return width


def entropy(logit: Values) -> Values:
    """Binary entropy of sigmoid(l) in bits, in [0, 1], shape (n,), for logits of any size."""
    real = torch.sigmoid(logit)
    return (real * F.softplus(-logit) + (1 - real) * F.softplus(logit)) / math.log(2)


class _Missing:
    """Stands where a subclass has to set an attribute; reading it from an instance says so."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object | None, owner: type) -> "_Missing":
        if instance is None:
            return self
        raise UserError(
            f"{owner.__name__} does not set `{self.name}`, the number of coordinates of a code; "
            f"set `self.{self.name}` in its __init__"
        )


class Density(ABC):
    """A density on the latent space, normalised or known up to a constant.

    Methods of codes take any array-like of shape (n, d), of subclasses as well; a subclass is
    handed tensors of floats.

    Attributes:
        dimension: d, the number of coordinates of a code; every subclass sets it.
        has_log_prob: Whether `log_prob` and `score` have values; False for a density ratio whose
            reference density is unknown.
        noise_levels: Whether `noised` accepts a width above 0.
        sphere: Radius of the sphere round the origin that all codes lie on, to which paths and
            draws are moved; None for codes that lie anywhere.
    """

    dimension: int = cast("int", _Missing())
    has_log_prob: bool = True
    noise_levels: bool = False
    sphere: float | None = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Have the methods that a subclass defines take array-likes."""
        super().__init_subclass__(**keywords)
        converts(OF_CODES, cls)
        check_methods(OF_NUMBERS, cls)

    def _checked_codes(self, latents: ArrayLike) -> Located:
        """The codes as a tensor.

        Raises:
            UserError: they are no numbers, or not of this density.
        """
        return as_rows(latents, self.dimension)

    @abstractmethod
    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats of each code, shape (n,), differentiable in `latents`.

        Raises:
            UserError: the codes are no numbers, or have not the shape (n, d).
        """

    def score(self, latents: Located) -> Located:
        """Gradient of `log_prob` at each code, shape (n, d), by autograd unless overridden."""
        return gradient(self.log_prob, latents)

    def log_prob_and_score(self, latents: Located) -> tuple[Values, Located]:
        """`log_prob` (n,) and `score` (n, d), detached; one evaluation where one is enough."""
        with torch.no_grad():
            log_prob = self.log_prob(latents)
        return log_prob, self.score(latents)

    def of_rest(self, latents: Located) -> tuple[Values, Values] | None:
        """What is known of codes beyond their leading coordinates; None where all are leading.

        Returns:
            Log-density in nats of the rest, up to a constant, and its length in standard deviations
            of a coordinate, shape (n,) each.
        """
        return None

    def noised(self, width: float) -> "Density":
        """The density of z + width · eps, eps ~ N(0, I), in the coordinates of `whiten`.

        A score knows nothing of a cluster beyond an empty region; that of a noised density does.

        Arguments:
            width: Standard deviation of the noise, 0 or more.

        Raises:
            UserError: this density has no noise levels, or the width is negative.
        """
        if noise_width(width) > 0:
            raise UserError(f"{type(self).__name__} has no noise levels; choose a width of 0")
        return self

    def threshold(self, share: float, *, generator: torch.Generator | None = None) -> float | None:
        """The log-density in nats under which a share of the distribution lies.

        Arguments:
            share: In [0, 1].
            generator: Draws the samples that it is measured on, where it is measured on samples.

        Returns:
            The threshold; None where neither held-out codes nor samples can tell.
        """
        return None

    def whiten(self, latents: Latents) -> Latents:
        """Codes in the coordinates in which `noised` adds noise, shape (n, d); z itself by default.

        The map is affine.
        """
        return latents

    def unwhiten(self, latents: Latents) -> Latents:
        """The inverse of `whiten`, shape (n, d)."""
        return latents


converts(OF_CODES, Density)  # its own defaults
check_methods(OF_NUMBERS, Density)


@dataclass(frozen=True)
class Divergence:
    """A Kullback-Leibler divergence in nats.

    Attributes:
        nats: Its value.
        error: Standard error of an estimate in nats; 0 where the value is exact.
    """

    nats: float
    error: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether the value is a closed form and not an estimate."""
        return self.error == 0


class SamplableDensity(Density):
    """A density that can be sampled."""

    @abstractmethod
    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d), on the generator's device."""

    @torch.no_grad()
    def threshold(self, share: float, *, generator: torch.Generator | None = None) -> float | None:
        """The quantile of the log-density of 10,000 samples; None without a generator."""
        if generator is None:
            return None
        log_prob = self.log_prob(self.sample(DRAWS, generator=generator))
        return torch.quantile(log_prob, share).item()

    def kl_to_prior(self, *, generator: torch.Generator, samples: int = 50_000) -> Divergence:
        """KL(q || p) = E_q[log q(z) - log p(z)] to the prior p = N(0, I).

        It is the mean over samples, in float64, unless a closed form is given.

        Arguments:
            generator: Draws the codes; unused by a closed form.
            samples: Number of samples, 2 or more; the error falls as 1 / sqrt(samples).

        Returns:
            The divergence in nats, with its standard error.
        """
        # In float32 the rounding of two numbers near -d would hide a small divergence; mps has no
        # float64.
        z = self.sample(samples, generator=generator).to("cpu").double()
        ratio = self.log_prob(z) - StandardNormal(self.dimension).log_prob(z)
        return Divergence(ratio.mean().item(), ratio.std().item() / math.sqrt(samples))


class StandardNormal(SamplableDensity):
    """The prior p(z) = N(0, I).

    Examples:
        >>> StandardNormal(2).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    @checked
    def __init__(self, dimension: int) -> None:
        """Arguments: dimension, d, is 1 or more."""
        self.dimension = dimension

    def log_prob(self, latents: Latents) -> Values:
        """log p(z) = -|z|² / 2 - d / 2 log 2π."""
        return -0.5 * latents.square().sum(dim=1) - 0.5 * self.dimension * math.log(2 * math.pi)

    def score(self, latents: Latents) -> Latents:
        """grad log p(z) = -z."""
        return -latents

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d), on the generator's device."""
        return torch.randn(n, self.dimension, generator=generator, device=generator.device)


def denoise(density: Density, latents: Latents, width: float) -> Latents:
    """E[code | code + width · L eps = z] = z + width² L Lᵀ grad log q_width(z), shape (n, d).

    L maps the coordinates of `whiten`, which `noised` adds noise in, to those of codes.

    References:
        Tweedie's formula: An Empirical Bayes Approach to Statistics, Robbins 1956.

    Raises:
        UserError: as for `Density.noised`.
    """
    identity = torch.eye(latents.shape[1]).to(latents)
    axes = density.unwhiten(identity) - density.unwhiten(torch.zeros_like(identity))
    scores = density.noised(width).score(latents)
    return latents + width**2 * (scores @ axes.T) @ axes


def on_sphere(points: Tensor, radius: float) -> Tensor:
    """The points (..., d) of the sphere round the origin that are nearest to those given."""
    return radius * F.normalize(points, dim=-1)


class DensityRatioModel(Density):
    r"""A density q known by its ratio to a boundary r: D(z) = sigmoid(l(z)), l = log q - log r.

    Label convention: samples of the data distribution q are real (1), boundary samples fake (0).

    References:
        Generative Adversarial Networks, Goodfellow et al. 2014, proposition 1: D* = q / (q + r).

    Attributes:
        boundary: r.
    """

    boundary: SamplableDensity

    @abstractmethod
    def logit(self, latents: Located) -> Values:
        """l(z), shape (n,), in nats, differentiable in `latents`."""

    def sample_boundary(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes of the boundary r, shape (n, d), on the generator's device."""
        return self.boundary.sample(n, generator=generator)

    def energy(self, latents: Located) -> Values:
        """E(z) = -log q(z) in nats, shape (n,)."""
        return -self.log_prob(latents)

    def logit_and_log_prob(self, latents: Located) -> tuple[Values, Values]:
        """l(z) and log q(z) in nats, shape (n,) each; one evaluation where one is enough."""
        return self.logit(latents), self.log_prob(latents)

    def calibrated(self, logit: Values) -> Values:
        """The logit behind realness and confusion, shape (n,): l(z), or l(z) calibrated."""
        return logit

    def calibrated_logit(self, latents: Located) -> Values:
        """`calibrated` l(z), shape (n,)."""
        return self.calibrated(self.logit(latents))

    def realness(self, latents: Located) -> Values:
        """D(z) in [0, 1], shape (n,): 1/2 where q = r."""
        return torch.sigmoid(self.calibrated_logit(latents))

    def confusion(self, latents: Located) -> Values:
        """Binary entropy of D(z) in bits, in [0, 1], shape (n,): 1 where D(z) = 1/2."""
        return entropy(self.calibrated_logit(latents))

    def realness_gradient(self, latents: Located) -> Located:
        """grad D(z) = D (1 - D) grad l, shape (n, d)."""
        return self._gradient_of(torch.sigmoid, latents)

    def log_realness_gradient(self, latents: Located) -> Located:
        """grad log D(z) = (1 - D) grad l, shape (n, d).

        This is not the score: it lacks grad log r, and vanishes where D approaches 1.
        """
        return self._gradient_of(F.logsigmoid, latents)

    def _gradient_of(self, function: Callable[[Values], Values], latents: Located) -> Located:
        """The gradient of a function of the `calibrated` l(z), of the codes' shape."""
        logit, slope = self._logit_and_slope(latents)
        rate = gradient(lambda raw: function(self.calibrated(raw)), logit)
        return rate.to(slope).view(-1, *[1] * (slope.ndim - 1)) * slope

    def _logit_and_slope(self, latents: Located) -> tuple[Values, Located]:
        """l(z), shape (n,), and its gradient, of the codes' shape."""
        return value_and_gradient(self.logit, latents)


class ExactRatio(DensityRatioModel):
    """The optimal discriminator between two known densities."""

    @checked
    def __init__(self, population: Density, boundary: SamplableDensity) -> None:
        """Arguments: population is q, boundary is r; both normalised."""
        self.population = population
        self.boundary = boundary
        self.dimension = population.dimension

    def logit(self, latents: Latents) -> Values:
        """l*(z) = log q(z) - log r(z)."""
        return self.logit_and_log_prob(latents)[0]

    def logit_and_log_prob(self, latents: Latents) -> tuple[Values, Values]:
        """l*(z) and log q(z), by one evaluation of q."""
        log_prob = self.population.log_prob(latents)
        return log_prob - self.boundary.log_prob(latents), log_prob

    def log_prob(self, latents: Latents) -> Values:
        """log q(z)."""
        return self.population.log_prob(latents)

    def score(self, latents: Latents) -> Latents:
        """grad log q(z)."""
        return self.population.score(latents)

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """log q(z) and its gradient."""
        return self.population.log_prob_and_score(latents)

    def threshold(self, share: float, *, generator: torch.Generator | None = None) -> float | None:
        """That of q."""
        return self.population.threshold(share, generator=generator)
