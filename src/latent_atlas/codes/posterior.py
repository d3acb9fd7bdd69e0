"""Real codes, with their posteriors q(z|x): checked, split and sampled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, Located, Values, as_array

__all__ = ["FLAT", "WIDE", "Codes", "as_codes", "kl_standard_normal", "reparameterise", "sphere_of"]

FEW = 200  # codes below which a map is coarse
FEWEST = 20
RESOLUTION = 1e-5  # least width of a coordinate in single precision, as a share of its mean
FLAT = 1e-10  # variance without extent, as a share of the largest, or of a correlation matrix
LARGEST = 1e15  # coordinate, whose square and its sum over coordinates single precision holds
CROWD = 0.95  # share of codes that are as near to the middle as is usual
FAR, FAR_OUT = 100.0, 10_000.0  # times that distance: warned of, refused
ACTIVE = 0.01  # variance between images from which a coordinate is used, in posterior variances
# Dimensions above which codes need no extent in each: in so many, a Gaussian with a shrunk
# covariance is fitted to those that matter less.
WIDE = 64
# Dimensions from which a sphere is looked for, and the largest difference between lengths on it, as
# a share: such as half precision leaves.
SPHERE, ROUNDING = 3, 2e-3
SHOWN = 4  # numbers that a sentence lists


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
        means: mu, shape (n, d); in half precision where many are held, and drawn in single.
        log_variances: log sigma², shape (n, d), or None where an image is one point.
    """

    means: Latents
    log_variances: Latents | None = None

    def __len__(self) -> int:
        """n, the number of images."""
        return len(self.means)

    def __getitem__(self, rows: Tensor) -> "Codes":
        """The codes of some images, by their numbers or by a mask; not in half precision."""
        spread = None if self.log_variances is None else _widened(self.log_variances[rows])
        return Codes(_widened(self.means[rows]), spread)

    def to(self, device: torch.device) -> "Codes":
        """The same codes on another device."""
        spread = None if self.log_variances is None else self.log_variances.to(device)
        return Codes(self.means.to(device), spread)

    def points(self) -> "Codes":
        """The means alone, as points without a posterior width."""
        return Codes(self.means)

    def shaped(self, shape: tuple[int, ...]) -> tuple[Located, Located | None]:
        """Means and log-variances as (n, *shape), for a shape of d coordinates."""
        means, spread = self.means, self.log_variances
        return means.unflatten(1, shape), None if spread is None else spread.unflatten(1, shape)

    @checked
    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes from the aggregated posterior q(z), the mean of q(z|x), shape (n, d)."""
        some = self[torch.randint(len(self), (n,), generator=generator, device=generator.device)]
        return some.sample_each(generator=generator)

    @checked
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

    @checked
    def split(self, share: float, *, generator: torch.Generator) -> tuple["Codes", "Codes"]:
        """Codes to train on, and a random share of them, at least ten, to hold out."""
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        count = max(int(share * len(self)), 10)
        return self[order[count:]], self[order[:count]]


def sphere_of(codes: Codes) -> float | None:
    """The radius of the sphere round the origin that all codes lie on; None if they do not.

    Embeddings are often divided by their lengths.
    """
    if codes.log_variances is not None or codes.means.shape[1] < SPHERE:
        return None
    lengths = codes.means.double().norm(dim=1)
    radius = lengths.mean().item()
    return radius if (lengths - radius).abs().max() < ROUNDING * radius else None


def _widened(values: Tensor) -> Tensor:
    """The same numbers in single precision, if they are in half."""
    return values.float() if values.dtype.itemsize == 2 else values


def as_codes(
    means: ArrayLike, log_variances: ArrayLike | None = None, *, at_least: int = FEWEST
) -> tuple[Codes, list[str]]:
    """Codes that a map can be fitted to, and a warning for each repair and each limitation.

    Arguments:
        means: Shape (n, d), or (n, ...) for latents of any shape, which are flattened; of a
            floating type.
        log_variances: None or of the same shape.
        at_least: Least number of codes.

    Raises:
        UserError: no map can be fitted to such codes; the sentence says why.
    """
    codes = _flattened(means, log_variances)
    _check_finite(codes)
    warnings = _outliers(codes)
    _check_scale(codes.means)
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
        if n < d <= WIDE:
            raise UserError(
                f"{n} codes cannot show where a population of {d} dimensions is; give at least "
                f"{d}, better {20 * d}, or reduce the dimension first, as "
                "sklearn.decomposition.PCA does"
            )
        warnings += _span(codes) if d > WIDE else []
        if d <= WIDE:
            _check_spread(codes)
        warnings += _collapse(codes)
        if n < FEW:
            warnings.append(
                f"only {n} codes to learn from, so the map is coarse; {FEW} or more are better"
            )
    return codes, warnings


def _flattened(means: ArrayLike, log_variances: ArrayLike | None) -> Codes:
    """Codes as rows, unless their shapes or types are not those of codes."""
    means = as_array(means).detach()
    spread = None if log_variances is None else as_array(log_variances).detach()
    if 0 in means.shape:
        raise UserError(
            f"there are no codes in an array of shape {tuple(means.shape)}; give one code per row, "
            f"{FEWEST} or more"
        )
    if means.ndim < 2:
        raise UserError(
            f"codes must have shape (n, d), or (n, ...) of any shape; these have "
            f"{tuple(means.shape)}: give one code per row, as codes.reshape(-1, 1) does where a "
            "code is one number"
        )
    if spread is not None and spread.shape != means.shape:
        raise UserError(
            f"log_variances must have the shape of means, {tuple(means.shape)}; it has "
            f"{tuple(spread.shape)}"
        )
    for name, array in (("codes", means), ("log_variances", spread)):
        if array is not None and not array.is_floating_point():
            kind = str(array.dtype).removeprefix("torch.")
            raise UserError(
                f"{name} must be floats; these are {kind}: convert them if they are measured, as "
                f"{name}.astype('float32') does; labels, token numbers and pixels are no codes"
            )
    _check_resolution(means.flatten(1))
    return Codes(means.flatten(1).float(), None if spread is None else spread.flatten(1).float())


def _check_resolution(means: Tensor) -> None:
    """Refuse codes whose differences would be lost in single precision."""
    if means.dtype != torch.float64 or not means.isfinite().all():
        return
    offset, width = means.mean(dim=0).abs(), means.std(dim=0, correction=0)
    lost = ((width > 0) & (width < RESOLUTION * offset)).nonzero()[:, 0].tolist()
    if lost:
        raise UserError(
            f"dimension {lost[0]} has mean {means[:, lost[0]].mean().item():g} and standard "
            f"deviation {width[lost[0]].item():g}, which single precision cannot tell apart; "
            "subtract the mean from the codes first"
        )


def _check_finite(codes: Codes) -> None:
    """Refuse NaN and infinity, and say where the first is."""
    for name, array in (("codes", codes.means), ("log_variances", codes.log_variances)):
        bad = () if array is None else (~array.isfinite().all(dim=1)).nonzero()[:, 0].tolist()
        if bad:
            raise UserError(
                f"{len(bad)} of {len(codes)} {name} are not finite, the first at row {bad[0]}; "
                "leave these codes out"
            )


def _check_scale(means: Latents) -> None:
    """Refuse codes whose distances single precision cannot square."""
    largest, width = means.abs().max().item(), means.double().std(dim=0, correction=0).max().item()
    if largest > LARGEST or 0 < width < 1 / LARGEST:
        raise UserError(
            f"codes go up to {largest:.2g} and have standard deviations up to {width:.2g}, whose "
            "squares single precision does not hold; divide the codes by their standard deviation"
        )


def _outliers(codes: Codes) -> list[str]:
    """A warning of codes so far from the others that they widen the map.

    Raises:
        UserError: codes are so far away that the extent of the others is lost beside theirs.
    """
    middle = codes.means.median(dim=0).values
    # In double precision: single precision has no square of 1e30.
    distances = (codes.means.double() - middle).norm(dim=1)
    usual = distances.kthvalue(max(1, int(CROWD * len(distances)))).values.item()
    for limit in (FAR_OUT, FAR) if usual > 0 else ():
        bad = (distances > limit * usual).nonzero()[:, 0].tolist()
        sentence = (
            f"{len(bad)} of {len(codes)} codes are over {limit:,.0f} times as far from the others "
            f"as usual, the first at row {(bad or [0])[0]}; leave them out"
        )
        if bad and limit == FAR_OUT:
            raise UserError(sentence)
        if bad:
            return [sentence + ", or the map is coarse where the others are"]
    return []


def _span(codes: Codes) -> list[str]:
    """A warning if wide codes have no extent in some direction."""
    variances = torch.linalg.eigvalsh(codes.moments()[1])
    lacking = int((variances <= FLAT * variances.max()).sum())
    if not lacking:
        return []
    d = len(variances)
    return [
        f"{len(codes)} codes span {d - lacking} of {d} dimensions; across the others the map is a "
        "narrow Gaussian, so a code that leaves the span is unlikely by any distance"
    ]


def _check_spread(codes: Codes) -> None:
    """Refuse codes without extent in some direction: there is no density across it."""
    covariance = codes.moments()[1]
    variances = covariance.diagonal()
    flat = (variances <= FLAT * variances.max()).nonzero()[:, 0].tolist()
    if flat:
        raise UserError(
            f"{len(flat)} of {len(variances)} dimensions are constant, the first is number "
            f"{flat[0]}; leave them out, since a population has no density across a dimension in "
            "which it does not vary"
        )
    correlation = covariance / torch.outer(variances.sqrt(), variances.sqrt())
    values, vectors = torch.linalg.eigh(correlation)
    lacking = int((values <= FLAT).sum())
    if lacking:
        involved = (vectors[:, 0].abs() > 0.1 * vectors[:, 0].abs().max()).nonzero()[:, 0].tolist()
        raise UserError(
            f"the dimensions of these codes determine each other, such as {_listed(involved)}: "
            f"they span {len(values) - lacking} of {len(values)}, and have no density across the "
            "rest; leave out the dimensions that others determine, or reduce them first, as "
            "sklearn.decomposition.PCA does"
        )


def _listed(numbers: list[int]) -> str:
    more = " and others" if len(numbers) > SHOWN else ""
    return "numbers " + ", ".join(map(str, numbers[:SHOWN])) + more


def _collapse(codes: Codes) -> list[str]:
    """A warning if the posteriors hardly depend on the image in most coordinates.

    References:
        Importance Weighted Autoencoders, Burda et al. 2016, section 5.1, for the limit.
    """
    if codes.log_variances is None:
        return []
    between = codes.means.double().var(dim=0, correction=0)
    within = codes.log_variances.double().exp().mean(dim=0)
    used, d = int((between > ACTIVE * within).sum()), len(between)
    if 2 * used >= d:
        return []
    return [
        f"{used} of {d} coordinates are used: in the others the codes of all images are the same "
        "but for noise (posterior collapse); lower train.kl_weight, or the weight of the KL term "
        "wherever the encoder was trained"
    ]


def _first_of_each(rows: Tensor) -> Tensor:
    """The positions of the first copy of each different row, in order."""
    _, groups = torch.unique(rows, dim=0, return_inverse=True)
    positions = torch.arange(len(rows), device=rows.device)
    first = torch.full((int(groups.max()) + 1,), len(rows), device=rows.device)
    return first.scatter_reduce(0, groups, positions, "amin").sort().values
