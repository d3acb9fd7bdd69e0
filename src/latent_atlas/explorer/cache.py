"""Values that are computed once for an atlas: its first plane, the densities of its codes."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.attributes.directions import principal_components
from latent_atlas.codes.posterior import Codes
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.explorer.raster import Raster, rasters
from latent_atlas.geometry.planes import Plane, Window, fit_window
from latent_atlas.shapes import Images, Labels, Latents, Values
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE

__all__ = ["Known", "Part", "Range", "window_of"]

PIECE = 4_096  # codes evaluated at a time
SHOWN = 200_000  # codes that the page shows, and that planes and ranges are measured by
COMPONENTS = 16  # principal components that are offered as attributes
EXTENT = 0.005  # share of the codes that a window leaves out at either side
MARGIN = 0.08  # of a window around the codes


class Range(NamedTuple):
    """The values of an attribute of real codes, without 1 % at either end."""

    low: float
    high: float


class Part:
    """The real codes of one part, with the log-densities computed so far.

    Above 200,000 codes they are numbered in a random order, which is always the same: then the
    first ones, which the page asks for, are a fair sample, and not the first folders.

    Attributes:
        means: The first 200,000 codes, or all.
        total: Number of all codes.
    """

    def __init__(self, map: LatentMap, means: Latents, labels: Labels | None) -> None:
        """Arguments: the map, the codes, and their class numbers where there are any."""
        self.total = len(means)
        self._rows = torch.arange(self.total)
        if self.total > SHOWN:
            self._rows = torch.randperm(self.total, generator=torch.Generator().manual_seed(0))
        self._all = means
        self._labels = torch.full((self.total,), -1) if labels is None else labels
        self.means = self.codes(slice(SHOWN))
        self._map = map
        self._log_prob = means.new_zeros(len(means))
        self._typicality = means.new_zeros(len(means))
        self._known = [False] * (-(-len(means) // PIECE))

    def codes(self, numbers: slice | list[int]) -> Latents:
        """Codes by their numbers."""
        return self._all[self._rows[numbers].to(self._all.device)]

    def shown(self, codes: Codes) -> Codes:
        """Those of the part's posteriors that the page shows."""
        return codes[self._rows[:SHOWN].to(self._all.device)]

    def labels(self, numbers: slice) -> Labels:
        """Class numbers of codes, -1 where there is none."""
        return self._labels[self._rows[numbers].to(self._labels.device)]

    def numbers(self, rows: Tensor) -> Tensor:
        """The numbers of codes that are these rows of the atlas's, in their shape."""
        return self._numbers[rows.cpu()]

    @cached_property
    def _numbers(self) -> Tensor:
        return self._rows.argsort()

    def densities(self, rows: slice) -> tuple[Values, Values]:
        """log q and typicality of some codes, shape (n,) each; computed where they are missing."""
        for piece in range(rows.start // PIECE, -(-rows.stop // PIECE)):
            self.evaluate(piece)
        return self._log_prob[rows], self._typicality[rows]

    @torch.no_grad()
    def evaluate(self, piece: int) -> None:
        """Compute the densities of one piece of the codes."""
        if not self._known[piece]:
            rows = slice(piece * PIECE, (piece + 1) * PIECE)
            self._log_prob[rows] = self._map.log_prob(self.codes(rows))
            self._typicality[rows] = self._map.rank(self._log_prob[rows])
            self._known[piece] = True

    def unknown(self) -> Iterator[int]:
        """The pieces without densities, of the codes that the page shows."""
        shown = self._known[: -(-SHOWN // PIECE)]
        return (piece for piece, known in enumerate(shown) if not known)


class Known:
    """An atlas with cached values. Two threads use it: what both compute is the same."""

    def __init__(
        self, atlas: Atlas, check: Callable[[], None], about: Mapping[str, Any] | None = None
    ) -> None:
        """Arguments: the atlas; a check that long work without the map calls between steps; the
        run's manifest.json.
        """
        self.atlas = atlas
        self.check = check
        self._about = about or {}
        self.parts = {
            name: Part(atlas.map, codes.means, atlas.labels.get(name))
            for name, codes in atlas.codes.items()
        }

    @cached_property
    def rasters(self) -> dict[str, Raster]:
        """All codes of the parts of which the page shows a sample."""
        return rasters(self.atlas, SHOWN, self._about, self.check)

    @property
    def has_log_prob(self) -> bool:
        """Whether the map is a density, and not only a ratio to a boundary that has none."""
        return self.atlas.map.has_log_prob

    @cached_property
    def threshold(self) -> float | None:
        """The log-density in nats below which a code is off-manifold; None without a density."""
        return self.atlas.map.threshold(OFF_MANIFOLD_SHARE) if self.has_log_prob else None

    @cached_property
    def spread(self) -> float:
        """Root mean square deviation of the codes along their coordinates."""
        shown = self.parts["train"].shown(self.atlas.codes["train"])
        return shown.moments()[1].diagonal().mean().sqrt().item()

    @cached_property
    def principal(self) -> tuple[Plane, Window]:
        """The plane in which codes vary most, through their mean.

        Raises:
            UserError: codes on a line span no plane.
        """
        if self.atlas.map.dimension < 2:
            raise UserError(
                "these codes have one coordinate, so they span no plane and there is nothing to "
                "draw"
            )
        means = self.parts["train"].means
        plane = Plane(means.mean(dim=0), self._components[:2])
        return plane, window_of(plane, means)

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """Of the first principal components, by attribute."""
        values = self.parts["train"].means @ self.components.T
        low, high = (_quantiles(values, share) for share in (0.01, 0.99))
        pairs = zip(low.tolist(), high.tolist(), strict=True)
        return {f"component:{number}": Range(*pair) for number, pair in enumerate(pairs)}

    def differentiable(self, latents: Latents) -> Images:
        """G(z) with a gradient, for long work that evaluates the decoder and not the map."""
        self.check()
        assert self.atlas.model is not None
        return self.atlas.model.differentiable(latents).to(latents.device)

    def off_manifold(self, log_prob: Values) -> Tensor:
        """Which codes have a log-density below the threshold, shape (n,)."""
        return log_prob < (float("-inf") if self.threshold is None else self.threshold)

    def pieces(self) -> Iterator[None]:
        """Compute everything in small pieces, in the order in which the page asks for it."""
        _ = self.threshold, self.spread, self.ranges
        yield
        if self.atlas.map.dimension > 1:
            _ = self.principal
            yield
        for part in self.parts.values() if self.has_log_prob else ():
            for piece in part.unknown():
                part.evaluate(piece)
                yield
        _ = self.atlas.membership  # seconds, where there is a decoder
        yield

    @property
    def components(self) -> Tensor:
        """The first principal components, shape (k, d): those that are offered as attributes."""
        return self._components[:COMPONENTS]

    @cached_property
    def _components(self) -> Tensor:
        return principal_components(self.parts["train"].means, self.atlas.map.dimension)[0]


def window_of(plane: Plane, codes: Latents, margin: float = MARGIN) -> Window:
    """The window of a plane around nearly all codes, with a margin as a share of its side."""
    places = plane.project(codes)
    corners = torch.stack([_quantiles(places, EXTENT), _quantiles(places, 1 - EXTENT)])
    return fit_window(corners, margin)


def _quantiles(values: Tensor, share: float) -> Tensor:
    """A quantile of each column; torch's own refuses more than 16 million numbers."""
    return values.sort(dim=0).values[round(share * (len(values) - 1))]
