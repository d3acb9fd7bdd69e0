"""Whether two sets of codes are of one distribution: laws on exact worlds, and the command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.data.load import load_images
from latent_atlas.errors import UserError
from latent_atlas.geometry.comparison import compare, kernel_test
from runs import digits_run

__all__ = ["digits_run"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def discrepancy(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """The statistic of `kernel_test`, sum by sum."""
    both = torch.cat([a, b]).double()
    squares = (both[:, None] - both).square().sum(dim=2)
    pairs = [float(squares[i, j]) for i in range(len(both)) for j in range(i)]
    kernel = (-squares / (2 * float(torch.tensor(pairs).median()))).exp()
    n, m = len(a), len(b)
    within = [float(kernel[i, j]) for i in range(n) for j in range(n) if i != j]
    rest = [float(kernel[i, j]) for i in range(n, n + m) for j in range(n, n + m) if i != j]
    return float(np.mean(within) + np.mean(rest) - 2 * kernel[:n, n:].mean())


class TestKernelTest:
    @pytest.mark.parametrize(("n", "m"), [(7, 7), (9, 4)])
    def test_the_statistic_is_its_formula(self, n: int, m: int) -> None:
        a, b = torch.randn(n, 3, generator=seeded(0)), torch.randn(m, 3, generator=seeded(1))
        found, _ = kernel_test(a, b, permutations=9, generator=seeded(2))
        assert found == pytest.approx(discrepancy(a, b), rel=1e-5)

    def test_without_drift_p_values_are_uniform_and_the_statistic_has_mean_zero(self) -> None:
        generator = seeded(1)
        found = [
            kernel_test(
                torch.randn(20, 4, generator=generator),
                torch.randn(12, 4, generator=generator),
                permutations=99,
                generator=generator,
            )
            for _ in range(400)
        ]
        statistic, p_values = torch.tensor(found, dtype=torch.double).T
        for level in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
            error = (level * (1 - level) / 400) ** 0.5
            assert float((p_values <= level).double().mean()) == pytest.approx(level, abs=3 * error)
        assert abs(statistic.mean()) < 4 * statistic.std() / 20

    @pytest.mark.parametrize(
        "change",
        [lambda z: z + 0.8, lambda z: 2 * z, lambda z: z[:, [0, 0, 1, 1]]],
        ids=["shift", "scale", "correlation"],
    )
    def test_a_shift_a_scale_and_a_correlation_are_found(
        self, change: Callable[[Tensor], Tensor]
    ) -> None:
        a, b = torch.randn(2, 300, 4, generator=seeded(3)).unbind()
        p_values = [
            kernel_test(a, other, permutations=99, generator=seeded(1))[1]
            for other in (b, change(b))
        ]
        assert p_values[0] > 0.05
        assert p_values[1] == pytest.approx(0.01)

    def test_equal_codes_do_not_drift(self) -> None:
        ones = torch.ones(6, 2)
        assert kernel_test(ones, ones, permutations=9, generator=seeded(0))[1] == 1


class TestComparison:
    def test_coverage_without_drift_is_as_expected(self) -> None:
        generator = seeded(0)
        found = [
            compare(
                torch.randn(40, 3, generator=generator),
                torch.randn(15, 3, generator=generator),
                generator=generator,
            )
            for _ in range(60)
        ]
        coverages = np.array([one.overlap.coverage for one in found])
        assert found[0].expected_coverage == pytest.approx(
            1 - np.prod([(40 - i) / (55 - i) for i in range(1, 6)])
        )
        assert coverages.mean() == pytest.approx(
            found[0].expected_coverage, abs=3 * coverages.std() / 60**0.5
        )

    def test_it_names_what_is_on_one_side_alone(self) -> None:
        real = torch.randn(200, 2, generator=seeded(0))
        real[:40] += 50  # a cluster that the others lack
        other = torch.randn(100, 2, generator=seeded(1))
        other[:3] = torch.tensor([[-40.0, 0.0], [-30.0, 0.0], [-20.0, 0.0]])
        names = tuple(f"photo {i}" for i in range(100))
        found = compare(real, other, names=names, generator=seeded(2))
        assert found.p_value == 0.001
        told = found.numbers()
        assert told["unlike"][:3] == ["photo 0", "photo 1", "photo 2"]
        assert len(told["unlike"]) < 15
        assert set(found.missing) >= set(range(40))
        assert told["missing"][0] == "row:0"
        assert json.loads(json.dumps(told)) == told
        assert "the distributions differ" in found.sentences()[0]

    def test_a_twentieth_is_unlike_without_drift(self) -> None:
        real, other = torch.randn(2, 2000, 2, generator=seeded(0)).unbind()
        found = compare(real, other, generator=seeded(1))
        assert len(found.unlike) / 2000 == pytest.approx(0.05, abs=0.015)

    def test_few_codes_are_refused(self) -> None:
        with pytest.raises(UserError, match="6 images or more on either side; there are 5"):
            compare(torch.randn(20, 2), torch.randn(5, 2), generator=seeded(0))

    def test_examples_stand_for_clusters(self) -> None:
        centres = 100 * torch.randn(16, 5, generator=seeded(0))
        sizes = torch.arange(10, 26)
        codes = centres.repeat_interleave(sizes, dim=0)
        codes = codes + torch.randn(codes.shape, generator=seeded(1))
        found = compare(codes, 500 + torch.rand(6, 5), generator=seeded(2))
        assert found.missing == list(range(len(codes)))
        nearest = torch.cdist(codes[found.examples], centres).argmin(dim=1)
        assert nearest.tolist() == list(range(15, -1, -1))

    def test_where_nothing_is_missing_there_are_no_examples(self) -> None:
        codes = torch.randn(20, 2, generator=seeded(0))
        assert compare(codes, codes, generator=seeded(1)).examples == []


@pytest.fixture(scope="module")
def folder(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out digits as files, and inverted ones in another folder."""
    folder = tmp_path_factory.mktemp("digits")
    atlas = Atlas.load(digits_run, device="cpu")
    for number, image in enumerate(load_images(atlas.config.data, 8, 1).test.images[:40, 0]):
        for name, pixels in (("same", image), ("inverted", 255 - image)):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels.numpy()).save(folder / name / f"{number:02}.png")
    return folder


