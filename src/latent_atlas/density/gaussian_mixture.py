"""Mixtures of Gaussians with diagonal or full covariances, and their fit to codes."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from latent_atlas.density.base import SamplableDensity, noise_width
from latent_atlas.density.moments import cholesky, extent, squared_lengths
from latent_atlas.errors import UserError, checked, require
from latent_atlas.shapes import ArrayLike, Latents, Values, as_floats, as_rows

__all__ = ["GaussianMixture", "fit_gaussian_mixture", "fit_scale_mixture"]

COMPONENTS = (1, 2, 4, 8)
# Where held-out codes choose: components; codes for each at least; and the variances that are added
# to theirs, as `LEAST_VARIANCE` is: in many coordinates each component has few codes.
MANY_COMPONENTS, CODES_EACH = (*COMPONENTS, 16, 32), 50
VARIANCES = (1e-3, 1e-2, 3e-2, 1e-1)
TOLERANCE = 2.5e-4  # nats per code and coordinate, of expectation maximisation
MOST_CODES = 20_000  # more would only cost time
# Per component and dimension: with fewer codes a component shrinks onto single codes and lowers
# every BIC.
CODES_PER_COMPONENT = 10
LEAST_VARIANCE = 1e-3  # of a component, where each coordinate of the codes has variance 1
SCALES, SCALE_STEPS = 8, 50  # Gaussians of a scale mixture, and steps of expectation maximisation
LEAST_EIGENVALUE = 1e-4  # added to the variances of their common shape


class GaussianMixture(SamplableDensity):
    r"""q(z) = Σ_k w_k N(z; m_k, Σ_k), with Σ_k = diag s_k² or L_k L_kᵀ.

    Examples:
        >>> means = torch.tensor([[-2.0, 0.0], [2.0, 0.0]])
        >>> world = GaussianMixture(torch.tensor([0.5, 0.5]), means, torch.tensor([0.5, 0.5]))
        >>> world.log_prob(torch.tensor([[2.0, 0.0]])).exp()  # at a centre: half of 1 / 2π s²
        tensor([0.3183])
    """

    noise_levels = True

    def __init__(self, weights: ArrayLike, means: ArrayLike, scales: ArrayLike) -> None:
        """Build the mixture of k Gaussians.

        Arguments:
            weights: w, shape (k,), positive with sum 1.
            means: m, shape (k, d).
            scales: Standard deviations s, positive, shape (k,) or (k, d); or lower-triangular
                factors L of full covariances, with positive diagonals, shape (k, d, d).
        """
        self.weights = as_floats(weights)
        self.means = as_rows(means)
        self.scales = as_floats(scales)
        k, self.dimension = self.means.shape
        fits = [(k,), (k, self.dimension), (k, self.dimension, self.dimension)]
        if k == 0 or self.weights.shape != (k,) or self.scales.shape not in fits:
            raise UserError(
                f"a mixture of {k} Gaussians takes as many weights and scales; these have shape "
                f"{tuple(self.weights.shape)} and {tuple(self.scales.shape)}"
            )

    @property
    def full(self) -> bool:
        """Whether the covariances are full, so that `scales` holds their factors."""
        return self.scales.ndim == 3

    def _parameters(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weights, means and scales, the latter (k, d) or (k, d, d), in the type of `like`."""
        scales = self.scales.to(like)
        if not self.full:
            scales = scales.reshape(len(self.means), -1).expand_as(self.means)
        return self.weights.to(like), self.means.to(like), scales

    def _log_parts(self, latents: Latents) -> Tensor:
        """log w_k N(z; m_k, Σ_k), shape (n, k)."""
        weights, means, scales = self._parameters(latents)
        if self.full:
            squares = _whitened(latents, means, scales).square().sum(dim=2).T
            log_volumes = scales.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        else:
            # |(z - m) / s|² is multiplied out: the differences would be a tensor of (n, k, d).
            precisions = scales.pow(-2)
            squares = latents.square() @ precisions.T - 2 * latents @ (means * precisions).T
            squares = squares + (means.square() * precisions).sum(dim=1)
            log_volumes = scales.log().sum(dim=1)
        constant = 0.5 * self.dimension * math.log(2 * math.pi)
        return weights.log() - 0.5 * squares - log_volumes - constant

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over the components."""
        return self._log_parts(latents).logsumexp(dim=1)

    def score(self, latents: Latents) -> Latents:
        """Σ_k P(k|z) Σ_k⁻¹ (m_k - z)."""
        _, means, scales = self._parameters(latents)
        shares = self.responsibilities(latents)
        if self.full:
            offsets = _whitened(latents, means, scales).mT
            slopes = torch.linalg.solve_triangular(scales.mT, -offsets, upper=True).mT
            return (shares.T[..., None] * slopes).sum(dim=0)
        precisions = scales.pow(-2)
        return shares @ (means * precisions) - (shares @ precisions) * latents

    def responsibilities(self, latents: Latents) -> Tensor:
        """P(k|z), the probability that a code is of component k, shape (n, k)."""
        return self._log_parts(latents).softmax(dim=1)

    def noised(self, width: float) -> "GaussianMixture":
        """The same mixture with Σ_k + width² I in place of Σ_k."""
        variance = noise_width(width) ** 2
        if not self.full:
            scales = (self.scales.square() + variance).sqrt()
        elif variance == 0:
            return self
        else:
            identity = torch.eye(self.dimension).to(self.scales)
            scales = torch.linalg.cholesky(self.scales @ self.scales.mT + variance * identity)
        return GaussianMixture(self.weights, self.means, scales)

    @checked
    def leading(self, k: int) -> "GaussianMixture":
        """The distribution of the first `k` coordinates.

        Raises:
            UserError: k is not in 1 to d.
        """
        require(1 <= k <= self.dimension, f"k is {k}; choose 1 to {self.dimension} coordinates")
        if not self.full:
            return GaussianMixture(self.weights, self.means[:, :k], self.scales[:, :k])
        # The factor of a leading block is the leading block of the factor.
        return GaussianMixture(self.weights, self.means[:, :k], self.scales[:, :k, :k])

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d), on the generator's device."""
        weights = self.weights.to(generator.device)
        part = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        _, means, scales = self._parameters(noise)
        if not self.full:
            return means[part] + scales[part] * noise
        codes = torch.empty_like(noise)
        for k, factor in enumerate(scales):
            codes[part == k] = means[k] + noise[part == k] @ factor.T
        return codes


