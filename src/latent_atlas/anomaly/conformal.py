"""Conformal p-values: how anomalous an image is, compared with held-out real images."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import log_ndtr

from latent_atlas.anomaly.result import AnomalyTable, fewest
from latent_atlas.anomaly.statistics import AnomalyStatistics, Column, gather
from latent_atlas.codes.codec import Codec
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import Density
from latent_atlas.density.membership import Membership
from latent_atlas.errors import UserError, checked, require
from latent_atlas.shapes import ArrayLike, Latents, as_rows

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

__all__ = ["FALSE_ALARM_RATE", "AnomalyScorer", "ConformalScorer", "check_rate", "is_share"]

FALSE_ALARM_RATE = 0.05
MOST = 20_000  # held-out images: p-values down to 1e-4; calibration grows with their square
FEWEST = 4  # held-out images: two as reference and two to rank among
MOST_LEARNED = 20_000  # codes that the map was fitted to, among which the nearest are searched
NEAREST = 3  # of them, whose mean distance is measured
# A code so much nearer than the next one is the image itself, which was learned from.
ITSELF = 1e-3
LEAST = -2.0  # standard deviations that a part of a sum counts for at least
NEIGHBOURS = 20  # real images with similar codes, whose distances and errors are the reference
SIDES_WEIGHT = 0.1  # of p-values on either side
TINY = 1e-12
ROUNDING = 1e-6  # differences and scales below it, as of identical images, are rounding
ABOVE = ("rarity", "distance", "error")  # where only more is anomalous
OF_IMAGES = ("error", "sharpness", "texture")

Deviations = Float[np.ndarray, "n k"]


class ConformalScorer:
    r"""Anomaly scores and p-values of images, calibrated on held-out real images.

    An image can be anomalous in several ways. Each is a coordinate of a vector v, in standard
    deviations of real images:

    1. rarity: -log q(mu(x));
    2. excess distance: the log mean distance of mu(x) to the three nearest codes that the map was
       fitted to, without its own, minus its mean over real images with similar codes;
    3. excess error: the log reconstruction error, likewise;
    4. excess sharpness and excess texture: how much more the image has of them than its
       reconstruction, likewise.

    The distance sees gaps between two kinds of images that are narrower than D_z resolves.

    Each has a p-value as if it were normal. Of rarity, distance and error it is Φ(-v), and so it is
    of the sum of these k parts over √k, for many images are a little unusual in all of them. The
    sum alone would not do: an unlikely code and an easy reconstruction cancel in it. Of error,
    sharpness and texture on either side it is 2 Φ(-|v|), with a weight a of 1/10 instead of 1:
    these tell of blank images, blur and faint noise, and of little else. The anomaly score is minus
    the logarithm of the weighted harmonic mean, which the smallest p-values decide and which needs
    no independence:

        D = log(Σ a / p) - log Σ a.

    Codes of many coordinates that come without images, such as embeddings, have a rarity of their
    leading coordinates, the log mean distance to the three codes of the most similar direction, as
    it is, and a residual, the length of the rest, whose nats would drown the others'. D is the sum
    of the three, signed, of which none counts for less than -2: it cannot hide others.

    One half of the held-out images, of which at most 20,000 are drawn, gives medians, scales and
    neighbours. The other m images give the scores D_i that a new image's score D is ranked among:

        p = (1 + #{i : D_i >= D}) / (m + 1).

    A real image, exchangeable with these, has p <= α with probability at most α, however good the
    map is: α is the false-alarm rate. (The held-out images of a run also decided when its map
    stopped training; pass other images where this matters.)

    References:
        Algorithmic Learning in a Random World, Vovk, Gammerman and Shafer 2005.
        Testing for Outliers with Conformal p-values, Bates et al. 2023.
        The harmonic mean p-value for combining dependent tests, Wilson 2019.
        Rethinking Test-time Likelihood: The Likelihood Path Principle and Its Application to OOD
        Detection, Huang et al. 2024 (encoder and decoder statistics as a vector).
        LOF: Identifying Density-Based Local Outliers, Breunig et al. 2000 (distances to neighbours
        beside those of the neighbours).
        Out-of-Distribution Detection with Deep Nearest Neighbors, Sun et al. 2022 (distances
        between the directions of embeddings).

    Attributes:
        calibrated_on: m, the number of held-out images that scores are ranked among.
    """

    @checked
    def __init__(
        self,
        held_out: AnomalyStatistics,
        learned: ArrayLike,
        *,
        generator: torch.Generator,
    ) -> None:
        """Calibrate.

        Arguments:
            held_out: Statistics of real images that neither networks nor map were fitted to.
            learned: Codes that the map was fitted to, shape (n, d), of which at most 20,000 are
                drawn.
            generator: Splits the images into two halves.

        Raises:
            UserError: there are fewer than four images, fewer than two learned codes, or codes of
                another shape or not finite.
        """
        if too_few := _too_few(len(held_out)):
            raise UserError(too_few)
        order = torch.randperm(len(held_out), generator=generator, device=generator.device)
        held_out = held_out[order[:MOST].cpu().numpy()]
        half = len(held_out) // 2
        self._usual, ranked = held_out[np.arange(half)], held_out[np.arange(half, len(held_out))]
        self._known = np.sort(held_out.log_prob)
        codes = as_rows(learned, held_out.means.shape[1])
        require(
            len(codes) > 1 and bool(codes.isfinite().all()),
            f"learned has {len(codes)} codes, of which {int(codes.isfinite().all(dim=1).sum())} "
            "are finite; give two or more, all finite",
        )
        rows = torch.randperm(len(codes), generator=generator, device=generator.device)
        drawn = codes[rows[:MOST_LEARNED].to(codes.device)]
        self._learned = self._places(drawn.detach().cpu().double().numpy())
        self._nearest = _index(self._learned, NEAREST + 1)
        self._similar = _index(self._usual.means, min(NEIGHBOURS, max(1, half // 5)))
        self._reference = self._compared(self._usual)
        self._centre, self._scale = 0.0, 1.0
        usual = self._deviations(self._usual, among_itself=True)
        self._centre = np.median(usual, axis=0)
        # Half the width of the central 68 %: a standard deviation robust to outliers and
        # infinities.
        low, high = np.quantile(usual, (0.16, 0.84), axis=0, method="nearest")
        self._scale = np.maximum((high - low) / 2, ROUNDING)
        self._ranked = np.sort(self._score(self._deviations(ranked)))
        self.calibrated_on = len(self._ranked)

    @checked
    def anomaly(
        self,
        images: AnomalyStatistics,
        *,
        false_alarm_rate: float = FALSE_ALARM_RATE,
        names: tuple[str, ...] = (),
    ) -> AnomalyTable:
        """Anomaly scores and p-values of images; each row depends on its own image only.

        Arguments:
            images: The same statistics as those of the held-out images.
            false_alarm_rate: Largest share of real images that are called outliers, in (0, 1).
            names: A name for each image; by default row:0, row:1, ...

        Raises:
            UserError: the rate is not in (0, 1), or the statistics or the names are others.
        """
        check_rate(false_alarm_rate)
        for name in (*OF_IMAGES, "residual"):
            if (getattr(images, name) is None) != (getattr(self._usual, name) is None):
                raise UserError(
                    f"only one of the images and the held-out images has the statistic '{name}'; "
                    "compare images with images and codes with codes"
                )
        require(
            len(names) in (0, len(images)),
            f"there are {len(names)} names for {len(images)} images; give one for each, or none",
        )
        deviations = self._deviations(images)
        score = self._score(deviations)
        as_far = self.calibrated_on - np.searchsorted(self._ranked, score - ROUNDING)
        p_value = (1 + as_far) / (self.calibrated_on + 1)
        vector = dict(zip(self._kinds, deviations.T, strict=True))
        return AnomalyTable(
            names=names or tuple(f"row:{i}" for i in range(len(images))),
            anomaly_score=score,
            p_value=p_value,
            is_outlier=p_value <= false_alarm_rate,
            rarity=vector["rarity"],
            excess_distance=vector["distance"],
            excess_error=vector.get("error"),
            excess_sharpness=vector.get("sharpness"),
            excess_texture=vector.get("texture"),
            excess_residual=vector.get("residual"),
            log_prob=images.log_prob,
            typicality=np.searchsorted(self._known, images.log_prob) / len(self._known),
            realness=images.realness,
            error=images.error,
            sharpness=images.sharpness,
            texture=images.texture,
            width=images.width,
            false_alarm_rate=false_alarm_rate,
            calibrated_on=self.calibrated_on,
        )

    def known(self) -> dict[str, np.ndarray]:
        """Everything that scores are computed from, as arrays, for other implementations.

        learned (n, d), the codes whose distance is measured, of wide codes without images their
        directions; means (h, d) of the reference half; distance, error, sharpness and texture
        (h,) of that half, the first two by their logarithms, as far as there are any; centre and
        scale (k,) of the deviations; ranked (m,), the scores of the other half, and log_prob (n,)
        of all images, both ascending; and the number of neighbours, shape (1,).
        """
        return {
            "learned": self._learned,
            "means": self._usual.means,
            **self._reference,
            "centre": np.asarray(self._centre),
            "scale": np.asarray(self._scale),
            "ranked": self._ranked,
            "log_prob": self._known,
            "neighbours": np.array([self._similar.n_neighbors], dtype=float),  # pyright: ignore[reportAttributeAccessIssue]
        }

    @property
    def _kinds(self) -> tuple[str, ...]:
        """Names of the deviations, in their order."""
        wide = self._usual.residual is not None
        return ("rarity", "distance", "residual") if wide else ("rarity", *self._reference)

    def _places(self, means: np.ndarray) -> np.ndarray:
        """Where codes are near: codes, or the directions of wide ones without images."""
        if self._usual.residual is None:
            return means
        return means / np.linalg.norm(means, axis=1, keepdims=True).clip(TINY)

    def _compared(self, images: AnomalyStatistics) -> dict[str, Column]:
        """What is compared with that of similar codes, by name."""
        near = self._nearest.kneighbors(self._places(images.means))[0]
        others, nearest = near[:, 1:].mean(axis=1), near[:, :NEAREST].mean(axis=1)
        distance = np.where(near[:, 0] < ITSELF * near[:, 1], others, nearest)
        found = {"distance": np.log(distance + TINY)}
        if images.error is not None:
            found["error"] = np.log(images.error + TINY)
        sides = {"sharpness": images.sharpness, "texture": images.texture}
        return found | {name: value for name, value in sides.items() if value is not None}

    def _deviations(self, images: AnomalyStatistics, *, among_itself: bool = False) -> Deviations:
        """Difference of each statistic from the usual, in standard deviations.

        Arguments:
            images: Statistics of n images.
            among_itself: Whether they are the reference itself, where no image is its own
                neighbour.
        """
        compared = self._reference if among_itself else self._compared(images)
        if images.leading is not None and images.residual is not None:
            columns = [-images.leading, compared["distance"], images.residual]
        else:
            places = None if among_itself else images.means
            similar = self._similar.kneighbors(places, return_distance=False)
            columns = [-images.log_prob]
            for name, value in compared.items():
                columns.append(value - self._reference[name][similar].mean(axis=1))
        return (np.stack(columns, axis=1) - self._centre) / self._scale

    def _score(self, deviations: Deviations) -> Column:
        """D = log(Σ a / p) - log Σ a; of wide codes without images the sum of v."""
        if self._usual.residual is not None:
            return deviations.clip(min=LEAST).sum(axis=1)
        v = dict(zip(self._kinds, torch.from_numpy(deviations).T, strict=True))
        above = torch.stack([v[kind] for kind in ABOVE if kind in v])
        above = torch.cat([above, above.sum(dim=0, keepdim=True) / math.sqrt(len(above))])
        terms = [*-log_ndtr(-above)]  # log(a / p)
        sides = [v[kind].abs() for kind in OF_IMAGES if kind in v]
        terms += [math.log(SIDES_WEIGHT / 2) - log_ndtr(-part) for part in sides]
        weights = len(above) + SIDES_WEIGHT * len(sides)
        return (torch.stack(terms).logsumexp(dim=0) - math.log(weights)).numpy()


def _index(places: np.ndarray, count: int) -> "NearestNeighbors":
    """What finds so many of the places nearest to others."""
    # Imported here because loading it takes seconds, which most commands need not spend.
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=min(count, len(places))).fit(places)


def check_rate(false_alarm_rate: object) -> None:
    """Refuse a false-alarm rate that is not in (0, 1).

    Raises:
        UserError: it is not.
    """
    require(
        is_share(false_alarm_rate),
        f"the false-alarm rate is {false_alarm_rate!r}; choose a share between 0 and 1, such as "
        "0.05",
    )


def is_share(value: object) -> bool:
    """Whether a value is a number in (0, 1)."""
    return isinstance(value, Real) and 0 < float(value) < 1


class AnomalyScorer:
    """Anomaly scores by a model and its map, calibrated once, when first needed."""

    def __init__(
        self,
        density: Density,
        coding: Codec,
        learned: Latents,
        held_out: Codes,
        errors: Float[Tensor, "m 3"] | None,
        membership: Callable[[Latents | None], Membership | None] = lambda _: None,
    ) -> None:
        """Hold what images are measured with.

        Arguments:
            density: The map.
            coding: The autoencoder, or none, beside the map.
            learned: Means of the codes that the map was fitted to, (n, d).
            held_out: Codes of held-out real images.
            errors: Of these images' reconstructions, by `codes.codec.reconstruction_errors`; None
                if they are not known.
            membership: That of given means of real images (m, d), of which these are not learned
                from, or with None of the held-out images; None where there is none.
        """
        self._membership = membership
        self._density = density
        self._coding = coding
        self._learned = learned
        self._held_out = held_out
        self._errors = errors

    @checked
    def anomaly(
        self,
        places: ArrayLike,
        *,
        false_alarm_rate: float = FALSE_ALARM_RATE,
        held_out: ArrayLike | None = None,
        names: tuple[str, ...] = (),
    ) -> AnomalyTable:
        """Anomaly scores of images or of codes; arguments and errors as for `Atlas.anomaly`."""
        images = self._statistics(places)
        if held_out is None:
            scorer = self._by_codes if images.error is None else self.by_images
            membership = self._membership(None)
        else:
            real = self._statistics(held_out)
            scorer = self._calibrated(real)
            membership = self._membership(torch.from_numpy(real.means))
        table = scorer.anomaly(images, false_alarm_rate=false_alarm_rate, names=names)
        return table if membership is None else _with_membership(table, membership, images.means)

    def _statistics(self, places: ArrayLike) -> AnomalyStatistics:
        """The statistics of images, or of codes."""
        if self._coding.embeds or not self._coding.are_images(places):
            return gather(self._density, Codes(self._coding.codes(places)))
        codes = self._coding.posterior(places)
        return gather(self._density, codes, self._coding.errors(places, codes.means))

    @property
    def unscored(self) -> str | None:
        """Why `by_images` does not exist, in a sentence; None where it does."""
        if not self._density.has_log_prob:
            return (
                "anomaly scores rank log-densities, and the boundary of this map has no "
                "log-density for real codes; fit a map with boundary 'prior'"
            )
        if self._errors is None:
            return (
                "this atlas does not know the reconstruction errors of its held-out images, which "
                "runs of older versions did not save; give held_out=, real images that it was not "
                "trained on"
            )
        return _too_few(len(self._held_out))

    @cached_property
    def by_images(self) -> ConformalScorer:
        """The scorer of images, calibrated on the held-out images.

        Raises:
            UserError: there is none, for the reason in `unscored`.
        """
        if self.unscored:
            raise UserError(self.unscored)
        return self._calibrated(gather(self._density, self._held_out, self._errors))

    @cached_property
    def _by_codes(self) -> ConformalScorer:
        """The scorer of codes."""
        return self._calibrated(gather(self._density, self._held_out.points()))

    def _calibrated(self, held_out: AnomalyStatistics) -> ConformalScorer:
        """The scorer calibrated on these images, always with the same split."""
        return ConformalScorer(held_out, self._learned, generator=torch.Generator().manual_seed(0))


def _with_membership(
    table: AnomalyTable, membership: Membership, means: Deviations
) -> AnomalyTable:
    """The table with what membership says of the images' codes (n, d)."""
    p_value, parts = membership.compared(torch.from_numpy(means))
    columns = {name: part.double().cpu().numpy() for name, part in parts.items()}
    return replace(table, membership=p_value.double().cpu().numpy(), membership_parts=columns)


def _too_few(held_out: int) -> str | None:
    """Why so many held-out images cannot calibrate a scorer; None where they can."""
    if held_out >= FEWEST:
        return None
    return (
        f"anomaly scores are calibrated on held-out real images, and there are {held_out}; give at "
        f"least {FEWEST}, for a false-alarm rate of 5 % at least {2 * fewest(FALSE_ALARM_RATE)}"
    )
