"""Images, or codes, to scores: measured through a model and its map, and compared with what was held out."""

from functools import cached_property

import torch
from torch import Tensor

from latent_atlas.anomaly.conformal import FALSE_ALARM, ConformalScorer
from latent_atlas.anomaly.result import AnomalyTable
from latent_atlas.anomaly.statistics import AnomalyStatistics, gather
from latent_atlas.codes.codec import Codec
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import Density
from latent_atlas.errors import UserError
from latent_atlas.shapes import Values

__all__ = ["AnomalyScorer"]


class AnomalyScorer:
    """Scores by one map; what it is calibrated by is measured once, when it is first needed."""

    def __init__(
        self, density: Density, coding: Codec, held_out: Codes, errors: Values | None
    ) -> None:
        """Arguments: the map; its model, if any; held-out codes; the errors of their images, where they are known."""
        self._density = density
        self._coding = coding
        self._held_out = held_out
        self._errors = errors

    def score(
        self,
        places: Tensor,
        *,
        false_alarm: float = FALSE_ALARM,
        held_out: Tensor | None = None,
        names: tuple[str, ...] = (),
    ) -> AnomalyTable:
        """Score images, or codes alone; arguments and errors as for `Atlas.score`."""
        evidence = self._evidence(places)
        if held_out is not None:
            scorer = _scorer(self._evidence(held_out))
        else:
            scorer = self._by_codes if evidence.error is None else self.by_images
        return scorer.score(evidence, false_alarm=false_alarm, names=names)

    def _evidence(self, places: Tensor) -> AnomalyStatistics:
        """What is measured of images, or of codes."""
        if not self._coding.are_images(places):
            return gather(self._density, Codes(self._coding.rows(places)))
        codes = self._coding.posterior(places)
        return gather(self._density, codes, self._coding.errors(places, codes.means))

    @cached_property
    def by_images(self) -> ConformalScorer:
        """What scores images, by those that were held out.

        Raises:
            UserError: it is not known how well these are reconstructed.
        """
        if self._errors is None:
            raise UserError(
                "this atlas does not know how well its held-out images are reconstructed, as runs of older versions do "
                "not; give held_out=, real images that it has not learned from"
            )
        return _scorer(gather(self._density, self._held_out, self._errors))

    @cached_property
    def _by_codes(self) -> ConformalScorer:
        return _scorer(gather(self._density, self._held_out.points()))


def _scorer(held_out: AnomalyStatistics) -> ConformalScorer:
    """The scorer by these images, the same whenever it is made."""
    return ConformalScorer(held_out, generator=torch.Generator().manual_seed(0))
