"""Real codes, with their posteriors q(z|x): checked, split and sampled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values

__all__ = ["Codes", "as_codes", "kl_standard_normal", "reparameterise"]

FEW = 200  # codes below which a map is coarse
FEWEST = 20


def reparameterise(
    means: Latents, log_variances: Latents, *, generator: torch.Generator
) -> Latents:
    """z = mu + eps · sigma, eps ~ N(0, I), shape (n, d), differentiable in both arguments."""
    noise = torch.randn(means.shape, generator=generator, device=means.device, dtype=means.dtype)
    return means + noise * (0.5 * log_variances).exp()


def kl_standard_normal(means: Latents, log_variances: Latents) -> Values:
    """KL(N(mu, sigma²) || N(0, I)) = 1/2 Σ (mu² + sigma² - 1 - log sigma²) in nats, shape (n,).

    Its gradient trains the encoder.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling 2013, appendix B.
    """
    return 0.5 * (means.square() + log_variances.exp() - 1 - log_variances).sum(dim=1)


@dataclass(frozen=True)
class Codes:
    """The posteriors q(z|x) of a set of images.

    Attributes:
        means: mu, shape (n, d).
        log_variances: log sigma², shape (n, d), or None where an image is one point.
    """

    means: Latents
    log_variances: Latents | None = None

    def __len__(self) -> int:
        """n, the number of images."""
        return len(self.means)

    def __getitem__(self, rows: Tensor) -> "Codes":
        """The codes of some images, by their numbers or by a mask."""
        return Codes(
            self.means[rows], None if self.log_variances is None else self.log_variances[rows]
        )

    def to(self, device: torch.device) -> "Codes":
        """The same codes on another device."""
        spread = None if self.log_variances is None else self.log_variances.to(device)
        return Codes(self.means.to(device), spread)

    def points(self) -> "Codes":
        """The means alone, as points without a posterior width."""
        return Codes(self.means)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes from the aggregated posterior q(z), the mean of q(z|x), shape (n, d)."""
        some = self[torch.randint(len(self), (n,), generator=generator, device=generator.device)]
        return some.sample_each(generator=generator)

    def sample_each(self, *, generator: torch.Generator) -> Latents:
        """One sample of each posterior, shape (n, d)."""
        if self.log_variances is None:
            return self.means
        return reparameterise(self.means, self.log_variances, generator=generator)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d) of the aggregated posterior, in double precision."""
        means = self.means.double()
        covariance = torch.cov(means.T, correction=0).reshape(means.shape[1], means.shape[1])
        if self.log_variances is not None:
            covariance = covariance + self.log_variances.double().exp().mean(dim=0).diag()
        return means.mean(dim=0), covariance

    def split(self, share: float, *, generator: torch.Generator) -> tuple["Codes", "Codes"]:
        """Codes to train on, and a random share of them, at least ten, to hold out."""
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        count = max(int(share * len(self)), 10)
        return self[order[count:]], self[order[:count]]


def as_codes(
    means: Tensor, log_variances: Tensor | None = None, *, at_least: int = FEWEST
) -> tuple[Codes, list[str]]:
    """Codes that a map can be fitted to, and a warning for each repair and each limitation.

    Arguments:
        means: Shape (n, d), or (n, c, h, w) for spatial latents, which are flattened; of a floating
            type.
        log_variances: None or of the same shape.
        at_least: Least number of codes.

    Raises:
        UserError: no map can be fitted to such codes; the sentence says why.
    """
    _check_arrays(means, log_variances)
    codes = Codes(
        means.flatten(1).float(),
        None if log_variances is None else log_variances.flatten(1).float(),
    )
    _check_finite(codes)
    warnings = []
    if log_variances is None:
        # Of a repeated code one copy could be trained on and one held out; and no density has its
        # spike.
        first = _first_of_each(codes.means)
        if len(first) < len(codes):
            warnings.append(
                f"{len(codes) - len(first)} of {len(codes)} codes repeat others and were left out"
            )
            codes = codes[first]
    n, d = codes.means.shape
    if n < at_least:
        raise UserError(f"a map needs at least {at_least} different codes; there are {n}")
    if at_least >= FEWEST:  # codes to train on, not only to hold out
        _check_spread(codes)
        if n < d:
            raise UserError(
                f"{n} codes cannot show where a population of {d} dimensions is; give at least "
                f"{d}, better {20 * d}, or reduce the dimension first"
            )
        if n < FEW:
            warnings.append(f"there are only {n} codes, so the map is coarse; give {FEW} or more")
    return codes, warnings


def _check_arrays(means: Tensor, log_variances: Tensor | None) -> None:
    """Refuse arrays whose shapes or types are not those of codes."""
    if means.ndim not in (2, 4) or 0 in means.shape:
        raise UserError(
            f"codes must have shape (n, d) or (n, c, h, w); these have {tuple(means.shape)}"
        )
    if log_variances is not None and log_variances.shape != means.shape:
        raise UserError(
            f"log_variances must have the shape of means, {tuple(means.shape)}; it has "
            f"{tuple(log_variances.shape)}"
        )
    for name, array in (("codes", means), ("log_variances", log_variances)):
        if array is not None and not array.is_floating_point():
            kind = str(array.dtype).removeprefix("torch.")
            raise UserError(
                f"{name} must be of a floating type; these are {kind}: convert them if they are "
                "measured"
            )


def _check_finite(codes: Codes) -> None:
    """Refuse NaN and infinity, and say where the first is."""
    bad = ~codes.means.isfinite().all(dim=1)
    if codes.log_variances is not None:
        bad |= ~codes.log_variances.isfinite().all(dim=1)
    if bad.any():
        raise UserError(
            f"{int(bad.sum())} of {len(codes)} codes are not finite, the first at row "
            f"{int(bad.nonzero()[0])}; leave them out"
        )


def _check_spread(codes: Codes) -> None:
    """Refuse constant coordinates: the data distribution has no density across them."""
    variances = codes.moments()[1].diagonal()
    flat = (variances <= 1e-10 * variances.max()).nonzero()[:, 0].tolist()
    if flat:
        raise UserError(
            f"{len(flat)} of {len(variances)} dimensions are constant, the first is number "
            f"{flat[0]}; leave them out, since a population has no density across a dimension in "
            "which it does not vary"
        )


def _first_of_each(rows: Tensor) -> Tensor:
    """The positions of the first copy of each different row, in order."""
    _, groups = torch.unique(rows, dim=0, return_inverse=True)
    positions = torch.arange(len(rows), device=rows.device)
    first = torch.full((int(groups.max()) + 1,), len(rows), device=rows.device)
    return first.scatter_reduce(0, groups, positions, "amin").sort().values
