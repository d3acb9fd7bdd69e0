"""What planners say of the paths that they found: metrics, and how they were found."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from latent_atlas.shapes import Mask, Values

__all__ = ["GraphInfo", "PathMetrics", "PlannerInfo"]


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
