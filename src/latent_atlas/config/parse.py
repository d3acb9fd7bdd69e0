"""Read settings that users write, and check them against the fields of a dataclass.

The same functions serve configurations, planners and samplers.
"""

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from latent_atlas.errors import UserError, did_you_mean, require

__all__ = ["read_value", "settings_of", "split_setting", "with_values"]

T = TypeVar("T")
PLAIN = (bool, int, float, str, type(None))


def settings_of(kind: type) -> dict[str, Any]:
    """The fields of a dataclass that a user can write as text, with their defaults.

    A field that holds an array, a function or another dataclass is not one of them.

    Examples:
        >>> from latent_atlas.config import DataConfig
        >>> settings_of(DataConfig)["held_out"]
        0.1
    """
    hints = get_type_hints(kind)
    return {
        field.name: _default(field)
        for field in fields(kind)
        if field.init and _is_plain(hints[field.name])
    }


def with_values(start: T, values: Mapping[str, object], *, called: str, prefix: str = "") -> T:
    """Return a dataclass with some fields replaced, each value checked against its field's type.

    Arguments:
        start: The instance of a dataclass whose other fields are kept.
        values: Values by field name: text as `read_value` gives it, numbers, booleans, None or
            lists.
        called: The dataclass in the words of an error: "planner 'geodesic'", "section 'train'".
        prefix: What an error writes before a field's name, such as "train.".

    Raises:
        UserError: there is no such setting, a value has the wrong type, or the dataclass
            rejects it.

    Examples:
        >>> from latent_atlas.config import DataConfig
        >>> with_values(DataConfig(), {"held_out": "0.2"}, called="section 'data'").held_out
        0.2
    """
    known, hints = settings_of(type(start)), get_type_hints(type(start))
    for name in values:
        has = f"it has {', '.join(known)}" if known else "it has no settings"
        sentence = f"{called} has no setting '{name}'; {has}{did_you_mean(name, known)}"
        require(name in known, sentence)
    checked = {
        name: _checked(f"{prefix}{name}", value, hints[name]) for name, value in values.items()
    }
    return replace(cast("Any", start), **checked)


def split_setting(text: str) -> tuple[str, object]:
    """Name and value of a setting written as NAME=VALUE.

    Raises:
        UserError: there is no name or no equals sign.
    """
    name, equals, value = text.partition("=")
    require(bool(name and equals), f"setting '{text}' is not of the form NAME=VALUE")
    return name, read_value(value)


def read_value(text: str) -> object:
    """What a text stands for: JSON, or else the text itself.

    Examples:
        >>> read_value("0.5"), read_value("null"), read_value("relativistic")
        (0.5, None, 'relativistic')
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _default(field: "Field[Any]") -> Any:
    """The default of a field, or `MISSING` where one has to be given."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _is_plain(hint: Any) -> bool:
    """Whether a type is made of numbers, words and None alone."""
    origin = get_origin(hint)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType, tuple):
        return all(part is Ellipsis or _is_plain(part) for part in get_args(hint))
    return hint in PLAIN and not is_dataclass(hint)


def _checked(place: str, value: object, hint: Any) -> Any:
    """The value as its field's type has it."""
    from pydantic import TypeAdapter, ValidationError  # here, so that `--help` does not wait for it

    if get_origin(hint) is Literal:
        value = (
            str(value) if isinstance(value, int) else value
        )  # JSON reads the word 32 as a number
        words = [*map(str, get_args(hint))]
        require(
            value in words,
            f"{place} is {value!r}; choose {', '.join(words)}{did_you_mean(str(value), words)}",
        )
    if isinstance(value, bool) and bool not in (hint, *get_args(hint)):
        raise UserError(f"{place} is {value!r}; expected {_named(hint)}")
    holds_tuple = any(get_origin(part) is tuple for part in (hint, *get_args(hint)))
    try:
        return TypeAdapter(hint).validate_python(_parts(value) if holds_tuple else value)
    except ValidationError:
        raise UserError(f"{place} is {str(value)[:40]!r}; expected {_named(hint)}") from None


def _parts(value: object) -> object:
    """The parts of a value for a tuple: text is split at commas, one number is one part."""
    if isinstance(value, str):
        return [read_value(part) for part in value.split(",")]
    return [value] if isinstance(value, (int, float)) else value


def _named(hint: Any) -> str:
    """A type in words."""
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        type(None): "null",
    }
    if get_origin(hint) is tuple:
        return "numbers separated by commas"
    return " or ".join(
        words.get(part, str(part)) if part in words else _named(part)
        for part in get_args(hint) or (hint,)
    )
