"""What a planned path is: points from a start towards an end, how they were found, and metrics."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.display import Tabular, coordinates, html_grid, html_table, html_text, png_grid
from latent_atlas.errors import checked
from latent_atlas.shapes import Films, Images, Latents, Points
from latent_atlas.travel.path_info import PathMetrics, PlannerInfo

__all__ = ["LatentPath", "NearestImages"]

MOST_STRIPS = 8  # of paths in a notebook


@dataclass(frozen=True)
class NearestImages:
    """The real images nearest to the frames of n paths, each at most once along a path.

    Attributes:
        distances: From each frame to the code of its image, shape (frames, n).
        rows: Numbers of the images in `Atlas.collection`, shape (frames, n).
    """

    distances: Float[Tensor, "frames n"]
    rows: Int[Tensor, "frames n"]


@dataclass(frozen=True)
class LatentPath(Tabular):
    """n paths with the same number of frames.

    Attributes:
        points: Codes, shape (frames, n, d); the first frame is the start.
        end: Where each path was to arrive, shape (n, d).
        planner: Name of the planner.
        info: How the paths were found.
        metrics: Metrics per path.
        warnings: What to know before the paths are relied on, one sentence each.
        images: The decoded frames, shape (frames, n, c, h, w); None until an atlas decodes them.
        waypoints: Numbers of the frames that are waypoints, shape (k, n); None if there are none.
        p_values: Share of real codes that look less like real ones than each frame does, by
            `density.membership`, in [0, 1], shape (frames, n); None where none are known.
        nearest: The real images nearest to the frames, of a collection. Without a decoder,
            `images` are these.
    """

    points: Points
    end: Latents
    planner: str
    info: PlannerInfo
    metrics: PathMetrics
    warnings: tuple[str, ...] = ()
    images: Films | None = None
    waypoints: Int[Tensor, "k n"] | None = None
    p_values: Float[Tensor, "frames n"] | None = None
    nearest: NearestImages | None = None

    def columns(self) -> dict[str, Any]:
        """Of each frame of each path: its numbers, what is known of it, and its code z0, z1, ..."""
        frames, n = self.points.shape[:2]
        known = {"p_value": self.p_values}
        if self.nearest is not None:
            known |= {"nearest": self.nearest.rows, "distance": self.nearest.distances}
        path, frame = np.indices((n, frames)).reshape(2, -1)
        return {
            "path": path,
            "frame": frame,
            **{name: v.T.flatten().cpu().numpy() for name, v in known.items() if v is not None},
            **coordinates(self.points.transpose(0, 1).flatten(0, 1)),
        }

    def _repr_html_(self) -> str:
        """Film strips of the first paths, and their metrics."""
        frames, n = self.points.shape[:2]
        films = []
        if self.images is not None:
            films = [
                html_grid(self.strip(path), f"{frames} frames of path {path}", columns=frames)
                for path in range(min(n, MOST_STRIPS))
            ]
        metrics = [{"path": path, **self.numbers(path)} for path in range(n)]
        for row in metrics:
            row.pop("warnings", None)  # which are those of all paths
        return "".join(films) + html_table(metrics) + html_text(*self.warnings)

    def _repr_png_(self) -> bytes | None:
        """The film strips below one another, where a front end shows no HTML."""
        if self.images is None:
            return None
        first = self.images[:, :MOST_STRIPS].transpose(0, 1)
        return png_grid(first.flatten(0, 1), columns=first.shape[1])

    @checked
    def strip(self, path: int = 0) -> Images:
        """The decoded frames of one path, shape (frames, c, h, w).

        Raises:
            ValueError: the frames have not been decoded; `Atlas.travel` decodes them.
        """
        if self.images is None:
            raise ValueError("this path has no images; Atlas.travel decodes its frames")
        return self.images[:, path]

    @checked
    def numbers(self, path: int = 0) -> dict[str, Any]:
        """Metrics, planner's information and warnings of one path, as JSON values by name."""
        metrics = {name: values[path].item() for name, values in self.metrics.as_dict().items()}
        warnings = {"warnings": list(self.warnings)} if self.warnings else {}
        return metrics | self.info.of(path) | warnings
