"""Atlases whose long work stops when nobody waits for it."""

import copy
from collections.abc import Callable
from typing import cast

from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.nn.latent_discriminator import Ensemble, LatentDiscriminator
from latent_atlas.shapes import Angles, Latents

__all__ = ["interruptible"]


def interruptible(atlas: Atlas, check: Callable[[], None]) -> Atlas:
    """The same atlas, with a check before each pass through D_z; the given atlas stays as it is.

    Everything that takes long, planners and samplers above all, evaluates the map again and again.

    Arguments:
        atlas: Its networks and codes are shared, not copied.
        check: Raises an exception where work is to stop.
    """
    latent_map = copy.copy(atlas.map)
    latent_map.network = _Checked(atlas.map.network, check)
    return Atlas(
        atlas.model,
        latent_map,
        atlas.codes,
        atlas.config,
        labels=atlas.labels,
        label_names=atlas.label_names,
        errors=atlas.errors,
        population=atlas.population,
        index_file=atlas.index_file,
        collection=atlas.collection,
        known=atlas.known,
    )


class _Checked(Ensemble):
    """The members of an ensemble, with a check before they compute."""

    def __init__(self, ensemble: Ensemble, check: Callable[[], None]) -> None:
        super().__init__(cast("list[LatentDiscriminator]", list(ensemble.members)))
        self._check = check

    def logits(self, latents: Latents, angles: Angles | None = None) -> Tensor:
        """Each member's logits, shape (members, n)."""
        self._check()
        return super().logits(latents, angles)
