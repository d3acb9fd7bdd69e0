"""Where all real codes are on a plane, as counts in cells: more of them than a page can show."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latent_atlas.codes.sample import codes_of
from latent_atlas.codes.stream import CodeFiles
from latent_atlas.errors import UserError
from latent_atlas.geometry.planes import Plane, Window
from latent_atlas.shapes import Latents

if TYPE_CHECKING:
    from latent_atlas.atlas.atlas import Atlas

__all__ = ["Raster", "rasters"]

PIECE = 250_000  # codes projected, and places counted, at a time
MOST = 20_000_000  # places that are kept; of more codes every k-th is counted


class Raster:
    """All real codes of a part, projected onto one plane and counted in any window of it.

    The places on the last plane are kept, so that another window of it takes milliseconds.

    Attributes:
        total: Number of the codes.
    """

    def __init__(
        self, pieces: Callable[[], Iterable[Latents]], total: int, check: Callable[[], None]
    ) -> None:
        """Arguments: gives the codes, some at a time; their number; called between the pieces."""
        self.total = total
        self._pieces = pieces
        self._check = check
        self._plane: Plane | None = None
        self._places = torch.empty(0, 2)

    @torch.no_grad()
    def counts(self, plane: Plane, window: Window, side: int) -> Tensor:
        """Codes in each of side x side equal cells of a window, bottom row first, (side, side)."""
        self._project(plane)
        low = torch.tensor([window.left, window.bottom])
        size = torch.tensor([window.right - window.left, window.top - window.bottom])
        found = torch.zeros(side * side, dtype=torch.long)
        for places in self._places.split(PIECE):
            cells = ((places - low) * (side / size)).floor()
            cells = cells[((cells >= 0) & (cells < side)).all(dim=1)].long()
            found += torch.bincount(cells[:, 1] * side + cells[:, 0], minlength=side * side)
        return found.unflatten(0, (side, side))

    def _project(self, plane: Plane) -> None:
        if self._plane is not None and all(
            torch.equal(before, now)
            for before, now in zip(vars(self._plane).values(), vars(plane).values(), strict=True)
        ):
            return
        self._plane = None
        every = math.ceil(self.total / MOST)
        found: list[Tensor] = []
        for codes in self._pieces():
            self._check()
            found.append(plane.project(codes[::every].to(plane.origin)).cpu())
        self._places, self._plane = torch.cat(found), plane


def rasters(
    atlas: "Atlas", shown: int, about: Mapping[str, Any], check: Callable[[], None]
) -> dict[str, Raster]:
    """The rasters of the parts of which the page shows a sample.

    Arguments:
        atlas: The atlas, which may itself keep a sample of the codes that it was fitted to.
        shown: Codes of a part that the page shows at most.
        about: The run's manifest.json, which says where all codes are.
        check: Called between pieces of long work.
    """
    found = {
        part: Raster(partial(codes.means.split, PIECE), len(codes), check)
        for part, codes in atlas.codes.items()
        if len(codes) > shown
    }
    if files := _files(about):
        share = atlas.config.data.held_out
        for part, total in atlas.population.items():
            found[part] = Raster(partial(codes_of, files, part, share), total, check)
    return found


def _files(about: Mapping[str, Any]) -> CodeFiles | None:
    """The files of all codes that a run keeps a sample of; None where they are not there."""
    if "fitted_to" not in about or not about.get("path"):
        return None
    try:
        files = CodeFiles.find(Path(about["path"]))
    except (UserError, OSError):
        return None
    return files if files is not None and files.count == about["n"] else None
