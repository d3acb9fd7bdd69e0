"""Journeys on any density: `plan(density, start, end, planner=...)` returns a `Path`."""

from latent_atlas.attributes.base import Attribute, Direction, Function, LogDensity
from latent_atlas.attributes.constraint import Constraint
from latent_atlas.attributes.directions import (
    Entanglement,
    decoder_directions,
    entanglement,
    principal_components,
)
from latent_atlas.attributes.penalised_density import penalise
from latent_atlas.attributes.probes import ClassProbe, ValueProbe
from latent_atlas.attributes.registry import AttributeSet, Conditions
from latent_atlas.travel.ascent import Projection, project
from latent_atlas.travel.constrained import preserve
from latent_atlas.travel.interpolate import journey, paced
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.plan import OFF_MANIFOLD_SHARE, PLANNERS, density_threshold, plan
from latent_atlas.travel.planners.base import between_means, understood
from latent_atlas.travel.planners.decoder_geodesic import Pullback
from latent_atlas.travel.planners.geodesic import Geodesic
from latent_atlas.travel.planners.knn_graph import Graph
from latent_atlas.travel.planners.string_method import String
from latent_atlas.travel.planners.walk import Walk
from latent_atlas.travel.random_walk import random_walk
from latent_atlas.travel.reparametrise import pace
from latent_atlas.travel.traversal import traverse
from latent_atlas.travel.waypoints import through_waypoints

__all__ = [
    "OFF_MANIFOLD_SHARE",
    "PLANNERS",
    "Attribute",
    "AttributeSet",
    "ClassProbe",
    "Conditions",
    "Constraint",
    "Direction",
    "Entanglement",
    "Function",
    "Geodesic",
    "Graph",
    "LatentPath",
    "LogDensity",
    "Projection",
    "Pullback",
    "String",
    "ValueProbe",
    "Walk",
    "between_means",
    "decoder_directions",
    "density_threshold",
    "entanglement",
    "journey",
    "pace",
    "paced",
    "penalise",
    "plan",
    "preserve",
    "principal_components",
    "project",
    "random_walk",
    "through_waypoints",
    "traverse",
    "understood",
]
