"""Membership tells real codes from points between them, where a density alone cannot."""

from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from latent_atlas.density import GaussianMixture, Membership, StandardNormal
from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def auroc(real: Values, other: Values) -> float:
    truth = torch.cat([torch.ones_like(real), torch.zeros_like(other)])
    return float(roc_auc_score(truth.numpy(), torch.cat([real, other]).numpy()))


@pytest.fixture(scope="module")
def membership() -> Membership:
    codes = torch.randn(800, 32, generator=seeded())
    return Membership.fit(StandardNormal(32), codes, generator=seeded(1))


def test_the_middle_between_two_codes_is_likely_and_no_member(membership: Membership) -> None:
    """On N(0, I) in 32 dimensions the middle is 8 nats likelier; the radius is all that tells."""
    a, b = torch.randn(2, 400, 32, generator=seeded(2))
    middle = (a + b) / 2
    density = membership.density
    assert density.log_prob(middle).mean() > density.log_prob(a).mean() + 6
    best = auroc(a.norm(dim=1), middle.norm(dim=1))
    assert auroc(membership.log_odds(a), membership.log_odds(middle)) > best - 0.01 > 0.95
    assert 0.6 < membership.auroc < 0.75  # half of its fakes are on the shell, where codes are


def test_of_real_codes_five_in_a_hundred_are_no_members(membership: Membership) -> None:
    p_value = membership.p_value(torch.randn(4_000, 32, generator=seeded(3)))
    assert (p_value < 0.05).float().mean().item() == pytest.approx(0.05, abs=0.02)
    assert p_value.mean().item() == pytest.approx(0.5, abs=0.05)


def test_the_void_between_clusters_is_no_place_for_members(generator: torch.Generator) -> None:
    world = two_clusters(2, 6.0)
    found = Membership.fit(world, world.sample(400, generator=generator), generator=generator)
    assert found.p_value([[0.0, 0.0]]).item() < 0.05
    assert found.p_value([[-3.0, 0.0], [3.0, 0.0]]).min() > 0.05


def test_log_odds_follow_the_units_of_codes_and_have_a_gradient(membership: Membership) -> None:
    codes = torch.randn(400, 3, generator=seeded(4))
    fits = [
        Membership.fit(
            GaussianMixture(torch.ones(1), torch.zeros(1, 3), scale * torch.eye(3)[None]),
            scale * codes,
            generator=seeded(5),
        )
        for scale in (1.0, 50.0)
    ]
    at = torch.randn(9, 3, generator=seeded(6))
    small, large = (fit.log_odds(s * at) for fit, s in zip(fits, (1.0, 50.0), strict=True))
    torch.testing.assert_close(small, large, rtol=1e-2, atol=1e-2)
    z = at.clone().requires_grad_()
    fits[0].log_odds(z).sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_what_the_decoder_shows_tells_where_the_density_is_blind() -> None:
    """Codes at the corners of a cube; between two corners, at their radius, it decodes to a third."""
    corners = torch.randn(900, 6, generator=seeded(7)).sign()
    codes = corners + 0.1 * torch.randn(900, 6, generator=seeded(8))
    a, b = codes[600:750], codes[750:]
    between = torch.nn.functional.normalize(a + b + 1e-3, dim=1) * a.norm(dim=1, keepdim=True)
    blind, seeing = (
        Membership.fit(StandardNormal(6), codes[:600], cycle=cycle, generator=seeded(9))
        for cycle in (None, torch.sign)
    )
    assert auroc(seeing.log_odds(a), seeing.log_odds(between)) > 0.95
    assert auroc(blind.log_odds(a), blind.log_odds(between)) < 0.8
    part = seeing.parts(between)["change by decoding and encoding"]
    assert part.mean() < 0.1 < seeing.parts(a)["change by decoding and encoding"].mean()


def test_parts_are_two_sided(membership: Membership) -> None:
    """The mean is likelier and nearer than any real code, so both parts call it unusual."""
    parts = membership.parts(torch.zeros(1, 32))
    assert list(parts) == list(membership.names)
    assert torch.stack([*parts.values()]).max() < 0.01
    real = membership.parts(torch.randn(2_000, 32, generator=seeded(10)))
    assert real["distance from the mean"].mean().item() == pytest.approx(0.5, abs=0.05)


def test_membership_needs_codes_and_a_density(generator: torch.Generator) -> None:
    class Ratio(StandardNormal):
        has_log_prob = False

    codes: Latents = torch.randn(60, 2, generator=generator)
    with pytest.raises(UserError, match="membership needs 40 codes or more, not 3"):
        Membership.fit(StandardNormal(2), codes[:3], generator=generator)
    with pytest.raises(UserError, match="membership needs a log-density"):
        Membership.fit(Ratio(2), codes, generator=generator)


@pytest.mark.parametrize("dimension", [1, 2, 8, 32])
def test_places_beyond_all_real_codes_are_no_members(dimension: int) -> None:
    """The regression has only seen places between codes, and says nothing of those far away."""
    codes = torch.randn(600, dimension, generator=seeded(11))
    found = Membership.fit(StandardNormal(dimension), codes, generator=seeded(12))
    for times in (6.0, 30.0, 1e3, 1e30):
        assert found.p_value(times * codes[:50].sign()).max() == 0
    assert found.p_value(codes).mean() > 0.3


@pytest.mark.parametrize(
    ("cycle", "sentence"),
    [
        (lambda z: z[:1], "cycle made 1 code of"),
        (lambda z: z[:, :1], "codes must have shape"),
        (lambda z: None, "array"),
    ],
)
def test_a_cycle_that_makes_no_codes_is_refused(cycle: Any, sentence: str) -> None:
    codes = torch.randn(60, 3, generator=seeded(13))
    with pytest.raises(UserError, match=sentence):
        Membership.fit(StandardNormal(3), codes, cycle=cycle, generator=seeded())


def test_a_cycle_that_changes_nothing_or_is_of_numpy_is_taken() -> None:
    codes = torch.randn(60, 3, generator=seeded(14))
    for cycle in (lambda z: z, lambda z: z.numpy() + 0.1):
        found = Membership.fit(StandardNormal(3), codes, cycle=cycle, generator=seeded())
        assert found.p_value(codes).isfinite().all()
    codes[7, 1] = torch.nan
    with pytest.raises(UserError, match="1 code is not finite"):
        Membership.fit(StandardNormal(3), codes, generator=seeded())
