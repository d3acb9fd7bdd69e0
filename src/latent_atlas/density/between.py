"""Points between real codes, where a dense latent space shows mixtures of images."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.shapes import Latents

__all__ = ["points_between"]

EDGE = 0.1  # of a line or turn at either end, where a point is hardly between


def points_between(
    codes: Float[Tensor, "m d"], n: int, mean: Tensor, *, generator: torch.Generator
) -> Latents:
    """`n` points between random pairs of codes: half on lines, half on turns round their mean.

    At a share s of the way, uniform in [0.1, 0.9], the point on the line is (1 - s) a + s b. That
    on the turn lies in its direction from the mean m, at a distance of (1 - s) |a - m| + s |b - m|.
    The middle of a line is nearer to m than real codes are; on a turn only the direction tells.

    Arguments:
        codes: Real codes, shape (m, d).
        n: How many points.
        mean: m, shape (d,).
        generator: Draws pairs and places.
    """

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).to(codes)

    a, b = (codes[(draw(n) * len(codes)).long()] - mean for _ in range(2))
    s = EDGE + (1 - 2 * EDGE) * draw(n, 1)
    line = torch.lerp(a, b, s)
    radius = torch.lerp(a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True), s)
    turned = radius * F.normalize(line, dim=1)
    on_line = torch.arange(n, device=codes.device)[:, None] < n // 2
    return mean + torch.where(on_line, line, turned)
