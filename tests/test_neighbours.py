"""The search for nearest codes, against sorting all distances."""

import pytest
import torch

from latent_atlas.errors import UserError
from latent_atlas.geometry import neighbours
from latent_atlas.geometry.neighbours import nearest_codes


@pytest.mark.parametrize("piece", [7, 65_536])
def test_neighbours_are_those_of_sorted_distances(
    piece: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PIECE", piece)
    codes, real = (torch.randn(n, 3, generator=generator) for n in (10, 40))
    found = nearest_codes(codes, real, 5)
    distances, rows = (codes[:, None] - real).norm(dim=2).sort(dim=1)
    assert torch.equal(found.rows, rows[:, :5])
    torch.testing.assert_close(found.distances, distances[:, :5])


def test_a_real_code_is_its_own_nearest_and_few_codes_are_all_neighbours(
    generator: torch.Generator,
) -> None:
    real = 1_000 + torch.randn(6, 4, generator=generator)
    found = nearest_codes(real, real, 8)
    assert found.rows.shape == (6, 6)
    assert torch.equal(found.rows[:, 0], torch.arange(6))
    assert (found.distances[:, 0] == 0).all()


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(UserError, match="0 neighbours were asked for; choose 1 or more"):
        nearest_codes(torch.zeros(1, 2), torch.zeros(3, 2), 0)
