"""From evidence to one calibrated number: the length of a vector of surprises, ranked among held-out real images."""

import numpy as np
import torch
from jaxtyping import Float
from sklearn.neighbors import NearestNeighbors

from latent_atlas.anomaly.result import AnomalyTable, fewest
from latent_atlas.anomaly.statistics import AnomalyStatistics, Column
from latent_atlas.errors import UserError

__all__ = ["FALSE_ALARM", "ConformalScorer"]

FALSE_ALARM = 0.05
FEWEST = 4  # held-out images, two to compare with and two to rank among
NEIGHBOURS = 20  # real images with similar codes, whose errors and widths are what an image's are compared with
TOO_GOOD = 0.5  # what a standard deviation counts on the side where odd images are not expected
TINY = 1e-12

Surprises = Float[np.ndarray, "n k"]


class ConformalScorer:
    r"""Says how odd images are beside held-out real ones.

    An image is odd in several ways that must not be added up, as they are in the likelihood of a VAE, where an unlikely
    code and an easy reconstruction cancel. So each is a coordinate of a vector v, in standard deviations of real ones:

    1. its code is rare: -log q(mu(x));
    2. it is reconstructed worse than real images with similar codes: log error, less the mean over neighbours in Z;
    3. its code is vaguer than theirs: log sigma likewise.

    The distance is |w v|, where w = 1, but 1/2 for a code more likely and for an error smaller than usual: blank images
    are like that, real ones are to some degree. Half of the held-out images give medians, scales and neighbours. The
    others, m of them, give the distances D_i that a new image's D is ranked among:

        p = (1 + #{i : D_i >= D}) / (m + 1),   oddness = 1 - p.

    A real image, exchangeable with these, has p <= a with a probability of at most a, whatever the map is worth: a is
    the rate of false alarms. (The held-out images of a run have also said when its map was to stop learning; where that
    is too much, give others.)

    References:
        Algorithmic Learning in a Random World, Vovk, Gammerman and Shafer 2005 (conformal p-values).
        Testing for Outliers with Conformal p-values, Bates et al. 2023.
        Rethinking Test-time Likelihood: The Likelihood Path Principle and Its Application to OOD Detection, Huang et
        al. 2024 (encoder and decoder signals as a vector).

    Attributes:
        calibrated_on: m, held-out images that distances are ranked among.
    """

    def __init__(self, held_out: AnomalyStatistics, *, generator: torch.Generator) -> None:
        """Learn what is usual.

        Arguments:
            held_out: Of real images that neither networks nor map have learned from.
            generator: Splits them in two.

        Raises:
            UserError: there are fewer than four of them.
        """
        if len(held_out) < FEWEST:
            raise UserError(
                f"oddness is measured against real images held out from training, and there are {len(held_out)}; give "
                f"at least {FEWEST}, for a false-alarm rate of 5 % at least {2 * fewest(FALSE_ALARM)}"
            )
        order = (
            torch.randperm(len(held_out), generator=generator, device=generator.device)
            .cpu()
            .numpy()
        )
        half = len(held_out) // 2
        self._usual = held_out[order[:half]]
        self._known = np.sort(held_out.log_prob)
        self._neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, max(1, half // 5))).fit(
            self._usual.means
        )
        self._centre, self._scale = 0.0, 1.0
        usual = self._surprises(self._usual, among_itself=True)
        self._centre = np.median(usual, axis=0)
        # Half of what the middle 68 % span: a standard deviation that a few strays, or infinities, do not move.
        low, high = np.quantile(usual, (0.16, 0.84), axis=0, method="nearest")
        self._scale = np.maximum((high - low) / 2, TINY)
        self._ranked = np.sort(self._distance(self._surprises(held_out[order[half:]])))
        self.calibrated_on = len(self._ranked)

    def score(
        self,
        images: AnomalyStatistics,
        *,
        false_alarm: float = FALSE_ALARM,
        names: tuple[str, ...] = (),
    ) -> AnomalyTable:
        """Score images; each row depends on its own image only.

        Arguments:
            images: The same kinds of evidence as the held-out images gave.
            false_alarm: Share of real images that may be called odd, in (0, 1).
            names: One per image; by default row:0, row:1, ...

        Raises:
            UserError: the rate is no share, or the evidence is of other kinds.
        """
        if not 0 < false_alarm < 1:
            raise UserError(
                f"the false-alarm rate is {false_alarm}; choose a share between 0 and 1, such as 0.05"
            )
        for name in ("error", "width"):
            if (getattr(images, name) is None) != (getattr(self._usual, name) is None):
                raise UserError(
                    f"of the images and of the held-out ones, only one side has the column '{name}'; score images "
                    "beside images and codes beside codes"
                )
        surprises = self._surprises(images)
        distance = self._distance(surprises)
        as_far = self.calibrated_on - np.searchsorted(self._ranked, distance)
        p = (1 + as_far) / (self.calibrated_on + 1)
        vector = dict(zip(self._kinds, surprises.T, strict=True))
        return AnomalyTable(
            names=names or tuple(f"row:{i}" for i in range(len(images))),
            log_prob=images.log_prob,
            typicality=np.searchsorted(self._known, images.log_prob) / len(self._known),
            realness=images.realness,
            error=images.error,
            width=images.width,
            rarity=vector["log_prob"],
            excess_error=vector.get("error"),
            excess_width=vector.get("width"),
            distance=distance,
            oddness=1 - p,
            odd=p <= false_alarm,
            false_alarm=false_alarm,
            calibrated_on=self.calibrated_on,
        )

    def known(self) -> dict[str, np.ndarray]:
        """All that it knows of real images, for whoever scores with other means.

        Of those that are usual means (h, d), log error and log width (h,), as far as there are any; centre and scale
        (k,) of the surprises; ranked, the distances of the others (m,), and log_prob of all (n,), in ascending order;
        and how many neighbours are compared with, shape (1,).
        """
        usual = {kind: np.log(getattr(self._usual, kind) + TINY) for kind in self._kinds[1:]}
        return {
            "means": self._usual.means,
            **usual,
            "centre": np.asarray(self._centre),
            "scale": np.asarray(self._scale),
            "ranked": self._ranked,
            "log_prob": self._known,
            "neighbours": np.array([self._neighbours.n_neighbors], dtype=float),  # pyright: ignore[reportAttributeAccessIssue]
        }

    @property
    def _kinds(self) -> tuple[str, ...]:
        """Columns that the surprises are about, in their order."""
        return (
            "log_prob",
            *(name for name in ("error", "width") if getattr(self._usual, name) is not None),
        )

    def _surprises(self, images: AnomalyStatistics, *, among_itself: bool = False) -> Surprises:
        """How far each kind of evidence is from the usual, in standard deviations.

        Arguments:
            among_itself: The images are the usual ones, and none is its own neighbour.
        """
        columns = [-images.log_prob]
        similar = self._neighbours.kneighbors(
            None if among_itself else images.means, return_distance=False
        )
        for name in self._kinds[1:]:
            usual, value = (np.log(getattr(some, name) + TINY) for some in (self._usual, images))
            columns.append(value - usual[similar].mean(axis=1))
        return (np.stack(columns, axis=1) - self._centre) / self._scale

    def _distance(self, surprises: Surprises) -> Column:
        """|w v|."""
        halved = np.array(
            [TOO_GOOD if kind in ("log_prob", "error") else 1.0 for kind in self._kinds]
        )
        return np.linalg.norm(np.where(surprises < 0, halved * surprises, surprises), axis=1)
