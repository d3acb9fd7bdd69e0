"""The command `travel` and the verbs of an atlas: every kind of journey, every kind of file, every refusal."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.errors import UserError
from latent_atlas.travel import Geodesic, Graph, plan
from latent_atlas.travel.planners.base import Resources


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes of classes that learn for a few steps: what they are worth is tested where they are made."""
    monkeypatch.setattr(ClassProbe, "fit", partial(ClassProbe.fit, steps=100))


@pytest.fixture(scope="module")
def run(digits_run: Path) -> Path:
    return digits_run


@pytest.fixture(scope="module")
def atlas(run: Path) -> Atlas:
    return Atlas.load(run, device="cpu")


@pytest.fixture(scope="module")
def places(atlas: Atlas) -> Tensor:
    """Four held-out codes inside the population, (4, d)."""
    means = atlas.codes["held_out"].means
    return means[atlas.map.log_prob(means) > atlas.map.threshold(0.3)][:4]


class TestAtlas:
    def test_the_default_is_a_typical_path_that_arrives(self, atlas: Atlas, places: Tensor) -> None:
        path = atlas.travel(places[0], places[1], frames=5)
        assert path.planner == "typical"
        assert torch.equal(path.points[-1], places[1:2])
        torch.testing.assert_close(path.strip()[0], atlas.decode(places[0])[0])

    def test_a_cut_path_shows_frames_like_real_codes_alone(
        self, atlas: Atlas, places: Tensor
    ) -> None:
        whole, short = (
            atlas.travel(places[0], 4 * places[1], "linear", cut=cut) for cut in (False, True)
        )
        assert whole.p_values is not None
        assert short.p_values is not None
        assert (whole.p_values[1:-1] < 0.05).any()
        inner = (short.points != short.points[0]) & (short.points != short.points[-1])
        assert (short.p_values[inner.any(dim=2)] >= 0.05).all()
        assert short.metrics.largest_jump > whole.metrics.largest_jump
        replaced = int((short.points != whole.points).any(dim=2).sum())
        assert short.warnings[-1].startswith(f"{replaced} of 17 frames were unlike real codes")

    def test_it_plans_with_the_floor_of_held_out_means(self, atlas: Atlas, places: Tensor) -> None:
        planner = Geodesic(strength=20.0)
        mine = atlas.travel(places[0], places[1], planner, frames=17, images=False)
        held_out, learned = (
            planner.completed(atlas.map, Resources(held_out=atlas.codes[part].means))
            for part in ("held_out", "train")
        )
        assert held_out.threshold != learned.threshold
        expected = plan(atlas.map, places[0], places[1], held_out)
        torch.testing.assert_close(mine.points, expected.points)

    def test_it_travels_by_several_stops_of_images_or_codes_and_back(
        self, atlas: Atlas, places: Tensor
    ) -> None:
        by_codes = atlas.travel(list(places[:3]), frames=10, closed=True)
        assert by_codes.waypoints is not None
        assert len(by_codes.waypoints) == 4
        assert torch.equal(by_codes.points[0], by_codes.points[-1])
        assert torch.equal(atlas.travel(places[:3], frames=10, closed=True).points, by_codes.points)
        images = atlas.decode(places[:3])
        by_images = atlas.travel(images, None, "linear", frames=7)
        torch.testing.assert_close(by_images.points[0], atlas.encode(images[:1]))
        assert by_images.strip().shape == (7, 1, 8, 8)
        batches = atlas.travel([places[:2], places[1:3], places[2:]], frames=7)
        assert batches.points.shape == (7, 2, 3)

    def test_graphs_have_its_codes_and_pull_backs_its_decoder(
        self, atlas: Atlas, places: Tensor
    ) -> None:
        planner = Graph(refine=False, neighbours=5)
        path = atlas.travel(places[0], places[1], planner)
        codes, held_out = (atlas.codes[part].means for part in ("train", "held_out"))
        known = Resources(codes, held_out)
        mine = plan(atlas.map, places[0], places[1], planner.completed(atlas.map, known))
        torch.testing.assert_close(path.points, mine.points)
        best = atlas.travel(places[0], places[1], "auto").info
        assert best.chosen is not None
        assert best.chosen[0] in ("linear", "geodesic", "graph")
        assert best.graph is not None
        few = atlas.travel(places[0], places[1], Graph(codes=codes[:20]))
        assert few.info.graph is not None
        assert few.info.graph.codes == 20
        shortened, straight = (
            atlas.travel(places[0], places[1], name, frames=17) for name in ("pullback", "linear")
        )
        energies = [
            (path.images.diff(dim=0).square().sum()).item() for path in (shortened, straight)
        ]  # type: ignore
        assert energies[0] <= energies[1]
        with torch.inference_mode():
            assert torch.equal(
                atlas.travel(places[0], places[1], "pullback").points, shortened.points
            )

    def test_a_graph_of_more_codes_than_fit_repeats(self, atlas: Atlas, places: Tensor) -> None:
        first, second = (atlas.travel(places[0], places[1], Graph(max_codes=100)) for _ in range(2))
        assert torch.equal(first.points, second.points)
        other = atlas.travel(
            places[0], places[1], Graph(max_codes=100), generator=torch.Generator().manual_seed(5)
        )
        for path in (first, other):
            assert path.info.graph is not None
            assert path.info.graph.codes == 100

    def test_its_class_is_kept_by_a_probe_that_is_learned_once(
        self, atlas: Atlas, places: Tensor
    ) -> None:
        path = atlas.travel(places[0], places[1], preserve="class", planner="linear", frames=5)
        probe = atlas.properties["class"]
        assert {"drift class", "broken", "progress"} <= path.metrics.as_dict().keys()
        assert atlas.properties["class"] is probe
        held = atlas.travel(places[0], places[1], preserve=["component:0"], within=0.2, frames=5)
        values = atlas.properties["component:0"].values(held.points.flatten(0, 1))
        assert (values - values[0]).abs().max() <= 0.2 + 1e-5

    def test_a_perceived_pace_is_even_in_pixels_or_in_given_features(
        self, atlas: Atlas, places: Tensor
    ) -> None:
        for features in (None, lambda images: images.mean(dim=3).flatten(1)):
            path = atlas.travel(places[0], places[1], pace="perceived", features=features)
            seen = path.strip().flatten(1) if features is None else features(path.strip())
            steps = seen.diff(dim=0).norm(dim=1)
            assert (steps.max() / steps.mean()).item() == pytest.approx(1, abs=0.02)
            assert torch.equal(path.points[-1], places[1:2])

    def test_along_explore_and_repair_have_images(self, atlas: Atlas, places: Tensor) -> None:
        more = atlas.traverse(places[0], "component:1", by=0.1, keep="component:0", frames=4)
        axis = atlas.properties["component:1"]
        change = axis.values(more.points[-1]) - axis.values(more.points[0])
        assert change.item() == pytest.approx(0.1, abs=0.01)
        around = atlas.random_walk(
            places[:2], frames=4, tuning=20, generator=torch.Generator().manual_seed(0)
        )
        assert around.points.shape == (4, 2, 3)
        assert around.metrics.off_manifold.max() == 0
        lost = torch.cat([places[:1], torch.full((1, 3), 6.0)])
        back = atlas.project(lost)
        assert torch.equal(back.points[0], lost)
        assert back.metrics.moved[0] == 0
        assert back.metrics.moved[1] > 1
        threshold = atlas.map.threshold(0.05)
        assert atlas.map.log_prob(back.points[1])[1].item() == pytest.approx(threshold, abs=0.1)
        for path in (more, around, back):
            assert path.strip().shape[1:] == (1, 8, 8)

    def test_ends_outside_are_noted(self, atlas: Atlas, places: Tensor) -> None:
        path = atlas.travel(places[0], torch.full((3,), 6.0))
        said = " ".join(path.warnings)
        assert "nats below the threshold" in said
        assert "travel.project moves codes onto the manifold" in said

    def test_bad_requests_get_one_sentence(self, atlas: Atlas, places: Tensor) -> None:
        with pytest.raises(UserError, match="the pace is 'jog'; choose latent, or perceived"):
            atlas.travel(places[0], places[1], pace="jog")
        with pytest.raises(UserError, match="perceived, which is by features of images"):
            atlas.travel(places[0], places[1], features=lambda images: images.flatten(1))
        for alone in (places[0], places[0].tolist(), places[:1], atlas.decode(places[0])[0]):
            with pytest.raises(UserError, match="two or more waypoints, and one was given"):
                atlas.travel(alone)
        with pytest.raises(UserError, match="two or more waypoints, and none were given"):
            atlas.travel([])
        with pytest.raises(UserError, match="codes must have 3 coordinates; these have 2"):
            atlas.travel(places[0, :2])
        with pytest.raises(UserError, match="at each waypoint; there are 2, 1"):
            atlas.travel(places[:2], places[2])
        with pytest.raises(UserError, match="put the end among the stops"):
            atlas.travel([places[0], places[1]], places[2])
        with pytest.raises(UserError, match="no attribute 'wings'"):
            atlas.travel(places[0], places[1], preserve="wings")