def test_the_command_tells_inverted_digits_from_digits(
    digits_run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {}
    for name in ("same", "inverted"):
        assert latent_atlas("compare", str(digits_run), str(folder / name), "--json") == 0
        told[name] = json.loads(capsys.readouterr().out)
        assert told[name]["images"] == 40
    assert told["same"]["p_value"] > 0.05
    assert told["inverted"]["p_value"] == 0.001
    assert told["inverted"]["coverage"] < 0.5 * told["same"]["coverage"]
    assert len(told["inverted"]["unlike"]) > len(told["same"]["unlike"])
    assert told["inverted"]["missing"][0].startswith("test:")
    assert Path(told["inverted"]["picture"]).stat().st_size > 0
    assert latent_atlas("compare", str(digits_run), str(folder / "inverted")) == 0
    assert "the distributions differ" in capsys.readouterr().out


def test_a_run_is_compared_with_one_of_the_same_model_alone(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(digits_run, tmp_path / "copy")
    assert latent_atlas("compare", str(digits_run), str(copy), "--json") == 0
    assert json.loads(capsys.readouterr().out)["p_value"] == 1
    np.save(tmp_path / "codes.npy", torch.randn(60, 3, generator=seeded(0)).numpy())
    words = ("--steps", "20", "--set", "map.width=16", "--set", "map.depth=1")
    assert (
        latent_atlas("fit", str(tmp_path / "codes.npy"), "--out", str(tmp_path / "c"), *words) == 0
    )
    capsys.readouterr()
    assert latent_atlas("compare", str(digits_run), str(tmp_path / "c")) == 2
    assert "cannot be compared" in capsys.readouterr().err
    assert latent_atlas("compare", str(tmp_path / "c"), str(tmp_path / "codes.npy"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unlike"] == [] or told["unlike"][0].startswith("row:")
    assert "picture" not in told


def test_images_that_are_on_both_sides_are_said_and_not_unlike() -> None:
    real = torch.randn(60, 3, generator=seeded(0))
    found = compare(real, torch.cat([real[:20], real[:1] + 40, real[5:9] + 1]), generator=seeded(1))
    assert found.shared == list(range(20))
    assert found.unlike[0] == 20
    assert not set(found.unlike) & set(found.shared)
    assert "20 images of the set are real images as well" in found.sentences()[0]
    assert "as well" not in compare(real, real + 1, generator=seeded(1)).sentences()[0]
