r"""Layers with the map that takes a gradient back through them, of which a loss may be taken.

Autograd would build the graph of that map out of many small products. Here it is one step forward
and one step back:

    silu(x) = x s,    silu'(x) = s (1 + x (1 - s)),    silu''(x) = s (2 + x (1 - s) - 2 silu'(x))

with the logistic function s(x). A gradient v at the layer normalisation n = r (h - mean h), where
r = 1 / √(var h + EPS), is at h

    J v = r (v - mean v - n mean(n v)),

J is symmetric, and the gradient of <g, J v> at h is

    -r (J (mean(n v) g + mean(n g) v) + mean(g · J v) n).

Each map takes gradients at the first k rows. Without a graph, fewer kernels do.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["EPS", "norm_silu", "rows", "silu"]

EPS = 1e-5  # of layer normalisation

silu_backward = torch.ops.aten.silu_backward
layer_norm_backward = torch.ops.aten.native_layer_norm_backward


def silu(x: Tensor, k: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The silu of x, shape (n, width), and the map from a gradient (k, width) there to x."""
    if not torch.is_grad_enabled():
        first = rows(x, k)
        return F.silu(x), lambda v: silu_backward(v, first)
    value, slope = _Silu.apply(x, k)  # pyright: ignore[reportGeneralTypeIssues] - not in the stubs
    return value, lambda v: v * slope


def norm_silu(
    hidden: Tensor, weight: Tensor, bias: Tensor, k: int
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """silu(weight · n + bias), and the map from a gradient (k, width) there to h.

    Arguments:
        hidden: h, shape (n, width).
        weight, bias: Shape (m, width), where m divides n and k; row i mod m is that of row i.
        k: Rows whose gradient is asked for.
    """
    if torch.is_grad_enabled() or weight.shape[0] > 1:
        value, slope, *moments = _NormSilu.apply(hidden, weight, bias, k)  # pyright: ignore[reportGeneralTypeIssues]
        return value, lambda v: _ToHidden.apply(slope * v, *moments)  # pyright: ignore[reportReturnType]
    shared = weight[0], bias[0]
    update, *moments = torch.native_layer_norm(hidden, hidden.shape[1:], *shared, EPS)
    first, hidden, mean, r = (rows(one, k) for one in (update, hidden, *moments))
    return F.silu(update), lambda v: _backward(silu_backward(v, first), hidden, mean, r, *shared)


def rows(values: Tensor, k: int) -> Tensor:
    """The first k rows, without a kernel where these are all or one for all."""
    return values if values.shape[0] in (1, k) else values[:k]  # `len` takes longer


class _Silu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        value, slope, *parts = _silu_and_slope(x, k)
        ctx.save_for_backward(slope, *parts)
        return value, slope[:k]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (on_value, on_slope), (slope, *parts) = gradients, ctx.saved_tensors
        at_x = on_value * slope
        at_x[: len(on_slope)] += _curve(slope, *parts).mul_(on_slope)
        return at_x, None


class _NormSilu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, k: int
    ) -> tuple[Tensor, ...]:
        with torch.autocast(hidden.device.type, enabled=False):
            normed, mean, r = torch.native_layer_norm(hidden, hidden.shape[1:], None, None, EPS)
        weight, bias = weight.to(hidden), bias.to(hidden)
        update = torch.addcmul(bias, _by(normed, weight), weight).flatten(0, 1)
        value, slope, *parts = _silu_and_slope(update, k)
        ctx.save_for_backward(hidden, normed, mean, r, weight, slope, *parts)
        moments = normed[:k], mean[:k], r[:k]
        ctx.mark_non_differentiable(*moments)
        return value, _times(slope[:k], weight), hidden[:k], *moments

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        on_value, on_back, on_hidden, *_ = gradients
        hidden, normed, mean, r, weight, slope, *parts = ctx.saved_tensors
        k = len(on_back)
        at_update = on_value * slope
        at_update[:k] += _times(on_back, weight).mul_(_curve(slope, *parts))
        at_weight = _by(at_update * normed, weight).sum(dim=0)
        at_weight += _by(on_back * slope[:k], weight).sum(dim=0)
        at_hidden = _backward(_times(at_update, weight), hidden, mean, r)
        at_hidden[:k] += on_hidden
        return at_hidden, at_weight, _by(at_update, weight).sum(dim=0), None


class _ToHidden(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, v: Tensor, hidden: Tensor, normed: Tensor, mean: Tensor, r: Tensor
    ) -> Tensor:
        at_hidden = _backward(v, hidden, mean, r)
        ctx.save_for_backward(v, hidden, normed, mean, r, at_hidden)
        return at_hidden

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (v, hidden, normed, mean, r, at_hidden) = gradients, ctx.saved_tensors
        on_v, on_g, on_both = (
            (one * other).mean(dim=1, keepdim=True)
            for one, other in ((v, normed), (g, normed), (g, at_hidden))
        )
        mixed = torch.addcmul(on_v * g, on_g, v)
        onward = _backward(mixed, hidden, mean, r).addcmul_(on_both, normed).mul_(-r)
        return _backward(g, hidden, mean, r), onward, None, None, None


def _silu_and_slope(x: Tensor, k: int) -> tuple[Tensor, ...]:
    """silu(x), silu'(x), and what `_curve` needs of the first k rows."""
    s = x.sigmoid()
    value = x * s
    rest = x - value
    return value, torch.addcmul(s, s, rest), s[:k], rest[:k]


def _curve(slope: Tensor, s: Tensor, rest: Tensor) -> Tensor:
    """silu'' of the first rows."""
    return torch.sub(rest, slope[: len(s)], alpha=2).add_(2).mul_(s)


def _by(values: Tensor, weight: Tensor) -> Tensor:
    """Values (n, width) as (n / m, m, width), for weights (m, width)."""
    return values.unflatten(0, (-1, len(weight)))


def _times(values: Tensor, weight: Tensor) -> Tensor:
    return (_by(values, weight) * weight).flatten(0, 1)


def _backward(
    v: Tensor,
    hidden: Tensor,
    mean: Tensor,
    r: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """J (weight · v)."""
    only = [True, False, False]
    return layer_norm_backward(v, hidden, hidden.shape[1:], mean, r, weight, bias, only)[0]
