"""Shape checks that cost little: of each function's calls in a test, the first ones are checked.

jaxtyping checks every call and prepares its checks anew for each inner function that is made; a sampler that looks at
a density ten thousand times then spends a third of its time there. A shape that is wrong is wrong in the first calls.
"""

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import jaxtyping

__all__ = ["forget_calls", "install"]

CALLS = 20  # of each function in each test
_counts: Counter[int] = (
    Counter()
)  # by the address of a function's code, which inner functions share
_jaxtyped = jaxtyping.jaxtyped


def install() -> None:
    """Have the import hook of --jaxtyping-packages decorate by `_sampled`."""
    jaxtyping.jaxtyped = _sampled


def forget_calls() -> None:
    """Check the first calls again."""
    _counts.clear()


def _sampled(*, typechecker: Any) -> Callable[[Any], Any]:
    """What `jaxtyping.jaxtyped` does, for the first calls; prepared when a function is first called."""

    def decorate(fn: Any) -> Any:
        if inspect.isclass(fn):
            own = vars(fn).get("__init__")
            # One that is `arguments.checked` converts what it is given first, and so cannot be checked around.
            if dataclasses.is_dataclass(fn) and own and not hasattr(own, "__wrapped__"):
                fn.__init__ = decorate(fn.__init__)
            return fn
        if not inspect.isfunction(fn):
            return _jaxtyped(fn, typechecker=typechecker)
        code = id(fn.__code__)
        if _counts[code] >= CALLS:  # an inner function, made once more
            return fn
        checked: Callable[..., Any] | None = None

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal checked
            if _counts[code] >= CALLS:
                return fn(*args, **kwargs)
            _counts[code] += 1
            if checked is None:
                checked = _jaxtyped(fn, typechecker=typechecker)
            return checked(*args, **kwargs)

        return call

    return decorate
