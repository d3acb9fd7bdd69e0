"""All of it at once, each number with its sample and what would be good."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.display import Tabular
from latent_atlas.errors import UserError, checked
from latent_atlas.geometry.distances import (
    correlations,
    distances_by_radius,
    neighbours,
    random_pairs,
)
from latent_atlas.geometry.jacobian import Spectrum, spectrum
from latent_atlas.geometry.prior_coverage import active_units, kl_per_image, prior_inside
from latent_atlas.geometry.smoothness import distances, largest_steps, path_lengths
from latent_atlas.shapes import ArrayLike, Latents, Located, as_rows, batched

__all__ = ["Band", "Geometry", "Number", "measure"]

STEPS = 8  # between neighbouring codes
SHARES = 32  # of directions, at most, at which the spectrum is kept
PRIOR_DRAWS = 16  # for each of `samples`: they cost no image
PIECE = 512  # codes seen at a time


@dataclass(frozen=True)
class Number:
    """A measured number.

    Attributes:
        value: The number.
        samples: How many it is measured on.
        of: What these are.
        good: One sentence: what would be good.
    """

    value: int | float
    samples: int
    of: str
    good: str


@dataclass(frozen=True)
class Band:
    """A quantity along another one: its median, and the quantiles at 10 % and 90 %.

    Attributes:
        at: Where.
        low, middle, high: The quantiles there.
    """

    at: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Geometry(Tabular):
    """How easy a latent space is to handle.

    Attributes:
        kl_per_image: KL(q(z|x) || p) in nats; None where codes are points.
        active_units: Coordinates that vary with the image.
        prior_inside: Share of prior samples on the manifold.
        path_length: Perceptual path length, in squared units of the features.
        relative_path_length: The same over the squared distance of the ends.
        largest_step: Largest step in features between neighbouring codes, over the mean step of its
            segment.
        pearson, spearman: Correlation of latent with feature distance over pairs of real codes.
        near_pearson, near_spearman: The same over the nearest octave of `stretch`.
        condition: Median over codes of J_G's largest singular value over its smallest.
        log_spread: Mean over codes of the standard deviation of J_G's log singular values.
        distortion: Squared coefficient of variation of |J_G v|² over codes and unit directions v.
        stretch: Feature distance per latent distance, by the latent distance's upper end in
            octaves.
        pearson_by_radius, spearman_by_radius: Correlation in each of these octaves.
        singular_values: Those of J_G, by share of directions, over codes.
        features: What distances of images are seen in.
    """

    kl_per_image: Number | None
    active_units: Number
    prior_inside: Number
    path_length: Number
    relative_path_length: Number
    largest_step: Number
    pearson: Number
    spearman: Number
    near_pearson: Number
    near_spearman: Number
    condition: Number
    log_spread: Number
    distortion: Number
    stretch: Band
    pearson_by_radius: tuple[float, ...]
    spearman_by_radius: tuple[float, ...]
    singular_values: Band
    features: str

    def numbers(self) -> dict[str, Number]:
        """The single numbers by name; what was not measured is left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Number)}

    def columns(self) -> dict[str, Any]:
        """The single numbers: the name of each, and its attributes."""
        rows = [{"name": name, **vars(number)} for name, number in self.numbers().items()]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def as_json(self) -> dict[str, Any]:
        """Everything, as numbers, words, lists and objects."""
        return asdict(self)


