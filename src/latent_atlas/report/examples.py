"""Example codes to draw a run by."""

import torch
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.travel.plan import plan
from latent_atlas.travel.planners.walk import Walk

__all__ = ["example_triple"]

FEW = 20  # held-out codes below which pairs are chosen among all codes
TRIED = 64  # random pairs


def example_triple(atlas: Atlas, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Three held-out codes whose map is informative, shape (d,) each.

    A and B are, of 64 random typical pairs, the pair whose midpoint has the lowest log-density. C
    is the held-out code nearest to the middle of the walk from A to B, off the line through them.
    """
    means = atlas.codes["held_out"].means
    if len(means) < FEW:
        means = torch.cat([means, atlas.codes["train"].means])
    means = means[atlas.map.log_prob(means).argsort(descending=True)[: max(3, 3 * len(means) // 4)]]
    pick = torch.randint(len(means), (2, TRIED), generator=generator, device=means.device)
    start, end = means[pick[0]], means[pick[1]]
    middle = (start + end) / 2
    same = (start == end).all(dim=1)
    best = int(atlas.map.log_prob(middle).masked_fill(same, torch.inf).argmin())
    a, b = start[best], end[best]
    walked = plan(atlas.map, a, b, Walk(arrive=True), frames=3).points[1, 0]
    along = (b - a) / (b - a).norm()
    offset = means - a
    across = (offset - (offset @ along)[:, None] * along).norm(dim=1)
    off_the_line = across >= min(0.3 * (b - a).norm().item(), across.max().item())
    return (
        a,
        b,
        means[int((means - walked).norm(dim=1).masked_fill(~off_the_line, torch.inf).argmin())],
    )
