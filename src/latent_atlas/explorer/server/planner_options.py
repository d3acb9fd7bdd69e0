"""Planners and samplers that clients may ask for: settings checked, and with a limit on the
work.
"""

from collections.abc import Mapping
from typing import Any

from latent_atlas.config.parse import settings_of, with_values
from latent_atlas.errors import UserError
from latent_atlas.explorer.server.schemas import MOST, Option
from latent_atlas.sampling.registry import SAMPLERS
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.planners.registry import PLANNERS, planner_of

__all__ = ["OFFERED_SAMPLERS", "offered", "planner_with"]

BEYOND = 4  # times its default that a whole number may be: it says how much is to be done
SEVERAL = 8  # numbers in a list
OFFERED_SAMPLERS = ("auto", *(name for name in SAMPLERS if name not in ("mixture", "flow")))
"""Samplers that need no fit, which takes minutes."""


def offered() -> dict[str, dict[str, Any]]:
    """The settings of every planner that a client can write, with their defaults."""
    return {name: settings_of(kind) for name, kind in PLANNERS.items()}


def planner_with(name: str, given: Mapping[str, Option]) -> Planner:
    """The planner of that name with the settings that a client gives.

    Raises:
        UserError: there is no such planner or setting, or a value has the wrong type or is too
            large.
    """
    planner = planner_of(name)
    defaults = settings_of(type(planner))
    for setting, value in given.items():
        _check_work(setting, value, defaults.get(setting))
    return with_values(planner, given, called=f"planner '{name}'")


def _check_work(name: str, value: Option, default: object) -> None:
    """Refuse numbers and lists that would ask for too much work."""
    if isinstance(value, list):
        allowed = len(value) <= SEVERAL
        limit = f"a list of up to {SEVERAL} numbers"
    elif isinstance(default, int) and not isinstance(default, bool):
        allowed = not isinstance(value, int | float) or 0 <= value <= BEYOND * default
        limit = f"a whole number from 0 to {BEYOND * default}"
    else:
        allowed = not isinstance(value, int | float) or abs(value) <= MOST
        limit = f"a number of at most {MOST:g}"
    if not allowed:
        raise UserError(f"setting '{name}' cannot be {str(value)[:40]}; give {limit}")
