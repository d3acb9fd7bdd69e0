"""The synthetic atlas: a known population, drawings that say their codes, and a map that knows
where they are.
"""

import torch

from latent_atlas.explorer.demo.atlas import KINDS, demo_atlas, population
from latent_atlas.explorer.demo.decoder import PAPER, draw, recognise


def test_drawings_say_their_codes(generator: torch.Generator) -> None:
    z = population().sample(6, generator=generator)
    again = recognise(draw(z))
    assert (draw(again) - draw(z)).square().flatten(1).mean(dim=1).max() < 1e-4
    assert (again - z)[:, [0, 1, 4, 5]].abs().median() < 0.1  # colour and place


def test_shapes_have_the_area_of_superellipses() -> None:
    """4 r² Γ(1 + 1/p)² / Γ(1 + 2/p), where p = 2 is a circle, and p = 1, a square on its corner, is
    like a star.
    """
    codes = torch.zeros(3, 6)
    codes[:, 0], codes[:, 2] = 2.2, 1.5 * torch.atanh(torch.tensor([-1.0, 0.0, 1.0]) / 1.5)
    red = draw(codes)[:, 0]
    areas = ((red - PAPER) / (red.amax(dim=(1, 2), keepdim=True) - PAPER)).sum(dim=(1, 2))
    p, radius = torch.tensor([1.0, 2.0, 4.0]), 0.34 * 16  # pixels
    exact = 4 * radius**2 * torch.exp(2 * torch.lgamma(1 + 1 / p) - torch.lgamma(1 + 2 / p))
    assert ((areas - exact).abs() < 0.05 * exact).all()


def test_the_map_knows_that_grey_is_off_manifold(generator: torch.Generator) -> None:
    atlas = demo_atlas(steps=150)
    red, cyan = torch.tensor([2.2, 0, 0, 0, 0, 0]), torch.tensor([-2.2, 0, 0, 0, 0, 0])
    line = atlas.travel(red, cyan, "linear", frames=9)
    route = atlas.travel(red, cyan, "geodesic", frames=9)
    assert line.metrics.lowest_log_prob < atlas.map.threshold(0.05) < route.metrics.lowest_log_prob
    z = population().sample(1_000, generator=generator)
    gaussian = torch.distributions.MultivariateNormal(z.mean(dim=0), torch.cov(z.T))
    learned, exact, rival = (
        density.log_prob(z).mean().item() for density in (atlas.map, population(), gaussian)
    )
    assert (exact + rival) / 2 < learned < exact + 0.05
    assert atlas.label_names == KINDS
    assert len(atlas.labels["train"].unique()) == 3
