"""Journeys on any density: `plan(density, start, end, planner=...)` returns a `Path`."""

from latent_atlas.travel.path import Path
from latent_atlas.travel.plan import OUTSIDE_SHARE, PLANNERS, plan, population_floor
from latent_atlas.travel.walk import Walk

__all__ = ["OUTSIDE_SHARE", "PLANNERS", "Path", "Walk", "plan", "population_floor"]
