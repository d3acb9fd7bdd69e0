"""What docstrings and help say that a setting is by default is what it is."""

import argparse
import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pytest

import latent_atlas
from latent_atlas.cli.parser import build_parser

NUMBER = r"-?[\d_]*\.?\d+(?:e-?\d+)?"
CLAIM = re.compile(
    rf"(?:None is|by default|\(default:?) (?P<value>{NUMBER}(?![\w.]*\w)|\((?:{NUMBER},? ?)+\))"
)
ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n(?: {8,}.*)?)*)", re.MULTILINE)


@cache
def modules() -> tuple[ModuleType, ...]:
    found = pkgutil.walk_packages(latent_atlas.__path__, "latent_atlas.")
    return tuple(
        importlib.import_module(one.name) for one in found if not one.name.endswith("__main__")
    )


@cache
def tree_of(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def value_of(text: str) -> Any:
    """A number or a tuple of numbers, for comparison."""
    value = ast.literal_eval(text)
    return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


def comparable(value: Any) -> Any:
    """A default as `value_of` has it; None for what is no number."""
    if isinstance(value, tuple) and all(isinstance(one, int | float) for one in value):
        return tuple(map(float, value))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def documented(module: ModuleType) -> Iterator[tuple[str, str, Any]]:
    """Parameters and fields with what is said of them and the default that they have."""
    for where, thing in vars(module).items():
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        for name, one in [(where, thing), *(vars(thing).items() if inspect.isclass(thing) else ())]:
            if not (inspect.isfunction(one) or inspect.isclass(one)):
                continue
            defaults = defaults_of(one)
            text = inspect.getdoc(one) or ""
            for names, said in ENTRY.findall(text):
                yield from (
                    (f"{name}.{part}", said, defaults.get(part)) for part in names.split(", ")
                )
    for node in ast.walk(tree_of(module)):  # a string after a field
        if isinstance(node, ast.ClassDef):
            kind = getattr(module, node.name, None)
            for field, string in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(string, ast.Expr)
                    and kind is not None
                ):
                    name = ast.unparse(field.target)
                    yield (
                        f"{node.name}.{name}",
                        ast.literal_eval(string.value),
                        defaults_of(kind).get(name),
                    )


def defaults_of(thing: Any) -> dict[str, Any]:
    if is_dataclass(thing):
        return {one.name: one.default for one in fields(thing) if one.default is not MISSING}
    if inspect.isfunction(thing):
        parameters = inspect.signature(thing).parameters.values()
        return {
            one.name: one.default
            for one in parameters
            if one.default is not inspect.Parameter.empty
        }
    return {}


def fallbacks(name: str) -> set[Any]:
    """What the code takes where a setting of this name is None: every value beside it in an `or` or an `if else`."""
    beside = (values for text, values in choices() if re.search(rf"\b{name}\b", text))
    return set().union(*beside) - {None}


@cache
def choices() -> list[tuple[str, set[Any]]]:
    """The text of every `or` and `if else` of the code, and the values in it."""
    return [
        (ast.unparse(node), {comparable(evaluated(part, module)) for part in ast.walk(node)})
        for module in modules()
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.BoolOp | ast.IfExp)
    ]


def evaluated(node: ast.AST, module: ModuleType) -> Any:
    """A literal's value, or that of a constant of the module; None for all else."""
    if isinstance(node, ast.Name):
        return getattr(module, node.id, None)
    try:
        return ast.literal_eval(node)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None


@cache
def claims() -> list[tuple[str, str, Any]]:
    """Parameters and fields, the number that is said to be the default of each, and its default."""
    return [
        (f"{module.__name__}.{name}", claim["value"], default)
        for module in modules()
        for name, said, default in documented(module)
        if (claim := CLAIM.search(" ".join(said.split())))
    ]


def test_a_docstring_s_default_is_the_code_s() -> None:
    for name, said, default in claims():
        if default is not None:
            assert comparable(default) == value_of(said), name
        else:
            assert value_of(said) in fallbacks(name.rpartition(".")[2]), name


def options() -> Iterator[tuple[str, argparse.Action, str]]:
    """Options of commands whose help ends in a default that is a number."""
    for command, parser in build_parser().commands().items():
        for action in parser._actions:
            said = re.search(rf"\((?:default: )?({NUMBER})\)$", (action.help or ""))
            if said:
                yield command, action, said[1]


@cache
def every_default() -> dict[str, set[Any]]:
    """By name, each default that a function or a dataclass of the package has."""
    found: dict[str, set[Any]] = {}
    for module in modules():
        for thing in vars(module).values():
            for name, default in defaults_of(thing).items():
                found.setdefault(name, set()).add(comparable(default))
    return found


@pytest.mark.parametrize(
    ("action", "said"),
    [
        pytest.param(action, said, id=f"{command} {action.option_strings[0]}")
        for command, action, said in options()
    ],
)
def test_a_default_in_help_is_the_code_s(action: argparse.Action, said: str) -> None:
    if action.default is not None:
        assert comparable(action.default) == value_of(said)
    else:
        assert value_of(said) in every_default().get(action.dest, set()) | fallbacks(action.dest)


def test_there_is_something_to_hold() -> None:
    assert any("widths" in name for name, _, _ in claims())
    assert len(list(options())) > 5
