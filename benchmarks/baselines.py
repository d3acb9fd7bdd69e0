"""The density estimators one would otherwise pick, each behind one function: kernels, a Gaussian mixture, a flow.

Every fit reads training codes, chooses by held-out codes (the mixture by BIC) and keeps to a budget of seconds.
What comes back is a normalised `Density`, so a benchmark puts it beside a map and cannot tell which is which.
Evaluate them on a third set of codes, since held-out codes took part in the fit.

    python benchmarks/baselines.py                # checks all three on worlds whose density is known, about 2 minutes
    python benchmarks/baselines.py --dimension 16
"""

import argparse
import copy
import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import zuko
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from latent_atlas.density.base import Density
from latent_atlas.density.toys import two_clusters
from latent_atlas.nn.init import initial_weights
from latent_atlas.shapes import Latents, Values

__all__ = [
    "Fitted",
    "Flow",
    "KernelDensity",
    "Mixture",
    "fit_flow",
    "fit_gaussian_mixture",
    "fit_kde",
]

HELD_OUT = 5_000  # codes that choose at most: enough for 0.02 nats in 2 dimensions, and soon read


class Fitted(Density):
    """A normalised density that was fitted to codes.

    Attributes:
        about: What was chosen, what was tried and the seconds spent, ready for `record`.
    """

    about: dict[str, Any]

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats of each code, shape (n,), in pieces that fit in memory."""
        return torch.cat([self._log_prob(part) for part in latents.split(1024)])

    def score(self, latents: Latents) -> Latents:
        """Gradient of `log_prob`, shape (n, d), in the same pieces: autograd remembers one at a time."""
        return torch.cat([super(Fitted, self).score(part) for part in latents.split(1024)])

    @abstractmethod
    def _log_prob(self, latents: Latents) -> Values:
        """`log_prob` of at most 1,024 codes."""


class KernelDensity(Fitted):
    r"""q(z) = 1/m Σ_i N(z; c_i, h² A Aᵀ): a Gaussian kernel of bandwidth h and shape A at each centre c_i."""

    def __init__(self, centres: Latents, shape: Tensor, bandwidth: float) -> None:
        """Arguments: centres (m, d), shape (d, d) is A, lower triangular with a positive diagonal; bandwidth is h."""
        self.dimension = centres.shape[1]
        self.bandwidth = bandwidth
        self.middle = centres.mean(
            dim=0
        )  # distances are expanded into squares, which cancel badly far from 0
        self.whiten = torch.linalg.inv(shape).T
        self.centres = (centres - self.middle) @ self.whiten
        self.log_volume = float(shape.diagonal().log().sum())

    def squares(self, latents: Latents) -> Tensor:
        """|A⁻¹ (z - c_i)|², shape (n, m)."""
        u = (latents - self.middle) @ self.whiten
        c = self.centres
        return u.square().sum(dim=1, keepdim=True) + c.square().sum(dim=1) - 2 * u @ c.T

    def log_kernels(self, squares: Tensor, bandwidth: float) -> Values:
        """log q(z) from the squares (n, m), shape (n,)."""
        log_volume = self.log_volume + self.dimension * (
            math.log(bandwidth) + 0.5 * math.log(2 * math.pi)
        )
        return (
            (squares * (-0.5 / bandwidth**2)).logsumexp(dim=1)
            - log_volume
            - math.log(len(self.centres))
        )

    def _log_prob(self, latents: Latents) -> Values:
        return self.log_kernels(self.squares(latents), self.bandwidth)


class Mixture(Fitted):
    r"""q(z) = Σ_k w_k N(z; m_k, Σ_k), with Σ_k⁻¹ = P_k P_kᵀ."""

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        """Arguments: weights (k,) sum to 1, means (k, d), factors (k, d, d) are P_k, triangular."""
        self.dimension = means.shape[1]
        self.means = means
        self.factors = factors
        log_volumes = 0.5 * self.dimension * math.log(2 * math.pi) - _diagonals(factors).log().sum(
            dim=1
        )
        self.log_weights = weights.log() - log_volumes

    def _log_prob(self, latents: Latents) -> Values:
        away = latents[:, None] - self.means
        squares = torch.einsum("nkd,kde->nke", away, self.factors).square().sum(dim=2)
        return (self.log_weights - 0.5 * squares).logsumexp(dim=1)


class Flow(Fitted):
    """q(z) = f((z - m) / s) / Π s: a normalising flow f on standardised codes."""

    def __init__(self, network: nn.Module, means: Tensor, scales: Tensor) -> None:
        """Arguments: network returns the distribution f when called; means and scales (d,) standardise."""
        self.dimension = len(means)
        self.network = network
        self.means = means
        self.scales = scales
        self.log_volume = float(scales.log().sum())

    def _log_prob(self, latents: Latents) -> Values:
        return self.network().log_prob((latents - self.means) / self.scales) - self.log_volume


def fit_kde(
    train: Latents,
    held_out: Latents,
    *,
    seconds: float,
    generator: torch.Generator,
    centres: int = 10_000,
) -> KernelDensity:
    """A Gaussian kernel at each of many codes, its shape and bandwidth chosen by held-out likelihood.

    The kernel is round, or shaped as the covariance of the codes; the bandwidths stand around Scott's m^(-1 / (d + 4)),
    from a twentieth to twice of it. Held-out codes are read until there are no more or the time is out, and after each
    piece the worse half of the candidates is dropped, down to six.

    References:
        Density Estimation for Statistics and Data Analysis, Silverman 1986, chapters 3 and 4.
        Multivariate Density Estimation, Scott 1992.

    Arguments:
        train: Codes to put kernels at, shape (n, d).
        held_out: Codes that choose, shape (m, d).
        seconds: Budget; one piece of held-out codes is read whatever it says.
        generator: Draws the centres, on the codes' device.
        centres: The most kernels; every evaluation meets all of them.
    """
    budget = _Budget(seconds)
    kept = _some(train, centres, generator)
    d = kept.shape[1]
    spread = kept.T.cov().reshape(d, d)
    round_shape = (
        torch.eye(d, device=kept.device) * spread.diagonal().mean().clamp_min(1e-12).sqrt()
    )
    shapes = {
        "round": round_shape,
        "covariance": torch.linalg.cholesky(spread + 1e-6 * round_shape.square()),
    }
    candidates = {name: KernelDensity(kept, shape, 1.0) for name, shape in shapes.items()}
    scott = len(kept) ** (-1 / (d + 4))
    likely = {(name, scott * 40 ** (i / 23) / 20): 0.0 for name in shapes for i in range(24)}
    read = 0
    with torch.no_grad():
        for part in _some(held_out, HELD_OUT, generator).split(256):
            before = budget.spent
            squares = {name: kernels.squares(part) for name, kernels in candidates.items()}
            for name, h in likely:
                likely[name, h] += float(candidates[name].log_kernels(squares[name], h).sum())
            read += len(part)
            if budget.left < budget.spent - before:
                break
            best_first = sorted(likely, key=lambda choice: likely[choice], reverse=True)
            likely = {choice: likely[choice] for choice in best_first[: max(6, len(likely) // 2)]}
    name, bandwidth = max(likely, key=lambda choice: likely[choice])
    chosen = KernelDensity(kept, shapes[name], bandwidth)
    chosen.about = {
        "estimator": "kernels",
        "shape": name,
        "bandwidth": bandwidth,
        "bandwidth over Scott's": bandwidth / scott,
        "centres": len(kept),
        "held-out codes read": read,
        "held-out log-likelihood": likely[name, bandwidth] / read,
        "seconds": budget.spent,
    }
    return chosen


def fit_gaussian_mixture(
    train: Latents,
    held_out: Latents,
    *,
    seconds: float,
    generator: torch.Generator,
    components: Sequence[int] = (1, 2, 5, 10, 20, 50),
    codes: int = 50_000,
) -> Mixture:
    """Gaussians of full covariance by expectation maximisation, their number chosen by BIC.

    Numbers are tried in the order given, until the next would not fit into the time; a fit that time cuts short is
    still a density, and stays in the choice. BIC charges d (d + 3) / 2 + 1 parameters for every Gaussian, so `about`
    tells the held-out likelihood of every number tried as well: give one number in `components` to have that one.

    References:
        Estimating the Dimension of a Model, Schwarz 1978.

    Arguments:
        train: Codes to fit, shape (n, d).
        held_out: Codes that are reported on and choose nothing, shape (m, d).
        seconds: Budget; the first number is fitted whatever it says.
        generator: Draws codes and starts, on the codes' device.
        components: How many Gaussians, in ascending order.
        codes: The most codes to fit; more are drawn from.
    """
    budget = _Budget(seconds)
    learning = _some(train, codes, generator).double().cpu().numpy()
    checked = _some(held_out, HELD_OUT, generator).double().cpu().numpy()
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    tried: dict[int, dict[str, Any]] = {}
    fits: dict[int, GaussianMixture] = {}
    first_round = previous = 0.0
    for k in components:
        if tried and budget.left < first_round * k / previous:
            break
        # Rounds of a few iterations: scikit-learn cannot be interrupted, but goes on from where it stopped.
        fit = GaussianMixture(k, max_iter=5, warm_start=True, random_state=seed)
        first_round, previous = _maximise(fit, learning, budget), k
        fits[k] = fit
        tried[k] = {
            "BIC": float(fit.bic(learning)),
            "held-out log-likelihood": float(fit.score(checked)),
            "converged": bool(fit.converged_),
        }
    k = min(tried, key=lambda k: tried[k]["BIC"])
    parts = (fits[k].weights_, fits[k].means_, fits[k].precisions_cholesky_)
    chosen = Mixture(*(torch.from_numpy(part).to(train) for part in parts))
    chosen.about = {
        "estimator": "Gaussian mixture",
        "components": k,
        "codes": len(learning),
        "tried": tried,
        "seconds": budget.spent,
    }
    return chosen


def _maximise(fit: GaussianMixture, codes: Any, budget: "_Budget") -> float:
    """Expectation maximisation until it converges or the next round would be late; returns the first's seconds."""
    first = 0.0
    while True:
        before = budget.spent
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit.fit(codes)
        taken = budget.spent - before
        first = first or taken
        if fit.converged_ or budget.left < taken:
            return first


