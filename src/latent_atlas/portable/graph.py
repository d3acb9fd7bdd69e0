"""Functions of tensors as ONNX graphs, their gradients among them.

A function is traced into single operations, whatever it is made of, closures and gradients included; only then it is
translated. So one definition of the map serves here as everywhere else.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["save_graph"]

SHIFTED = 8  # steps up from x before Stirling's series: exact in single precision from x = 1/2 on

Traced = Callable[..., Tensor | tuple[Tensor, ...]]


def save_graph(
    function: Traced, examples: Sequence[Tensor], path: Path, *, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Write a function as an ONNX file that takes any number of rows.

    Arguments:
        function: From tensors to one or several, without branches that depend on their values.
        examples: What to trace it with; the first has rows, two or more, the others are of fixed shape.
        path: The file.
        inputs, outputs: Their names in the file, in order.
    """
    with _quietly(), torch.inference_mode(False):
        tracing = make_fx(
            lambda *given: function(*given),  # which would not take a method
            decomposition_table=DECOMPOSED,
            tracing_mode="symbolic",
            _allow_non_fake_inputs=True,  # the weights
        )
        rows = {0: torch.export.Dim("n")}
        program = torch.onnx.export(
            tracing(*examples).eval(),
            tuple(examples),
            dynamo=True,
            dynamic_shapes=(rows, *(None for _ in examples[1:])),
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
        assert program is not None
        program.save(path, external_data=False)


def _log_gamma(x: Tensor) -> Tensor:
    """log Γ(x) for x of 1/2 or more, which ONNX does not know: Stirling's series at x + 8, less the logarithms between."""
    y = x.double() + SHIFTED
    series = (y - 0.5) * y.log() - y + 0.5 * math.log(2 * math.pi) + 1 / (12 * y) - 1 / (360 * y**3)
    below = torch.stack([(x.double() + k).log() for k in range(SHIFTED)]).sum(dim=0)
    return (series - below).to(x)


def _silu_slope(outer: Tensor, x: Tensor) -> Tensor:
    """The gradient of x sigmoid(x), times the outer one."""
    share = torch.sigmoid(x)
    return outer * share * (1 + x * (1 - share))


DECOMPOSED: dict[torch._ops.OpOverload, Callable[..., Tensor]] = {
    torch.ops.aten.lgamma.default: _log_gamma,
    torch.ops.aten.silu_backward.default: _silu_slope,
}
"""Operations that have no counterpart in ONNX."""


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the translation says about itself: of optional packages, and of its own deprecations."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
