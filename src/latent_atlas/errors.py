"""The exceptions that the command line reports as one sentence, and checks that raise them."""

import difflib
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = [
    "WORDS",
    "Interrupted",
    "Terminated",
    "UserError",
    "check_methods",
    "checked",
    "counted",
    "did_you_mean",
    "is_checked",
    "printable",
    "require",
    "require_known",
    "wrap_methods",
]

F = TypeVar("F", bound=Callable[..., Any])

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    Path: "a path",
}
"""Types in words."""

EXAMPLES = {
    "Density": "such as a LatentMap",
    "Planner": "such as Geodesic()",
    "Sampler": "such as MALA()",
    "Attribute": "such as a Direction",
    "Codes": "as codes.Codes(means)",
    "Generator": "such as torch.Generator().manual_seed(0)",
}
"""What to give for the library's own classes, by name."""

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and what Python puts for bytes of a file name that are not UTF-8."""


def printable(text: str) -> str:
    r"""The text with escapes for what cannot be drawn, written as UTF-8 or sent; lines stay.

    Examples:
        >>> printable("caf\udce9 \x1b[31m"), printable("猫")
        ('caf\\xe9 \\x1b[31m', '猫')
    """
    return UNPRINTABLE.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(number: int) -> str:
    byte = number - 0xDC00 if 0xDC80 <= number <= 0xDCFF else number
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{byte:04x}"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun, which may have a verb.

    Examples:
        >>> counted(1, "image"), counted(1200, "image"), counted(2, "page is", "pages are")
        ('1 image', '1,200 images', '2 pages are')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


class UserError(ValueError):
    """A user's mistake: one sentence saying what was wrong, what was seen and what to do.

    The command line prints the sentence and ends with exit code 2. Any other exception is a fault
    of the package and keeps its traceback.
    """

    def __init__(self, sentence: str = "") -> None:
        """Arguments: the sentence, which may quote any name of a file."""
        super().__init__(printable(sentence))


class Terminated(KeyboardInterrupt):
    """SIGTERM asked the command to stop."""


class Interrupted(Exception):
    """The run was asked to stop and has saved its state; the message says how to go on."""


def require(condition: bool, sentence: str) -> None:
    """Raise an error with this sentence unless the condition holds.

    Raises:
        UserError: the condition is false.
    """
    if not condition:
        raise UserError(sentence)


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise an error that names what can be chosen, and the nearest, unless the name is known.

    Raises:
        UserError: there is no such name.

    Examples:
        >>> require_known("budget", "fulll", ["small", "full"])
        Traceback (most recent call last):
        latent_atlas.errors.UserError: no budget 'fulll'; choose small, full; did you mean 'full'?
    """
    names = [*known]
    sentence = f"no {kind} '{name}'; choose {', '.join(names)}{did_you_mean(name, names)}"
    require(name in names, sentence)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that asks for the nearest of the names known, or nothing if none is.

    Examples:
        >>> did_you_mean("bag", ["Bag", "Boot"]), did_you_mean("wing", ["Bag", "Boot"])
        ("; did you mean 'Bag'?", '')
    """
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), folded, 1)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""


class _Unfit(Exception):
    """A value is not of the annotated type."""


def checked(thing: F) -> F:
    """Have a function, or a class when it is made, compare its arguments with their annotations.

    A number may be of any type, such as np.int64 or 17.0 for a whole one, and a path may be text:
    both are converted. Annotations of arrays are not looked at.

    Raises:
        UserError: when it is called, in one sentence that names the argument.

    Examples:
        >>> @checked
        ... def twice(frames: int) -> int:
        ...     return 2 * frames
        >>> twice(3.0)
        6
        >>> twice("x")
        Traceback (most recent call last):
        latent_atlas.errors.UserError: twice: frames is 'x'; give a whole number
    """
    if isinstance(thing, type):
        made: Any = thing
        made.__init__ = _checking(made.__init__, made.__name__)
        return made
    called = thing.__qualname__.rpartition("<locals>.")[2]
    return _checking(thing, called.removesuffix(".__init__"))


def check_methods(names: Iterable[str], kind: type) -> None:
    """Have those of these methods that a class defines be `checked`."""
    wrap_methods(checked, names, kind)


def wrap_methods(wrap: Callable[[Any], Any], names: Iterable[str], kind: type) -> None:
    """Wrap those of these methods that a class defines.

    A base class calls it for each subclass, so that no subclass can forget it.
    """
    for name in set(names) & vars(kind).keys():
        method = vars(kind)[name]
        if not getattr(method, "__isabstractmethod__", False):
            setattr(kind, name, wrap(method))


def is_checked(hint: Any) -> bool:
    """Whether `checked` looks at arguments of this annotation."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType, Sequence):
        return all(map(is_checked, get_args(hint)))
    if origin is not None:
        return origin in (Literal, Callable, Mapping)
    known = isinstance(hint, type) and hint.__module__.startswith(("latent_atlas", "builtins"))
    return known or hint is Path or getattr(hint, "__name__", "") == "Generator"