def fit_flow(
    train: Latents,
    held_out: Latents,
    *,
    seconds: float,
    generator: torch.Generator,
    transforms: int = 4,
    width: int = 128,
    batch_size: int = 512,
    learning_rate: float = 1e-3,
    patience: float = 0.3,
) -> Flow:
    """A neural spline flow by maximum likelihood, with the weights that were best on held-out codes.

    The learning rate falls as a half cosine of the share of time spent, to 0 when all is spent; so the number of steps
    depends on the machine, and one seed gives the same flow only nearly. As in `fit_ratio`, the weights that are checked and
    kept are running averages. Checks take at most a tenth of the time.

    References:
        Neural Spline Flows, Durkan et al. 2019.

    Arguments:
        train: Codes to fit, shape (n, d).
        held_out: Codes that decide when to stop, shape (m, d).
        seconds: Budget.
        generator: Source of all randomness, on the codes' device.
        transforms: How many autoregressive spline transformations.
        width: Of each of the two hidden layers of every transformation's network.
        batch_size: Codes in a step.
        learning_rate: Of Adam, at the start.
        patience: Share of the budget after which training stops when no check was better.

    Raises:
        RuntimeError: the held-out likelihood was never finite.
    """
    budget = _Budget(seconds)
    scales, means = torch.std_mean(train, dim=0)
    scales = scales.clamp_min(1e-6)
    with initial_weights(
        int(torch.randint(2**62, (), generator=generator, device=generator.device))
    ):
        network = zuko.flows.NSF(
            train.shape[1], transforms=transforms, hidden_features=(width, width)
        )
    network.to(train.device)
    # A short memory at first: over a hundred steps from the start, a run of a few hundred would check stale weights.
    average = torch.optim.swa_utils.AveragedModel(
        network, avg_fn=lambda mean, new, n: mean + (new - mean) * max(0.01, 9 / (10 + int(n)))
    )
    averaged = Flow(average.module, means, scales)
    checked = _some(held_out, HELD_OUT, generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    best, best_at, best_step, best_weights = -math.inf, 0.0, 0, network.state_dict()
    step, checked_at, check = 0, 0.0, 0.0
    while True:
        optimizer.param_groups[0]["lr"] = (
            learning_rate * 0.5 * (1 + math.cos(math.pi * min(1, budget.share)))
        )
        rows = torch.randint(len(train), (batch_size,), generator=generator, device=train.device)
        loss = -network().log_prob((train[rows] - means) / scales).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(network)
        step += 1
        over = budget.left < check
        if not over and budget.spent - checked_at < max(10 * check, seconds / 100):
            continue
        before = budget.spent
        with torch.no_grad():
            likely = float(averaged.log_prob(checked).mean())
        check, checked_at = budget.spent - before, budget.spent
        if likely > best:
            best, best_at, best_step = likely, checked_at, step
            best_weights = copy.deepcopy(average.module.state_dict())
        if over or checked_at - best_at > patience * seconds:
            break
    if not math.isfinite(best):
        raise RuntimeError(
            f"the flow's held-out likelihood was never finite in {step} steps; lower learning_rate"
        )
    network.load_state_dict(best_weights)
    chosen = Flow(network.requires_grad_(False), means, scales)
    chosen.about = {
        "estimator": "neural spline flow",
        "steps": step,
        "best step": best_step,
        "parameters": sum(p.numel() for p in network.parameters()),
        "held-out log-likelihood": best,
        "seconds": budget.spent,
    }
    return chosen


class _Budget:
    """Seconds of this thread on a processor, spent from now on: a busy machine fits the same models."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.start = time.thread_time()

    @property
    def spent(self) -> float:
        return time.thread_time() - self.start

    @property
    def left(self) -> float:
        return self.seconds - self.spent

    @property
    def share(self) -> float:
        return self.spent / self.seconds


def _some(codes: Latents, most: int, generator: torch.Generator) -> Latents:
    """At most so many codes, in random order."""
    return codes[torch.randperm(len(codes), generator=generator, device=codes.device)[:most]]


def _diagonals(matrices: Tensor) -> Tensor:
    """The diagonal of each, (k, d, d) to (k, d)."""
    return matrices.diagonal(dim1=1, dim2=2)


class Correlated(Density):
    """N(0, Σ) with Σ_ij = ρ^|i-j|: an exact world whose axes are not independent."""

    def __init__(self, dimension: int, correlation: float = 0.9) -> None:
        """Arguments: dimension, d, is 1 or more; correlation, ρ, is in (-1, 1)."""
        self.dimension = dimension
        place = torch.arange(dimension)
        covariance = correlation ** (place[:, None] - place).abs()
        self.normal = torch.distributions.MultivariateNormal(torch.zeros(dimension), covariance)

    def log_prob(self, latents: Latents) -> Values:
        """log N(z; 0, Σ)."""
        return self.normal.log_prob(latents)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d)."""
        return torch.randn(n, self.dimension, generator=generator) @ self.normal.scale_tril.T


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dimension", type=int, default=2)
    parser.add_argument("--codes", type=int, default=20_000, help="training codes")
    parser.add_argument("--seconds", type=float, default=20, help="time of each fit")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    d = given.dimension
    for name, world in (
        ("two clusters", two_clusters(d, distance=4.0)),
        ("correlated Gaussian", Correlated(d)),
    ):
        generator = torch.Generator().manual_seed(given.seed)
        train, held_out, test = (
            world.sample(n, generator=generator) for n in (given.codes, 5_000, 5_000)
        )
        exact = world.log_prob(test)
        print(f"{name}, {d} dimensions: exact {exact.mean():.3f} nats on the test codes")
        for fit in (fit_kde, fit_gaussian_mixture, fit_flow):
            fitted = fit(train, held_out, seconds=given.seconds, generator=generator)
            print(
                "   ",
                {
                    what: round(number, 4)
                    for what, number in check(fitted, world, train, test).items()
                },
            )
            print("       ", fitted.about)


def check(fitted: Fitted, world: Density, train: Latents, test: Latents) -> dict[str, float]:
    """The errors of a fitted density where the density is known.

    Returns:
        Its likelihood and what it loses to the exact one, in nats, which estimates KL(world || fitted) and is not below
        0 but for its error; its integral, by a proposal twice as wide as the codes, which must be 1; the distance
        between its score and finite differences, and between its score and the exact one, as shares of the score.
    """
    d = fitted.dimension
    with torch.no_grad():
        lost = world.log_prob(test) - fitted.log_prob(test)
    wide = torch.distributions.MultivariateNormal(
        train.mean(dim=0), 4 * train.T.cov().reshape(d, d)
    )
    noise = torch.randn(100_000, d, generator=torch.Generator().manual_seed(1))
    drawn = wide.mean + noise @ wide.scale_tril.T
    with torch.no_grad():
        integral = (fitted.log_prob(drawn) - wide.log_prob(drawn)).exp()
    places, step = test[:200], 1e-3
    score, exact = fitted.score(places), world.score(places)
    with torch.no_grad():
        differences = torch.stack(
            [
                (fitted.log_prob(places + e) - fitted.log_prob(places - e)) / (2 * step)
                for e in step * torch.eye(d)
            ],
            dim=1,
        )
    return {
        "log-likelihood": float(fitted.log_prob(test).mean()),
        "lost": float(lost.mean()),
        "error of lost": float(lost.std()) / len(lost) ** 0.5,
        "integral": float(integral.mean()),
        "error of integral": float(integral.std()) / len(integral) ** 0.5,
        "score against differences": float((score - differences).norm() / differences.norm()),
        "score against exact": float((score - exact).norm() / exact.norm()),
    }


if __name__ == "__main__":
    main()
