"""What a planned path is: points from a start towards an end, how they were found, and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.display import Tabular, coordinates, html_grid, html_table, html_text
from latent_atlas.errors import checked
from latent_atlas.shapes import Films, Images, Latents, Mask, Points, Values

__all__ = ["GraphInfo", "LatentPath", "NearestImages", "PathMetrics", "PlannerInfo"]

MOST_STRIPS = 8  # of paths in a notebook


@dataclass(frozen=True)
class PathMetrics:
    """Metrics of n paths, shape (n,) each; those that do not apply are None.

    Attributes:
        distance_left: |z_B - last frame| / max |z_B - frame|, in [0, 1]; 0 if the path arrives. The
            farthest frame is z_A, unless the path first leaves z_B.
        length_ratio: Length of the path / |z_B - z_A|; 1 for the straight line. With waypoints it
            is relative to the straight lines between them.
        off_manifold: Share of the inner frames with log q below the threshold, in [0, 1].
        non_members: Share of the inner frames that look less like real codes than 95 % of these
            do, by `density.membership`, in [0, 1]; None where no real codes are known.
        lowest_log_prob: log q of the least likely frame, in nats.
        largest_jump: Largest distance between neighbouring frames, in units of the codes.
        drift: By attribute kept, the largest |a_i(z_k) - a_i(z_A)| over frames, in its own unit.
        broken: Share of the frames after the first that violate a constraint, in [0, 1].
        progress: Distance travelled orthogonally to the kept gradients, relative to that of z_B.
        end_moved: |z_B' - z_B|, distance to the admissible end that was searched for.
        end_inside: 1 if that end satisfies the constraints and is on the manifold, else 0.
        value: The traversed attribute at the last frame, in its own unit.
        reached: Share of the wanted change of that attribute; 1 for all of it.
        moved: Distance from a code to its projection.
        feature_step: Mean distance in features between neighbouring frames.
        uneven: By how much of that mean the largest such distance exceeds it; 0 at constant speed.
    """

    distance_left: Values
    length_ratio: Values
    off_manifold: Values
    lowest_log_prob: Values
    largest_jump: Values
    non_members: Values | None = None
    drift: Mapping[str, Values] = field(default_factory=dict)
    broken: Values | None = None
    progress: Values | None = None
    end_moved: Values | None = None
    end_inside: Values | None = None
    value: Values | None = None
    reached: Values | None = None
    moved: Values | None = None
    feature_step: Values | None = None
    uneven: Values | None = None

    def as_dict(self) -> dict[str, Values]:
        """The metrics that apply by name, for tables and JSON; drifts as "drift NAME"."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        drift = {f"drift {name}": drift for name, drift in values.pop("drift").items()}
        return {name: value for name, value in values.items() if value is not None} | drift


@dataclass(frozen=True)
class GraphInfo:
    """Size of the graph over real codes.

    Attributes:
        codes: Number of codes.
        edges: Number of edges between them.
        components: Number of connected components before they were joined; 1 if connected.
    """

    codes: int
    edges: int
    components: int


@dataclass(frozen=True)
class PlannerInfo:
    """How n paths were found; what does not apply is None.

    Attributes:
        converged: Whether each path converged, shape (n,).
        iterations: Iterations of the path that took most, over all noise widths; 0 if none.
        residual: How far each path is from convergence, shape (n,), as its planner measures it.
        history: What the planner lowers, at the start and after each iteration at the last noise
            width, shape (k + 1, n).
        chosen: Of `Auto` and `Typical`, the name of the planner that each path is from, n of them.
        graph: Of `Graph` and `Auto`, the size of the graph.
        acceptance: Of a random walk, the mean acceptance probability, in [0, 1].
        step_size: Of a random walk, the mean standard deviation of a move per coordinate, in units
            of the codes.
        projected: Of a random walk, the share of later frames that were projected, in [0, 1].
        seconds: Wall-clock time of all paths together, if it was measured.
    """

    converged: Mask | None = None
    iterations: int = 0
    residual: Values | None = None
    history: Tensor | None = None
    chosen: tuple[str, ...] | None = None
    graph: GraphInfo | None = None
    acceptance: float | None = None
    step_size: float | None = None
    projected: float | None = None
    seconds: float | None = None

    def of(self, path: int) -> dict[str, Any]:
        """What is known of one path, as JSON values by name; without the history."""
        known = {part.name: getattr(self, part.name) for part in fields(self)}
        known |= {name: known[name][path].item() for name in _PER_PATH if known[name] is not None}
        known["chosen"] = self.chosen[path] if self.chosen else None
        known["graph"] = vars(self.graph) if self.graph else None
        del known["history"]
        return {name: value for name, value in known.items() if value is not None}


_PER_PATH = ("converged", "residual")


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
