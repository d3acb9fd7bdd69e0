"""R-hat and effective sample size against chains whose autocorrelation is known."""

import pytest
import torch
from arviz_stats.base import array_stats

from latent_atlas.errors import UserError
from latent_atlas.sampling.convergence import bulk_ess, split_r_hat


def autoregressive(
    correlation: float, steps: int, chains: int, generator: torch.Generator
) -> torch.Tensor:
    """x_k = ρ x_{k-1} + sqrt(1 - ρ²) ε, shape (steps, chains, 1), in equilibrium from the start."""
    noise = torch.randn(steps, chains, 1, generator=generator)
    trace = [noise[0]]
    for eps in noise[1:]:
        trace.append(correlation * trace[-1] + (1 - correlation**2) ** 0.5 * eps)
    return torch.stack(trace)


@pytest.mark.parametrize("correlation", [-0.4, 0.0, 0.5, 0.9])
def test_an_autoregressive_chain_is_worth_its_closed_form(
    correlation: float, generator: torch.Generator
) -> None:
    # 1 + 2 Σ ρ^t = (1 + ρ) / (1 - ρ)
    trace = autoregressive(correlation, 2_000, 8, generator)
    expected = 16_000 * (1 - correlation) / (1 + correlation)
    assert bulk_ess(trace).item() == pytest.approx(expected, rel=0.2)  # it varies by 6 %
    assert split_r_hat(trace).item() == pytest.approx(1, abs=0.02)


def test_r_hat_of_shifted_chains_is_the_closed_form_s(generator: torch.Generator) -> None:
    # Ranks of values apart by far keep the order only, so the shift is kept small; W = 1 and B / N
    # = v.
    trace = torch.randn(1_000, 50, 1, generator=generator)
    shifted = trace + 0.5 * torch.randn(1, 50, 1, generator=generator)
    between = shifted.mean(dim=0).var().item()
    assert split_r_hat(shifted).item() == pytest.approx((1 + between) ** 0.5, rel=0.02)
    assert bulk_ess(shifted).item() < 1_000


def test_a_drift_is_seen_though_all_chains_share_it(generator: torch.Generator) -> None:
    drift = torch.linspace(-1, 1, 200)[:, None, None]
    assert split_r_hat(torch.randn(200, 10, 1, generator=generator) + drift).item() > 1.1


def test_ranks_do_not_mind_what_the_values_are_called(generator: torch.Generator) -> None:
    trace = autoregressive(0.5, 200, 4, generator)
    torch.testing.assert_close(split_r_hat(trace.exp() ** 3), split_r_hat(trace))
    torch.testing.assert_close(bulk_ess(trace.exp() ** 3), bulk_ess(trace))


def test_chains_that_never_move_are_worth_about_nothing() -> None:
    still = torch.arange(5.0)[None, :, None].expand(20, 5, 1)
    assert split_r_hat(still).item() > 100
    assert bulk_ess(still).item() < 12


def test_coordinates_are_judged_one_by_one(generator: torch.Generator) -> None:
    trace = torch.cat([autoregressive(c, 500, 4, generator) for c in (0.0, 0.95)], dim=2)
    good, bad = bulk_ess(trace).tolist()
    assert good > 10 * bad
    torch.testing.assert_close(bulk_ess(trace)[:1], bulk_ess(trace[..., :1]))


@pytest.mark.parametrize("steps", [101, 400])
@pytest.mark.parametrize("kind", ["independent", "opposed", "sticky", "apart", "in two values"])
def test_both_numbers_are_those_of_arviz(kind: str, steps: int, generator: torch.Generator) -> None:
    correlation = {"opposed": -0.6, "sticky": 0.95}.get(kind, 0.0)
    trace = autoregressive(correlation, steps, 4, generator)
    if kind == "apart":
        trace = trace + torch.arange(4.0)[:, None]
    elif kind == "in two values":
        trace = (trace > 0.5).float()  # ties share a rank
    values = trace[..., 0].double().numpy()
    axes = {"chain_axis": 1, "draw_axis": 0}
    r_hat = array_stats.rhat(values, method="z_scale", **axes)
    assert split_r_hat(trace).item() == pytest.approx(r_hat, rel=1e-6)
    # ArviZ adds the even lag of the pair that ends the sum, and leaves the last lags out.
    assert bulk_ess(trace).item() == pytest.approx(
        array_stats.ess(values, method="bulk", **axes), rel=0.08
    )


def test_too_short_chains_are_refused() -> None:
    with pytest.raises(UserError, match="7 states of each chain are too few"):
        split_r_hat(torch.zeros(7, 2, 1))
