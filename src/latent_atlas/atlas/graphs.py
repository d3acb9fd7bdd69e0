"""Functions of tensors as files, their gradients among them: ONNX, or programs of torch.export.

A function is traced into single operations, closures and gradients included, and then translated.
So the map has one definition here and everywhere else.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["compact", "save_graph", "save_part", "save_program"]

MOST_ROWS = 512  # of one call: a function that works in pieces is traced for one piece
LARGEST_HALF = 65_504  # number of half precision
SHIFTED = 8  # steps up from x before Stirling's series: exact in single precision from x = 1/2 on

Traced = Callable[..., Tensor | tuple[Tensor, ...]]


def save_graph(
    function: Traced,
    examples: Sequence[Tensor],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    """Write a function as an ONNX file that takes 1 to 512 rows at a time.

    Arguments:
        function: From tensors to one or several, without branches that depend on their values.
        examples: Arguments to trace it with; the first has two or more rows, the others a fixed
            shape.
        path: The file.
        inputs, outputs: Their names in the file, in order.
    """
    with _quietly(), torch.inference_mode(False):
        program = torch.onnx.export(
            _traced(function, examples),
            tuple(examples),
            dynamo=True,
            dynamic_shapes=_free_rows(examples),
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
        assert program is not None
        program.save(path, external_data=False)


def save_program(function: Traced, examples: Sequence[Tensor], path: Path) -> None:
    """Write a function as a program that `torch.export.load` reads, of 1 to 512 rows at a time.

    Arguments: as for `save_graph`; the file is a `.pt2`.
    """
    with _quietly(), torch.inference_mode(False):
        program = torch.export.export(
            _traced(function, examples),
            tuple(examples),
            dynamic_shapes=_free_rows(examples),
        )
        torch.export.save(program, path)


def _traced(function: Traced, examples: Sequence[Tensor]) -> fx.GraphModule:
    """The function as single operations."""
    tracing = make_fx(
        lambda *given: function(*given),  # which would not take a method
        decomposition_table=DECOMPOSED,
        tracing_mode="symbolic",
        _allow_non_fake_inputs=True,  # the weights
    )
    return _in_one_piece(tracing(*examples)).eval()


def _free_rows(examples: Sequence[Tensor]) -> tuple[dict[int, object] | None, ...]:
    """Any number of rows of the first argument, and the others as they are."""
    return {0: torch.export.Dim("n", max=MOST_ROWS)}, *(None for _ in examples[1:])


def save_part(whole: Path, path: Path, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Write the part of a written graph that some outputs need, without another trace."""
    import onnx.utils

    onnx.utils.extract_model(str(whole), str(path), list(inputs), list(outputs))


def compact(path: Path, *, half: bool) -> None:
    """Drop from a written graph what it does not compute with: names of layers and lines of code.

    Arguments:
        path: The file.
        half: Whether to store weights in half precision; the graph computes in single precision.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph, casts = model.graph, []
    for weight in graph.initializer if half else ():
        values = numpy_helper.to_array(weight)
        if weight.data_type == TensorProto.FLOAT and abs(values).max(initial=0) < LARGEST_HALF:
            stored = f"{weight.name}/half"
            casts.append(helper.make_node("Cast", [stored], [weight.name], to=TensorProto.FLOAT))
            weight.CopyFrom(numpy_helper.from_array(values.astype("float16"), stored))
    nodes = [*casts, *graph.node]
    for one in nodes:
        one.ClearField("metadata_props")
        one.ClearField("doc_string")
    del graph.node[:], graph.value_info[:], graph.metadata_props[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def _in_one_piece(traced: fx.GraphModule) -> fx.GraphModule:
    """The same without the splits that gave one piece: the examples were one, and so is every call.

    Where they stay, their number of pieces ties the whole graph to the examples' number of rows.
    """
    for node in list(traced.graph.nodes):
        if node.target is torch.ops.aten.split.Tensor and len(node.meta["val"]) == 1:
            for piece in list(node.users):
                piece.replace_all_uses_with(node.args[0])
                traced.graph.erase_node(piece)
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


def _log_gamma(x: Tensor) -> Tensor:
    """log Γ(x) for x >= 1/2, which ONNX lacks: Stirling's series at x + 8, shifted back to x."""
    y = x.double() + SHIFTED
    series = (y - 0.5) * y.log() - y + 0.5 * math.log(2 * math.pi) + 1 / (12 * y) - 1 / (360 * y**3)
    below = torch.stack([(x.double() + k).log() for k in range(SHIFTED)]).sum(dim=0)
    return (series - below).to(x)


def _silu_slope(outer: Tensor, x: Tensor) -> Tensor:
    """The gradient of x sigmoid(x), times the outer one."""
    share = torch.sigmoid(x)
    return outer * share * (1 + x * (1 - share))


def _solve_triangular(
    factor: Tensor, given: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B for a triangular A (..., d, d), by substitution, which needs no inverse."""
    if not left:
        transposed = _solve_triangular(
            factor.mT, given.mT, upper=not upper, unitriangular=unitriangular
        )
        return transposed.mT
    d = factor.shape[-1]
    rows: list[Tensor] = []
    for done, i in enumerate(reversed(range(d)) if upper else range(d)):
        rest = given[..., i : i + 1, :]
        if done:
            known = torch.cat(rows[::-1] if upper else rows, dim=-2)
            rest = (
                rest - factor[..., i : i + 1, d - done :] @ known
                if upper
                else rest - factor[..., i : i + 1, :i] @ known
            )
        rows.append(rest if unitriangular else rest / factor[..., i : i + 1, i : i + 1])
    return torch.cat(rows[::-1] if upper else rows, dim=-2)


def _convolution_slope(
    outer: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    *_rest: object,
) -> tuple[Tensor, None, None]:
    """The gradient of a convolution in x, times the outer one; those in its weights have no use."""
    gaps = [
        side - ((given - 1) * s - 2 * p + d * (k - 1) + 1)
        for side, given, s, p, d, k in zip(
            x.shape[2:], outer.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]
    slope = torch.nn.functional.conv_transpose2d(
        outer, weight, None, stride, padding, gaps, dilation=dilation
    )
    return slope, None, None


DECOMPOSED: dict[torch._ops.OpOverload, Callable[..., Tensor | tuple[Tensor, None, None]]] = {
    torch.ops.aten.lgamma.default: _log_gamma,
    torch.ops.aten.silu_backward.default: _silu_slope,
    torch.ops.aten.linalg_solve_triangular.default: _solve_triangular,
    torch.ops.aten.convolution_backward.default: _convolution_slope,
}
"""Operations that have no counterpart in ONNX."""


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's messages on optional packages and its own deprecations."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
