"""The planners' settings, as clients may give them: of the right kind, and not more work than is usual by far."""

from collections.abc import Mapping
from typing import Any

from latent_atlas.errors import UserError
from latent_atlas.explorer.server.schemas import MOST, Option
from latent_atlas.travel.planners.base import PLANNERS

__all__ = ["offered", "settings"]

UNWRITTEN = ("codes", "decode", "population")  # options that are no numbers; the atlas has them
BEYOND = 4  # times its default that a whole number may be: it says how much is to be done
SEVERAL = 8  # numbers in a list


def offered() -> dict[str, dict[str, Any]]:
    """The options of every planner that are numbers, with their defaults."""
    return {
        name: {
            option: default
            for option, default in planner.options.items()
            if option not in UNWRITTEN
        }
        for name, planner in PLANNERS.items()
    }


def settings(planner: str, given: Mapping[str, Option]) -> dict[str, Any]:
    """Settings of a planner as it takes them.

    Raises:
        UserError: there is no such setting, or it is of another kind or too large.
    """
    known = offered().get(planner, {})
    for name in given:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UserError(f"planner '{planner}' has no setting '{name}'; {has}")
    return {name: _value(name, value, known[name]) for name, value in given.items()}


def _value(name: str, value: Option, default: object) -> Any:
    """A setting as its default's type.

    Raises:
        UserError: it is of another kind, or a whole number far above its default.
    """
    if isinstance(default, bool):
        what = "true or false"
        if isinstance(value, bool):
            return value
    elif isinstance(default, int | float):
        most = BEYOND * default if isinstance(default, int) else MOST
        what = f"a whole number from 0 to {most}" if isinstance(default, int) else "a number"
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most:
            if isinstance(default, float):
                return float(value)
            if value >= 0 and value == int(value):
                return int(value)
    else:  # widths, from wide to narrow, which a planner chooses itself without them
        what = f"null, or a list of up to {SEVERAL} numbers"
        if value is None or (isinstance(value, list) and len(value) <= SEVERAL):
            return None if value is None else tuple(value)
    raise UserError(f"setting '{name}' cannot be {str(value)[:40]}; give {what}")