@checked
def measure(
    density: Density,
    decode: Callable[[Tensor], Tensor],
    means: ArrayLike,
    log_variances: ArrayLike | None = None,
    *,
    threshold: float,
    features: Callable[[Tensor], Tensor] | None = None,
    feature_name: str | None = None,
    samples: int = 256,
    generator: torch.Generator,
) -> Geometry:
    """Measure whether a latent space is dense, continuous and locally Euclidean.

    Arguments:
        density: q, which says whether prior samples are on the manifold.
        decode: G, codes (n, d) to images (n, ...), differentiable.
        means: Real codes, shape (n, d), better of images that nothing has learned from.
        log_variances: log sigma² of q(z|x), of the same shape; None where codes are points.
        threshold: The log-density in nats under which a place is outside, such as 5 % of real codes
            have.
        features: Of images, (n, ...) to (n, ...), whose Euclidean distance is meant to be
            perceived; None for pixels.
        feature_name: What to call them.
        samples: How many pairs of codes, 8 or more; everything else in proportion. It takes some 20
            decoded images for each, and 2 d for every eighth.
        generator: Source of all randomness, on the codes' device.

    Raises:
        UserError: there are no two different codes, too few samples, or the decoder has no
            derivative.

    Examples:
        >>> from latent_atlas.density.base import StandardNormal
        >>> codes = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> how = {"threshold": -4.8, "generator": torch.Generator()}
        >>> easy = measure(StandardNormal(2), lambda z: 3 * z, codes, **how)
        >>> numbers = easy.condition, easy.pearson, easy.relative_path_length
        >>> tuple(round(number.value, 1) for number in numbers)
        (1.0, 1.0, 1.0)
    """
    if samples < 8:
        raise UserError(f"samples is {samples}; choose 8 pairs of codes or more")
    means = as_rows(means).detach()
    if log_variances is not None:
        log_variances = as_rows(log_variances, means.shape[1]).detach()
    perceive = features or (lambda images: images)

    def see(latents: Tensor) -> Tensor:
        return batched(lambda part: perceive(decode(part)).flatten(1), latents, PIECE)

    return Geometry(
        **_dense(density, means, log_variances, threshold, PRIOR_DRAWS * samples, generator),
        **_continuous(see, means, samples, generator),
        **_euclidean(see, means, samples, generator),
        **_jacobian(decode, means, samples // 8, generator),
        features=feature_name or ("features" if features else "pixels"),
    )


def _dense(
    density: Density,
    means: Latents,
    log_variances: Latents | None,
    threshold: float,
    draws: int,
    generator: torch.Generator,
) -> dict[str, Any]:
    n, d = means.shape
    kl = None
    if log_variances is not None:
        nats = kl_per_image(means, log_variances)
        kl = Number(
            nats,
            n,
            "codes",
            "what a code costs in nats: less is denser, and at 0 it says nothing of its image",
        )
    inside = prior_inside(density, threshold, draws, generator=generator)
    return {
        "kl_per_image": kl,
        "active_units": Number(
            active_units(means), n, "codes", f"{d} of {d}: no coordinate is left unused"
        ),
        "prior_inside": Number(
            inside,
            draws,
            "prior draws",
            "95 %, as of real codes: where the prior is there are data, and no holes",
        ),
    }


def _continuous(
    see: Any, means: Latents, samples: int, generator: torch.Generator
) -> dict[str, Any]:
    start, end = random_pairs(means, samples, generator=generator)
    length = path_lengths(see, start, end, generator=generator).mean().item()
    direct = distances(see, start, end).square().mean().item()
    rows = torch.randperm(len(means), generator=generator, device=means.device)[
        : max(1, samples // 4)
    ]
    step = largest_steps(see, means[rows], neighbours(means, rows), STEPS).max().item()
    return {
        "path_length": Number(
            length,
            len(start),
            "pairs of codes",
            "less is smoother, as far as the same features see the same images",
        ),
        "relative_path_length": Number(
            length / max(direct, torch.finfo(torch.float32).tiny),
            len(start),
            "pairs of codes",
            "1: from one image to another all changes straight and evenly",
        ),
        "largest_step": Number(
            step,
            len(rows),
            "pairs of neighbours",
            f"1: even steps; {STEPS} is a jump, all change in one step",
        ),
    }


def _euclidean(
    see: Any, means: Latents, samples: int, generator: torch.Generator
) -> dict[str, Any]:
    start, end = random_pairs(means, samples, generator=generator)
    with torch.no_grad():
        pearson, spearman = correlations((end - start).norm(dim=1), distances(see, start, end))
    near_and_far = distances_by_radius(see, means, samples, generator=generator)
    by_radius = near_and_far.correlations()
    good = "1: as far apart as codes are, so are their images"
    near = f"1: places less than {near_and_far.radii[0]:.2g} apart are as far apart as their images"
    return {
        "pearson": Number(pearson, len(start), "pairs of codes", good),
        "spearman": Number(spearman, len(start), "pairs of codes", good),
        "near_pearson": Number(by_radius[0][0], samples, "pairs of places", near),
        "near_spearman": Number(by_radius[0][1], samples, "pairs of places", near),
        "stretch": _band(near_and_far.radii, near_and_far.stretch().T),
        "pearson_by_radius": tuple(pearson for pearson, _ in by_radius),
        "spearman_by_radius": tuple(spearman for _, spearman in by_radius),
    }


def _jacobian(decode: Any, means: Latents, n: int, generator: torch.Generator) -> dict[str, Any]:
    rows = torch.randperm(len(means), generator=generator, device=means.device)[:n]
    found: Spectrum = spectrum(decode, means[rows], generator=generator)
    count, kept = len(found.values), min(found.dimension, SHARES)
    shares = (torch.arange(kept) + 0.5) / kept
    condition, spread = found.condition().median().item(), found.log_spread().mean().item()
    even = "1: a step in any direction changes the image as much"
    alike = "0: all directions change the image as much"
    everywhere = "0: all directions do, at all codes; train.isometry lowers this"
    return {
        "condition": Number(condition, count, "codes", even),
        "log_spread": Number(spread, count, "codes", alike),
        "distortion": Number(found.distortion(), count, "codes", everywhere),
        "singular_values": _band(tuple(shares.tolist()), found.quantiles(shares)),
    }


def _band(at: tuple[float, ...], values: Located) -> Band:
    """Quantiles over rows at each place, of values (n, k)."""
    quantiles = torch.quantile(
        values.double().cpu(), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), dim=0
    )
    low, middle, high = (tuple(row) for row in quantiles.tolist())
    return Band(at, low, middle, high)