def _checking(function: Any, called: str) -> Any:
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:  # asked for at the first call, when every name is defined
        found = get_type_hints(function)
        found.pop("return", None)
        return {name: hint for name, hint in found.items() if is_checked(hint)}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind_partial(*args, **kwargs)
        except TypeError:
            _know(kwargs, signature, called)
            return function(*args, **kwargs)  # Python says which argument there is not
        for name in bound.arguments.keys() & hints().keys():
            bound.arguments[name] = _argument(name, called, bound.arguments[name], hints()[name])
        return function(*bound.args, **bound.kwargs)

    return call


def _know(given: dict[str, Any], signature: inspect.Signature, called: str) -> None:
    """Refuse a keyword that there is not, and name the nearest one."""
    known = [name for name in signature.parameters if name != "self"]
    for name in given.keys() - known:
        asked = did_you_mean(name, known) or f"; choose {', '.join(known)}"
        raise UserError(f"{called} has no argument '{name}'{asked}")


def _argument(name: str, called: str, value: Any, hint: Any) -> Any:
    """The argument as its annotation has it."""
    try:
        return _fitted(value, hint)
    except _Unfit:
        advice = _advice(value, hint)
        raise UserError(f"{called}: {name} is {_shown(value)}; give {advice}") from None


def _fitted(value: Any, hint: Any) -> Any:
    """The value, converted if it is a number or a path of another type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _fitted_to_one(value, get_args(hint))
    if hint in (int, float):
        return _number(value, hint)
    if hint is bool and str(getattr(value, "dtype", "")).endswith("bool"):
        return bool(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is str and type(value).__name__ == "device":  # torch's, which is not imported here
        return str(value)
    if origin is Sequence:
        _need(not isinstance(value, str) and hasattr(value, "__len__"))
        for part in value:
            _fitted(part, get_args(hint)[0])
    elif origin is Literal:
        _need(value in get_args(hint))
    elif origin is Mapping:
        _need(isinstance(value, Mapping))
    else:
        _need(callable(value) if origin is Callable else isinstance(value, hint))
    return value


def _fitted_to_one(value: Any, hints: tuple[Any, ...]) -> Any:
    """The value as the first type of several that fits."""
    for hint in hints:
        try:
            return _fitted(value, hint)
        except _Unfit:
            continue
    raise _Unfit


def _number(value: Any, kind: type) -> int | float:
    """A number of any type, such as NumPy's, or a tensor of no dimension."""
    _need(not isinstance(value, str | bytes | bool) and not getattr(value, "ndim", 0))
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise _Unfit from None
    _need(kind is float or number.is_integer())
    return number if kind is float else int(value)


def _need(condition: bool) -> None:
    if not condition:
        raise _Unfit


def _shown(value: Any) -> str:
    """What was given, in short."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    short = isinstance(value, str | int | float | None)
    return repr(value)[:40] if short else f"of type {type(value).__name__}"


def _advice(value: Any, hint: Any) -> str:
    """What to give instead: of a class that was given, an object."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = tuple(part for part in parts if isinstance(part, type))
    if isinstance(value, type) and issubclass(value, kinds):
        return f"an object of it, such as {value.__name__}()"
    return " or ".join(_word(part) for part in parts if part is not type(None))


def _word(hint: Any) -> str:
    """An annotation in words."""
    origin = get_origin(hint)
    if origin is Literal:
        return ", ".join(map(repr, get_args(hint)))
    if origin is Sequence:
        (part,) = get_args(hint)
        return f"a list of which each is {_advice(None, part)}"
    if origin is Callable:
        return "a function"
    if origin is Mapping:
        return "values by name, such as {'class': 'Bag'}"
    article = "an" if hint.__name__[0] in "AEIOU" else "a"
    example = EXAMPLES.get(hint.__name__)
    return WORDS.get(hint) or " ".join(filter(None, (article, hint.__name__, example)))
