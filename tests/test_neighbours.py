"""The search for nearest codes, against sorting all distances."""

from pathlib import Path

import pytest
import torch

from latent_atlas.codes import neighbours
from latent_atlas.codes.neighbours import NeighbourIndex, nearest_codes, nearest_others
from latent_atlas.errors import UserError


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


@pytest.mark.parametrize("block", [60, 2**24])
def test_others_are_those_of_sorted_distances(
    block: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    codes = 1_000 + torch.randn(30, 4, generator=generator)
    codes[7] = codes[3]
    found = nearest_others(codes, 5)
    distances = (codes[:, None] - codes).norm(dim=2).fill_diagonal_(torch.inf).sort(dim=1)
    torch.testing.assert_close(found.distances, distances.values[:, :5])
    assert (found.rows[[3, 7], 0]).tolist() == [7, 3]
    assert found.distances[3, 0] == 0
    assert nearest_others(codes[:3], 9).rows.shape == (3, 2)
    with pytest.raises(UserError, match="choose 1 or more of 2"):
        nearest_others(codes[:1], 1)


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(UserError, match="0 neighbours were asked for; choose 1 or more"):
        nearest_codes(torch.zeros(1, 2), torch.zeros(3, 2), 0)


class TestAnIndexOfManyCodes:
    """What `NeighbourIndex` answers from a million codes on, which are 2,000 here."""

    @pytest.fixture(autouse=True)
    def few_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("faiss")
        monkeypatch.setattr(neighbours, "MANY", 1_000)

    @pytest.fixture
    def real(self, generator: torch.Generator) -> torch.Tensor:
        places = 2 * torch.randn(20, 4, generator=generator)
        kind = torch.randint(20, (2_000,), generator=generator)
        return 50 + places[kind] + 0.3 * torch.randn(2_000, 4, generator=generator)

    def test_it_finds_nearly_all_neighbours_at_their_exact_distances(
        self, real: torch.Tensor, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        codes = real[:200] + 0.1 * torch.randn(200, 4, generator=generator)
        exact = nearest_codes(codes, real, 10)
        index = NeighbourIndex(real)
        with monkeypatch.context() as patch:
            patch.setattr(neighbours, "nearest_codes", None)  # it is the index that answers
            found = index.nearest(codes, 10)
        same = (found.rows[:, :, None] == exact.rows[:, None]).any(dim=2)
        assert same.float().mean() > 0.97
        apart = (codes[:, None] - real[found.rows]).norm(dim=2)
        torch.testing.assert_close(found.distances, apart)
        assert (found.distances.diff(dim=1) >= 0).all()

    def test_it_is_written_once_and_read_again(self, real: torch.Tensor, tmp_path: Path) -> None:
        first = NeighbourIndex(real, tmp_path / "neighbours.faiss")
        assert first.unbuilt
        found = first.nearest(real[:5], 3)
        written = (tmp_path / "neighbours.faiss").stat().st_mtime_ns
        again = NeighbourIndex(real, tmp_path / "neighbours.faiss")
        assert not again.unbuilt
        assert torch.equal(again.nearest(real[:5], 3).rows, found.rows)
        assert (tmp_path / "neighbours.faiss").stat().st_mtime_ns == written

    @pytest.mark.parametrize("change", ["other codes", "more codes", "damage"])
    def test_an_index_of_other_codes_is_replaced(
        self, change: str, real: torch.Tensor, tmp_path: Path
    ) -> None:
        file = tmp_path / "neighbours.faiss"
        NeighbourIndex(real, file).build()
        if change == "damage":
            file.write_bytes(file.read_bytes()[:1_000])
        else:
            real = real.flip(0) if change == "other codes" else torch.cat([real, real[:1] + 9])
        index = NeighbourIndex(real, file)
        assert index.unbuilt
        assert index.nearest(real[-3:], 1).rows[:, 0].tolist() == list(
            range(len(real) - 3, len(real))
        )
        assert not NeighbourIndex(real, file).unbuilt

    def test_where_nothing_can_be_written_it_stays_in_memory(
        self, real: torch.Tensor, tmp_path: Path
    ) -> None:
        index = NeighbourIndex(real, tmp_path / "missing" / "neighbours.faiss")
        assert index.nearest(real[:3], 1).rows[:, 0].tolist() == [0, 1, 2]
        assert not index.unbuilt

    def test_more_neighbours_than_its_cells_hold_are_found_by_all_distances(
        self, real: torch.Tensor
    ) -> None:
        found = NeighbourIndex(real).nearest(real[:2], 1_900)
        assert torch.equal(found.rows, nearest_codes(real[:2], real, 1_900).rows)

    def test_fewer_codes_are_searched_exactly(self, real: torch.Tensor) -> None:
        index = NeighbourIndex(real[:999])
        assert not index.unbuilt
        assert torch.equal(
            index.nearest(real[:9], 4).rows, nearest_codes(real[:9], real[:999], 4).rows
        )

    def test_no_neighbours_are_refused(self, real: torch.Tensor) -> None:
        with pytest.raises(UserError, match="0 neighbours were asked for; choose 1 or more"):
            NeighbourIndex(real).nearest(real[:1], 0)
