"""What one would use without a map: the prior, and densities fitted to real codes afterwards.

References:
    From Variational to Deterministic Autoencoders, Ghosh et al. 2020, for ex-post density estimation.
"""

import importlib.util
import math
import warnings

import torch
from torch import Tensor, nn

from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.errors import UserError
from latent_atlas.sampling.target import Samples, Target

__all__ = ["flow", "mixture", "prior"]

RATE, BATCH = 1e-3, 512  # of the flow's optimiser


def prior(target: Target, n: int, *, generator: torch.Generator) -> Samples:
    """N(0, I), whatever the density is."""
    return Samples(
        torch.randn(n, target.dimension, generator=generator, device=generator.device), {}
    )


def mixture(
    target: Target, n: int, *, codes: Tensor, components: int = 10, generator: torch.Generator
) -> Samples:
    """A mixture of Gaussians of full covariance, by expectation maximisation on real codes, whatever the density is.

    Arguments:
        target: Only its dimension matters.
        n: How many draws.
        codes: Real ones, shape (m, d); m is at least the number of components.
        components: Gaussians, 1 or more.
        generator: Source of all randomness.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Estimator  # here: loading it takes a second

    _check_codes(codes, target.dimension, components)
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    fitted = Estimator(components, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # where it stopped is a density as good as any
        fitted.fit(codes.cpu().double().numpy())
    weights, means, covariances = map(
        torch.from_numpy, (fitted.weights_, fitted.means_, fitted.covariances_)
    )
    gaussians = GaussianMixture(
        *(part.to(codes) for part in (weights, means, torch.linalg.cholesky(covariances)))
    )
    return Samples(gaussians.sample(n, generator=generator), {"components": float(components)})


def flow(
    target: Target,
    n: int,
    *,
    codes: Tensor,
    training: int = 2_000,
    hidden: int = 128,
    generator: torch.Generator,
) -> Samples:
    """A neural spline flow, by maximum likelihood on standardised real codes, whatever the density is.

    References:
        Neural Spline Flows, Durkan et al. 2019.

    Arguments:
        target: Only its dimension matters.
        n: How many draws.
        codes: Real ones, shape (m, d); m is 2 or more.
        training: Steps of 512 codes, 1 or more.
        hidden: Width of the two hidden layers of each of its four transformations.
        generator: Source of all randomness.

    Raises:
        UserError: zuko, which has the flow, is not installed.
    """
    if importlib.util.find_spec("zuko") is None:
        raise UserError(
            "sampler 'flow' needs zuko; pip install latent-atlas[flow], or choose another sampler"
        )
    _check_codes(codes, target.dimension, 2)
    scale, mean = torch.std_mean(codes, dim=0)
    network = _trained_flow((codes - mean) / scale.clamp_min(1e-6), training, hidden, generator)
    noise = torch.randn(n, target.dimension, generator=generator, device=generator.device)
    with torch.no_grad():
        points = torch.cat([network().transform.inv(part) for part in noise.split(BATCH)])
    return Samples(mean + scale * points, {"training": float(training)})


def _trained_flow(codes: Tensor, steps: int, hidden: int, generator: torch.Generator) -> nn.Module:
    """The flow that has learned codes of mean 0 and variance 1."""
    import zuko

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(
            int(torch.randint(2**62, (), generator=generator, device=generator.device))
        )
        network = zuko.flows.NSF(codes.shape[1], transforms=4, hidden_features=(hidden, hidden))
    network.to(codes.device)
    with torch.inference_mode(False), torch.enable_grad():
        codes = codes.clone()
        optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda k: 0.5 * (1 + math.cos(math.pi * k / steps))
        )
        for _ in range(steps):
            rows = torch.randint(len(codes), (BATCH,), generator=generator, device=generator.device)
            loss = -network().log_prob(codes[rows]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    return network.requires_grad_(False)


def _check_codes(codes: Tensor, dimension: int, least: int) -> None:
    """One sentence where nothing can be fitted to the codes."""
    if (
        codes.ndim != 2
        or codes.shape[1] != dimension
        or len(codes) < least
        or not codes.isfinite().all()
    ):
        raise UserError(
            f"real codes to fit are finite and of shape (m, {dimension}), m {least} or more; these have shape "
            f"{tuple(codes.shape)}"
        )
