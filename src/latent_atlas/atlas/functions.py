"""What is exported of an atlas: the map at every level, its gradients, decoder and encoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.graphs import Traced
from latent_atlas.codes.wrapped_autoencoder import Autoencoder
from latent_atlas.density.base import StandardNormal
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.shapes import Images, Latents

__all__ = ["Network", "networks"]


@dataclass(frozen=True)
class Network:
    """A function to be written as a graph.

    Attributes:
        function: What it computes.
        examples: Arguments of it; the first has rows.
        inputs, outputs: Names of its arguments and of what it returns.
        parts: Graphs that give some of the outputs alone, by name.
    """

    function: Traced
    examples: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def networks(atlas: Atlas) -> Mapping[str, Network]:
    """The functions of an atlas by name, each of rows.

    | name | from | to |
    |---|---|---|
    | slopes | latents (n, d), angle (1,) | logit, log_prob (n,); logit_slope, score (n, d) |
    | decode | latents (n, d) | images (n, c, h, w) in [0, 1] |
    | encode | images (n, c, h, w) in [0, 1] | latents (n, d), width (n,) |

    The map is noised by tan(angle); width is the geometric mean of sigma.

    Without a density of the boundary there is no log_prob and no score; without a model no decode
    and no encode; no encode either where it is a search and no network; no width where an image is
    one point. `map` is the part of slopes without the gradients (n, d).
    """
    latents = _example(atlas, (atlas.map.dimension,))
    where = (latents, torch.zeros(1, device=atlas.device))
    read = _reading(atlas.map)
    values = ("logit", "log_prob") if atlas.map.has_log_prob else ("logit",)
    slopes = tuple({"logit": "logit_slope", "log_prob": "score"}[name] for name in values)
    steep = _with_slopes(read, len(values))
    found = {
        "slopes": Network(steep, where, ("latents", "angle"), values + slopes, {"map": values})
    }
    model = atlas.model
    if model is not None:
        found["decode"] = Network(model.differentiable, (latents,), ("latents",), ("images",))
        if model.has_encoder:
            images = _example(atlas, model.image_shape)
            outputs = ("latents",) if model.posterior(images)[1] is None else ("latents", "width")
            found["encode"] = Network(_posterior(model), (images,), ("images",), outputs)
    return found


def _example(atlas: Atlas, shape: tuple[int, ...]) -> Tensor:
    """Example rows. Their number is no other size: a trace takes equal sizes to be the same."""
    rows = next(n for n in range(2, 8) if n not in shape)
    return torch.zeros(rows, *shape, device=atlas.device)


def _posterior(model: Autoencoder) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """mu(x), and the geometric mean of sigma(x) if it has one."""

    def posterior(images: Images) -> tuple[Tensor, ...]:
        means, log_variances = model.unchecked_posterior(images)
        if log_variances is None:
            return (means.flatten(1),)
        return means.flatten(1), (log_variances.flatten(1).mean(dim=1) / 2).exp()

    return posterior


def _reading(latent_map: LatentMap) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
    """l(z) and log q(z) of `LatentMap.noised(tan(t))`, with t an argument of the graph.

    The network sees z at w cos(t), with w in the boundary's coordinates; the density of w is that
    of w cos(t) times the volume cos(t)^d.
    """
    boundary = latent_map.boundary
    standard = StandardNormal(latent_map.dimension)
    whiten = _affine(latent_map) if boundary.affine else boundary.whiten

    def read(latents: Latents, angle: Tensor) -> tuple[Tensor, ...]:
        w = angle.cos() * whiten(latents)
        logit = latent_map.network(w, angle)
        if not latent_map.has_log_prob:
            return (logit,)
        if boundary.affine:
            log_r = (
                standard.log_prob(w) - boundary.log_scale + latent_map.dimension * angle.cos().log()
            )
        else:
            log_r = boundary.log_prob(latents)
        return logit, logit + log_r

    return read


def _affine(latent_map: LatentMap) -> Callable[[Tensor], Tensor]:
    """`whiten` as one product: to solve for a thousand coordinates takes as many operations."""
    whiten = latent_map.boundary.whiten
    rows = torch.eye(latent_map.dimension, dtype=torch.double, device=latent_map.device)
    origin = whiten(0 * rows[:1])
    matrix, shift = (whiten(rows) - origin).float(), origin.float()
    return lambda latents: latents @ matrix + shift


def _with_slopes(read: Callable[..., tuple[Tensor, ...]], count: int) -> Traced:
    """Values, and the gradient of each with respect to its code."""

    def both(latents: Tensor, angle: Tensor) -> tuple[Tensor, ...]:
        values, pull = torch.func.vjp(lambda z: read(z, angle), latents)[:2]
        ones, none = torch.ones_like(values[0]), torch.zeros_like(values[0])
        slopes = (
            pull(tuple(ones if i == k else none for i in range(count)))[0] for k in range(count)
        )
        return (*values, *slopes)

    return both
