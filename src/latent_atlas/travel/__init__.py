"""Journeys on any density: `plan(density, start, end, planner=...)` returns a `Path`."""

from latent_atlas.attributes.base import Attribute, Direction, Function, LogDensity
from latent_atlas.attributes.constraint import Constraint
from latent_atlas.attributes.directions import Entanglement, decoder_directions, entanglement, principal_components
from latent_atlas.attributes.penalised_density import restricted
from latent_atlas.attributes.probes import ClassProbe, ValueProbe
from latent_atlas.attributes.registry import Properties, Wishes
from latent_atlas.travel.ascent import Climb, uphill
from latent_atlas.travel.constrained import preserve
from latent_atlas.travel.interpolate import journey, paced
from latent_atlas.travel.path import Path
from latent_atlas.travel.plan import OUTSIDE_SHARE, PLANNERS, plan, population_floor
from latent_atlas.travel.planners.base import between_means, understood
from latent_atlas.travel.planners.decoder_geodesic import Pullback
from latent_atlas.travel.planners.geodesic import Geodesic
from latent_atlas.travel.planners.knn_graph import Graph
from latent_atlas.travel.planners.string_method import String
from latent_atlas.travel.planners.walk import Walk
from latent_atlas.travel.random_walk import explore
from latent_atlas.travel.reparametrise import pace
from latent_atlas.travel.traversal import along
from latent_atlas.travel.waypoints import tour

__all__ = [
    "OUTSIDE_SHARE",
    "PLANNERS",
    "Attribute",
    "ClassProbe",
    "Climb",
    "Constraint",
    "Direction",
    "Entanglement",
    "Function",
    "Geodesic",
    "Graph",
    "LogDensity",
    "Path",
    "Properties",
    "Pullback",
    "String",
    "ValueProbe",
    "Walk",
    "Wishes",
    "along",
    "between_means",
    "decoder_directions",
    "entanglement",
    "explore",
    "journey",
    "pace",
    "paced",
    "plan",
    "population_floor",
    "preserve",
    "principal_components",
    "restricted",
    "tour",
    "understood",
    "uphill",
]
