"""The planners by name, for the command line, the server and the study."""

from latent_atlas.errors import require_known
from latent_atlas.travel.planners.auto import Auto
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.planners.baselines import Linear, Slerp
from latent_atlas.travel.planners.decoder_geodesic import Pullback
from latent_atlas.travel.planners.flow import Flow
from latent_atlas.travel.planners.geodesic import Geodesic
from latent_atlas.travel.planners.knn_graph import Graph
from latent_atlas.travel.planners.string_method import StringMethod
from latent_atlas.travel.planners.typical import Typical
from latent_atlas.travel.planners.walk import Walk

__all__ = ["PLANNERS", "planner_of"]

PLANNERS: dict[str, type[Planner]] = {
    kind.name: kind
    for kind in (Linear, Slerp, Walk, Geodesic, Typical, Flow, StringMethod, Graph, Pullback, Auto)
}


def planner_of(planner: str | Planner) -> Planner:
    """The planner, or the one of that name with its default settings.

    Raises:
        UserError: there is no planner of that name.
    """
    if isinstance(planner, Planner):
        return planner
    require_known("planner", planner, PLANNERS)
    return PLANNERS[planner]()
