r"""Layers that also give what their gradient needs, so that a loss may be taken of that gradient.

Autograd would build the gradient's graph out of many small products. Here a layer is one step
forward and one step back:

    silu(x) = x s,    silu'(x) = s (1 + x (1 - s)),    silu''(x) = s (2 + x (1 - s) - 2 silu'(x))

with the logistic function s(x). A gradient v at the layer normalisation n = r (h - mean h), where
r = 1 / √(var h + EPS), is at h

    J v = r (v - mean v - n mean(n v)),

J is symmetric, and the gradient of <g, J v> at h is

    -r (J (mean(n v) g + mean(n g) v) + mean(g · J v) n).

Each function takes the gradient of the first k rows only. Without a graph, fewer kernels do.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["EPS", "norm_silu", "silu", "to_hidden"]

EPS = 1e-5  # of layer normalisation

silu_backward = torch.ops.aten.silu_backward
layer_norm_backward = torch.ops.aten.native_layer_norm_backward


def silu(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The silu of x, shape (n, width), and its derivative at the first k rows."""
    if torch.is_grad_enabled():
        return _Silu.apply(x, k)  # pyright: ignore[reportReturnType] - missing in the stubs
    return F.silu(x), silu_backward(x.new_ones(1).expand_as(x[:k]), x[:k])


def norm_silu(hidden: Tensor, weight: Tensor, bias: Tensor, k: int) -> tuple[Tensor, ...]:
    """silu(u) of u = weight · n + bias; of the first k rows, weight · silu'(u), h, n, mean h, r.

    Arguments:
        hidden: h, shape (n, width).
        weight, bias: Shape (m, width), where m divides n and k; row i mod m is that of row i.
        k: Rows whose gradient is asked for.
    """
    if torch.is_grad_enabled() or len(weight) > 1:
        return _NormSilu.apply(hidden, weight, bias, k)  # pyright: ignore[reportReturnType] - missing in the stubs
    update, mean, r = torch.native_layer_norm(hidden, hidden.shape[1:], weight[0], bias[0], EPS)
    slope = silu_backward(weight.expand_as(update[:k]), update[:k])
    return F.silu(update), slope, hidden[:k], hidden[:k], mean[:k], r[:k]  # n is not needed then


def to_hidden(v: Tensor, *moments: Tensor) -> Tensor:
    """J v at h, both (k, width); `moments` are h, n, mean h and r as of `norm_silu`."""
    if torch.is_grad_enabled():
        return _ToHidden.apply(v, *moments)  # pyright: ignore[reportReturnType] - missing in the stubs
    hidden, _, mean, r = moments
    return _backward(v, hidden, mean, r)


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
        update = torch.addcmul(bias, _rows(normed, weight), weight).flatten(0, 1)
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
        at_weight = _rows(at_update * normed, weight).sum(dim=0)
        at_weight += _rows(on_back * slope[:k], weight).sum(dim=0)
        at_hidden = _backward(_times(at_update, weight), hidden, mean, r)
        at_hidden[:k] += on_hidden
        return at_hidden, at_weight, _rows(at_update, weight).sum(dim=0), None


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


def _rows(values: Tensor, weight: Tensor) -> Tensor:
    """Values (n, width) as (n / m, m, width), for weights (m, width)."""
    return values.unflatten(0, (-1, len(weight)))


def _times(values: Tensor, weight: Tensor) -> Tensor:
    return (_rows(values, weight) * weight).flatten(0, 1)


def _backward(v: Tensor, hidden: Tensor, mean: Tensor, r: Tensor) -> Tensor:
    """J v."""
    only = [True, False, False]
    return layer_norm_backward(v, hidden, hidden.shape[1:], mean, r, None, None, only)[0]