class TestCommand:
    def told(
        self, capsys: pytest.CaptureFixture[str], *words: str
    ) -> tuple[dict[str, dict[str, float]], str]:
        assert latent_atlas("travel", *words, "--json") == 0
        said = capsys.readouterr()
        return json.loads(said.out)["travel"], said.err

    def test_several_planners_are_drawn_beside_the_straight_line(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "trip.png"
        words = (
            str(run),
            "test:3",
            "test:5",
            "--planner",
            "geodesic,auto",
            "--planner",
            "walk",
            "--arrive",
        )
        told, _ = self.told(
            capsys, *words, "--set", "strength=3", "--set", "widths=0.5,0", "--out", str(out)
        )
        assert list(told) == ["linear", "geodesic", "auto", "walk"]
        known = {"off_manifold", "non_members", "converged", "iterations", "residual"}
        assert known <= told["geodesic"].keys()
        assert told["auto"]["chosen"] in ("linear", "geodesic", "graph")
        with Image.open(out) as picture:
            assert picture.size[1] > picture.size[0] * 0.5

    def test_the_default_is_typical_and_the_walk_s_flags_choose_it(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert list(self.told(capsys, str(run), "test:3", "test:5")[0]) == ["linear", "typical"]
        assert list(self.told(capsys, str(run), "test:3", "test:5", "--arrive")[0]) == [
            "linear",
            "walk",
        ]
        assert (run / "travel.png").is_file()

    def test_a_gif_shows_a_round_trip_once(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "trip.gif"
        words = (
            str(run),
            "test:3",
            "test:5",
            "test:8",
            "--closed",
            "--frames",
            "13",
            "--out",
            str(out),
        )
        told, _ = self.told(capsys, *words)
        assert told["typical"]["converged"] in (True, False)
        with Image.open(out) as picture:
            assert (picture.n_frames, picture.size) == (13, (256, 256))

    def test_an_mp4_tiles_the_planners_there_and_back(self, run: Path, tmp_path: Path) -> None:
        av = pytest.importorskip("av")
        out = tmp_path / "trip.mp4"
        words = (
            "travel",
            str(run),
            "test:3",
            "test:5",
            "--planner",
            "geodesic,linear",
            "--pace",
            "perceived",
        )
        assert latent_atlas(*words, "--frames", "5", "--out", str(out)) == 0
        with av.open(out) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 8
        assert frames[0].shape[1] > 512

    def test_everything_is_written_for_machines(self, run: Path, tmp_path: Path) -> None:
        words = ("travel", str(run), "test:3", "test:5", "--frames", "5", "--out")
        assert latent_atlas(*words, str(tmp_path / "trip.npz")) == 0
        arrays = np.load(tmp_path / "trip.npz")
        assert arrays["typical.points"].shape == (5, 3)
        assert arrays["linear.images"].shape == (5, 1, 8, 8)
        assert latent_atlas(*words, str(tmp_path / "trip.json")) == 0
        told = json.loads((tmp_path / "trip.json").read_text())["typical"]
        np.testing.assert_allclose(told["points"], arrays["typical.points"], rtol=1e-5)
        np.testing.assert_allclose(told["log_prob"], arrays["typical.log_prob"], rtol=1e-5)
        assert told["distance_left"] == 0
        assert latent_atlas(*words, str(tmp_path / "trip.npy")) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "trip.npy"), arrays["typical.points"])

    def test_a_class_is_kept_and_the_probe_s_worth_said(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = (
            str(run),
            "test:3",
            "test:5",
            "--preserve",
            "class",
            "--out",
            str(tmp_path / "kept.png"),
        )
        told, said = self.told(capsys, *words)
        assert re.search(r"the classifier that reads .* is right for \d+ % of held-out ones", said)
        assert {"drift class", "broken", "progress"} <= told["typical"].keys()
        assert "broken" not in told["linear"]

    def test_one_place_is_explored_repaired_or_left_along_an_attribute(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = ("--out", str(tmp_path / "one.png"))
        settings = ("--set", "width=0.3", "--set", "stride=3", "--seed", "4", "--frames", "6")
        first, second = (
            self.told(capsys, str(run), "test:3", "--random-walk", *settings, *out)[0]
            for _ in range(2)
        )
        assert first == second
        assert "acceptance" in first["random walk"]
        told, _ = self.told(
            capsys, str(run), "test:3", "--traverse", "component:0", "--by", "-0.1", *out
        )
        assert told["traverse component:0"]["reached"] == pytest.approx(1, abs=0.05)
        told, _ = self.told(capsys, str(run), "test:3", "--project", *out)
        assert "moved" in told["project"]

    def test_places_outside_are_noted_and_with_repair_moved(
        self, run: Path, atlas: Atlas, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        halves = [
            side
            for cut in range(1, 8)
            for side in (rows < cut, rows >= cut, columns < cut, columns >= cut)
        ]
        strange = (
            255 * torch.stack([*halves, rows >= 0, rows < 0, (rows + columns) % 2 == 0])[:, None]
        )
        log_probs = atlas.map.log_prob(atlas.encode(strange.to(torch.uint8)))
        assert log_probs.min() < atlas.map.threshold(0.05)
        oddest = strange[log_probs.argmin(), 0]
        odd = str(tmp_path / "odd.png")
        Image.fromarray(oddest.to(torch.uint8).numpy()).save(odd)
        words = (str(run), odd, "test:3", "--frames", "3", "--out", str(tmp_path / "trip.png"))
        told, said = self.told(capsys, *words)
        assert "linear, typical: the start of the path is off-manifold" in said
        assert told["typical"]["warnings"]
        told, said = self.told(capsys, *words, "--project")
        assert f"{odd} was off-manifold and is moved by" in said
        assert "off-manifold" not in " ".join(told["typical"].get("warnings", []))

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            ("test:3", "one was given; give another, or --random-walk, --traverse or --project"),
            ("test:3 test:4 --random-walk", "--random-walk starts from one image and 2 were given"),
            ("test:3 --random-walk --traverse 7", "choose one of them"),
            ("test:3 --random-walk --closed", "--closed needs two images or more"),
            ("test:3 --random-walk --planner walk", "--planner needs two images or more"),
            (
                "test:3 --random-walk --set colour=3",
                "--random-walk has no setting 'colour'; it has stride",
            ),
            ("test:3 --random-walk --frames 0", "frames is 0"),
            ("test:3 --traverse wings --by 1", "no attribute 'wings'; choose class, 0, 1"),
            ("test:3 --traverse class --by 1", "'class' has 10: take one of them"),
            ("test:3 --traverse component:0", "neither is given"),
            ("test:3 test:4 --by 1", "--by and --to need an attribute to change"),
            ("test:3 test:4 --preserve wings", "no attribute 'wings'"),
            ("test:3 test:4 test:5 --preserve class", "3 waypoints were given; choose two"),
            (
                "test:3 test:4 --planner geodesic,hop",
                "no planner 'hop'; choose linear, slerp, walk",
            ),
            (
                "test:3 test:4 --alpha 0.1 --planner auto",
                "--alpha is for a walk; add walk to the planners",
            ),
            (
                "test:3 test:4 --set speed=1",
                "planner 'typical' has no setting 'speed'; it has strength",
            ),
            (
                "test:3 test:4 --set nodes=few",
                "nodes is 'few'; expected a whole number",
            ),
            ("test:3 test:4 --set widths=a", "widths is 'a'; expected"),
            (
                "test:3 test:4 --planner graph --set refine=perhaps",
                "refine is 'perhaps'; expected true or false",
            ),
            ("test:3 test:4 --set strength", "setting 'strength' is not of the form NAME=VALUE"),
            ("test:3 test:4 --pace jog", "the pace is 'jog'"),
            ("test:3 test:4 --frames 1", "a path of 1 frames has no two ends"),
            ("test:3 test:4 test:5 --frames 2", "2 frames cannot show 3 waypoints"),
            ("test:3 test:3", "the same code"),
            ("test:3 test:4 test:5 --planner walk", "visits them exactly"),
            (
                "test:3 test:4 --out trip.webp",
                "trip.webp is not a .png or .gif or .mp4 or .npy or .npz or .json file",
            ),
        ],
    )
    def test_a_mistake_is_one_sentence(
        self, words: str, sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert latent_atlas("travel", str(run), *words.split()) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert sentence in said.err
        assert said.err.count("\n") == 1