@checked
def fit_gaussian_mixture(
    real: ArrayLike, *, held_out: ArrayLike | None = None, generator: torch.Generator
) -> GaussianMixture:
    """Fit 1, 2, 4 or 8 Gaussians of full covariance: more as long as the BIC falls.

    With held-out codes, up to 32: more as long as these become more likely. At most 20,000 random
    codes are used, and k components are only tried where there are 10 k d codes or more, or 50 k
    with held-out codes. The fit, by expectation maximisation, happens in coordinates of variance 1,
    where 1e-3 is added to the variances of each component in all directions, or up to 0.1 where
    that makes held-out codes more likely. A single component has the mean and the shrunk covariance
    of `density.moments.cholesky`.

    References:
        Estimating the dimension of a model, Schwarz 1978.

    Arguments:
        real: Codes, shape (n, d), not all equal.
        held_out: Codes that choose the number of components, shape (m, d).
        generator: Chooses the codes and where the components start.
    """
    real = as_rows(real).detach()
    order = torch.randperm(len(real), generator=generator, device=generator.device)
    codes = real[order[:MOST_CODES]]
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    mean, scales = extent(codes)
    # Not whitened: whitening shrinks the distances between clusters to those within, and hides
    # where to start.
    standard = [
        (some.detach().cpu().double() - mean) / scales
        for some in (codes, *([] if held_out is None else [as_rows(held_out)]))
    ]
    fitted = _expectation_maximisation(*standard, seed=seed)
    if fitted is None:
        mean, factor = cholesky(codes)
        return GaussianMixture(torch.ones(1).to(real), mean[None].to(real), factor[None].to(real))
    weights, means, factors = fitted
    return GaussianMixture(
        weights.to(real), (mean + scales * means).to(real), (scales[:, None] * factors).to(real)
    )


