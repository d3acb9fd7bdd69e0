"""Journeys on any density: `plan(density, start, end, planner=...)` returns a `Path`."""

from latent_atlas.attributes.base import Attribute, Direction, Function, LogDensity
from latent_atlas.attributes.constraint import Constraint
from latent_atlas.attributes.directions import Entanglement, decoder_directions, entanglement, principal_components
from latent_atlas.attributes.penalised_density import restricted
from latent_atlas.attributes.probes import ClassProbe, ValueProbe
from latent_atlas.attributes.registry import Properties, Wishes
from latent_atlas.travel.along import along
from latent_atlas.travel.explore import explore
from latent_atlas.travel.geodesic import Geodesic
from latent_atlas.travel.graph import Graph
from latent_atlas.travel.journey import journey, paced
from latent_atlas.travel.pace import pace
from latent_atlas.travel.path import Path
from latent_atlas.travel.plan import OUTSIDE_SHARE, PLANNERS, plan, population_floor
from latent_atlas.travel.planners import between_means, understood
from latent_atlas.travel.preserve import preserve
from latent_atlas.travel.pullback import Pullback
from latent_atlas.travel.string import String
from latent_atlas.travel.tour import tour
from latent_atlas.travel.uphill import Climb, uphill
from latent_atlas.travel.walk import Walk

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
