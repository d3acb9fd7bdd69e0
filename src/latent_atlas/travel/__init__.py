"""Paths on any density: `plan(density, start, end, planner)` returns a `LatentPath`.

The planners are objects whose fields are their settings: `plan(q, a, b, Geodesic(strength=3.0))`.
`preserve`, `through_waypoints`, `traverse`, `random_walk` and `project` make the other paths.
"""

from latent_atlas.attributes.base import Attribute, Direction, Function
from latent_atlas.attributes.probes import ClassProbe, ValueProbe
from latent_atlas.travel.ascent import Projection, project
from latent_atlas.travel.constrained import preserve
from latent_atlas.travel.interpolate import interpolate
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.path_info import GraphInfo, PathMetrics, PlannerInfo
from latent_atlas.travel.plan import plan
from latent_atlas.travel.planners.auto import Auto
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.planners.baselines import Linear, Slerp
from latent_atlas.travel.planners.decoder_geodesic import Pullback
from latent_atlas.travel.planners.flow import Flow
from latent_atlas.travel.planners.geodesic import Geodesic
from latent_atlas.travel.planners.knn_graph import Graph
from latent_atlas.travel.planners.registry import PLANNERS
from latent_atlas.travel.planners.string_method import StringMethod
from latent_atlas.travel.planners.typical import Typical
from latent_atlas.travel.planners.walk import Walk
from latent_atlas.travel.random_walk import random_walk
from latent_atlas.travel.traversal import traverse
from latent_atlas.travel.waypoints import through_waypoints

__all__ = [
    "PLANNERS",
    "Attribute",
    "Auto",
    "ClassProbe",
    "Direction",
    "Flow",
    "Function",
    "Geodesic",
    "Graph",
    "GraphInfo",
    "LatentPath",
    "Linear",
    "PathMetrics",
    "Planner",
    "PlannerInfo",
    "Projection",
    "Pullback",
    "Slerp",
    "StringMethod",
    "Typical",
    "ValueProbe",
    "Walk",
    "interpolate",
    "plan",
    "preserve",
    "project",
    "random_walk",
    "through_waypoints",
    "traverse",
]