@checked
def fit_scale_mixture(real: ArrayLike) -> GaussianMixture:
    r"""Fit the Gaussian scale mixture Σ_j w_j N(z; m, s_j C): one centre and shape, 8 sizes.

    It describes codes with heavy tails, and codes many of which lie near their mean. All parameters
    are found by expectation maximisation, on at most 20,000 of the codes, in coordinates of
    variance 1, where 1e-4 is added to the variances of C and s_j is 1e-3 or more.

    References:
        Scale mixtures of normal distributions, Andrews and Mallows 1974.

    Arguments:
        real: Codes, shape (n, d), not all equal.
    """
    real = as_rows(real).detach()
    some = real[:: math.ceil(len(real) / MOST_CODES)]
    centre, units = extent(some)
    codes = (some.cpu().double() - centre) / units
    n, d = codes.shape
    ridge = LEAST_EIGENVALUE * torch.eye(d).to(codes)
    mean, factor = torch.zeros_like(centre), torch.linalg.cholesky(codes.T @ codes / n + ridge)
    logs = (squared_lengths(codes, factor) / d).clamp_min(LEAST_VARIANCE).log()
    least, most = (logs.quantile(q).item() for q in (0.002, 0.998))
    scales = torch.linspace(least, most, SCALES).to(codes).exp()
    weights = torch.full_like(scales, 1 / SCALES)
    for _ in range(SCALE_STEPS):
        squares = squared_lengths(codes - mean, factor)[:, None] / d
        shares = (weights.log() - 0.5 * d * (scales.log() + squares / scales)).softmax(dim=1)
        weights = shares.mean(dim=0).clamp_min(1e-12)
        scales = ((shares * squares).mean(dim=0) / weights).clamp_min(LEAST_VARIANCE)
        precisions = (shares / scales).sum(dim=1, keepdim=True)
        mean = (precisions * codes).sum(dim=0) / precisions.sum()
        offsets = codes - mean
        factor = torch.linalg.cholesky((precisions * offsets).T @ offsets / n + ridge)
    factors = scales.sqrt()[:, None, None] * (units[:, None] * factor)
    means = (centre + units * mean).expand(SCALES, d)
    return GaussianMixture((weights / weights.sum()).to(real), means.to(real), factors.to(real))


def _whitened(latents: Latents, means: Tensor, factors: Tensor) -> Tensor:
    """L_k⁻¹ (z - m_k), shape (k, n, d)."""
    offsets = latents - means[:, None]
    return torch.linalg.solve_triangular(factors, offsets.mT, upper=False).mT


def _expectation_maximisation(
    standard: Tensor, held_out: Tensor | None = None, *, seed: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Weights (k,), means (k, d) and factors (k, d, d) for codes of variance 1; None for k = 1."""
    # Imported here because loading it takes a second, which most commands need not spend.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Estimator
    from threadpoolctl import threadpool_limits

    (n, d), judges = standard.shape, None
    if held_out is not None:
        # The many fits that are compared take half the time in single precision.
        standard, judges = standard.float(), held_out.float().numpy()
    codes = standard.numpy()

    def fit(k: int, variance: float) -> tuple[float, Estimator]:
        mixture = Estimator(k, reg_covar=variance, random_state=seed)
        if judges is not None:
            mixture.set_params(tol=TOLERANCE * d)
        mixture.fit(codes)
        return mixture.bic(codes) if judges is None else -mixture.score(judges), mixture

    variances = (LEAST_VARIANCE,) if judges is None else VARIANCES
    best, lowest = None, math.inf
    for k in COMPONENTS if judges is None else MANY_COMPONENTS:
        if n < k * (CODES_PER_COMPONENT * d if judges is None else CODES_EACH):
            break
        # Within a fit, threads would wait for each other in products as small as these.
        with (
            warnings.catch_warnings(),
            threadpool_limits(1),
            ThreadPoolExecutor(torch.get_num_threads()) as pool,
        ):
            # Where it stopped without converging is a density as good as any.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fits = list(pool.map(partial(fit, k), variances))
        least = min(range(len(fits)), key=lambda place: fits[place][0])
        if fits[least][0] >= lowest:
            break
        lowest, best = fits[least]
        variances = variances[least:]  # more components have fewer codes each, and need no less
    if best is None or best.n_components == 1:
        return None
    weights, means, spreads = (
        torch.from_numpy(part).double() for part in (best.weights_, best.means_, best.covariances_)
    )
    return weights, means, torch.linalg.cholesky(spreads)
