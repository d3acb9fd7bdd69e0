"""Baselines that do not use the density: the prior, and densities fitted to real codes afterwards.

References:
    From Variational to Deterministic Autoencoders, Ghosh et al. 2020, for ex-post density
    estimation.
"""

import importlib.util
import math
import warnings
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from latent_atlas.density.base import Density
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.errors import UserError, checked
from latent_atlas.progress import steps
from latent_atlas.sampling.base import Sampler, SamplerInfo, Samples, check_least, checked_codes
from latent_atlas.sampling.target import Target
from latent_atlas.shapes import ArrayLike, batched

__all__ = ["Flow", "Mixture", "Prior"]

RATE, BATCH = 1e-3, 512  # of the flow's optimiser


@checked
@dataclass(frozen=True)
class Prior(Sampler):
    """The prior N(0, I), whatever the density is."""

    name: ClassVar[str] = "prior"
    uses_density: ClassVar[bool] = False

    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes of N(0, I)."""
        points = torch.randn(n, target.dimension, generator=generator, device=generator.device)
        return Samples(points, SamplerInfo(sampler=self.name))


@checked
@dataclass(frozen=True)
class Fitted(Sampler):
    """A baseline that is fitted to real codes.

    Attributes:
        codes: Real codes, shape (m, d).
    """

    uses_density: ClassVar[bool] = False
    codes: ArrayLike | None = field(default=None, compare=False, repr=False)

    def wants_codes(self, density: Density) -> bool:
        """The baseline needs codes."""
        return self.codes is None

    def _codes(self, dimension: int, least: int) -> Tensor:
        """The codes to fit, at least `least` of them.

        Raises:
            UserError: there are none, or they do not fit the density.
        """
        if self.codes is None:
            raise UserError(
                f"sampler '{self.name}' is fitted to real codes, and none were given; pass "
                f"{type(self).__name__}(codes=...)"
            )
        return checked_codes(self.codes, dimension, least)


@checked
@dataclass(frozen=True)
class Mixture(Fitted):
    """A Gaussian mixture with full covariances, fitted to real codes by expectation maximisation.

    Attributes:
        components: Number of Gaussians, 1 or more.
        codes: Real codes, shape (m, d), m at least the number of components.
    """

    name: ClassVar[str] = "mixture"
    components: int = 10

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: there are no components.
        """
        check_least(1, components=self.components)

    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes of the fitted mixture.

        Raises:
            UserError: there are too few codes, or they do not fit the density.
        """
        # Imported here, since loading it takes a second.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Estimator

        codes = self._codes(target.dimension, self.components)
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        fitted = Estimator(self.components, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # any stopping point is a density
            fitted.fit(codes.cpu().double().numpy())
        weights, means, covariances = map(
            torch.from_numpy, (fitted.weights_, fitted.means_, fitted.covariances_)
        )
        parts = (weights, means, torch.linalg.cholesky(covariances))
        gaussians = GaussianMixture(*(part.to(codes) for part in parts))
        return Samples(gaussians.sample(n, generator=generator), SamplerInfo(sampler=self.name))


@checked
@dataclass(frozen=True)
class Flow(Fitted):
    """A neural spline flow, fitted to standardised real codes by maximum likelihood.

    References:
        Neural Spline Flows, Durkan et al. 2019.

    Attributes:
        training: Optimiser steps of 512 codes each, 1 or more.
        hidden: Width of the two hidden layers of each of its four transformations, 1 or more.
        codes: Real codes, shape (m, d), m of 2 or more.
    """

    name: ClassVar[str] = "flow"
    training: int = 2_000
    hidden: int = 128

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: one of them is too small.
        """
        check_least(1, training=self.training, hidden=self.hidden)

    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes of the fitted flow.

        Raises:
            UserError: zuko is not installed, or the codes are too few or do not fit the density.
        """
        if importlib.util.find_spec("zuko") is None:
            raise UserError(
                "sampler 'flow' needs zuko; pip install latent-atlas[flow], or choose another "
                "sampler"
            )
        codes = self._codes(target.dimension, 2).float()
        scale, mean = torch.std_mean(codes, dim=0)
        network = self._trained((codes - mean) / scale.clamp_min(1e-6), generator)
        noise = torch.randn(n, target.dimension, generator=generator, device=generator.device)
        with torch.no_grad():
            points = batched(network().transform.inv, noise, BATCH)
        return Samples(mean + scale * points, SamplerInfo(sampler=self.name))

    def _trained(self, codes: Tensor, generator: torch.Generator) -> nn.Module:
        """The flow, trained on codes of mean 0 and variance 1."""
        network = self._untrained(codes.shape[1], generator).to(codes.device)
        with torch.inference_mode(False), torch.enable_grad():
            codes = codes.clone()
            optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda k: 0.5 * (1 + math.cos(math.pi * k / self.training))
            )
            for _ in steps("flow", range(self.training)):
                rows = torch.randint(
                    len(codes), (BATCH,), generator=generator, device=generator.device
                )
                loss = -network().log_prob(codes[rows]).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                schedule.step()
        return network.requires_grad_(False)

    def _untrained(self, dimension: int, generator: torch.Generator) -> nn.Module:
        """A neural spline flow with initial weights by the generator."""
        import zuko

        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = (self.hidden, self.hidden)
            return zuko.flows.NSF(dimension, transforms=4, hidden_features=widths)
