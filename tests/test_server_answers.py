"""What the explorer's server answers is what the atlas itself says."""

import importlib.util
import io
import json
import math
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.codes.posterior import Codes
from latent_atlas.explorer import cache
from latent_atlas.explorer.server.routes import planes
from latent_atlas.geometry.planes import Plane, Window, chart, plane_through
from latent_atlas.travel import Walk
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE
from server_client import arrays, client_of, facts, tiny_atlas

LEFT, RIGHT = [-1.2, 0.0, 0.0], [1.2, 0.1, 0.0]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(tiny_atlas()) as one:
        yield one


def close(given: np.ndarray, wanted: torch.Tensor, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(given, wanted.numpy(), rtol=tolerance, atol=tolerance)


HALF = 1e-3  # tolerance for numbers in half precision


def bytes_of(images: torch.Tensor) -> np.ndarray:
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def test_what_is_explored(client: TestClient) -> None:
    atlas, told = tiny_atlas(), client.get("/api/atlas").json()
    assert (told["dimension"], told["training"], told["demo"]) == (3, False, False)
    assert told["image"] == {"channels": 1, "height": 8, "width": 8}
    assert told["classes"] == ["left", "right"]
    assert [one["name"] for one in told["attributes"]] == [*atlas.properties.names]
    assert told["counts"] == {"train": 600, "held_out": 200}
    assert told["threshold"] == pytest.approx(atlas.map.threshold(OFF_MANIFOLD_SHARE), rel=1e-6)
    assert "mp4" not in told["lacks"]
    assert ("embedding" in told["lacks"]) == (importlib.util.find_spec("pacmap") is None)
    assert told["levels"][0] == 0.0
    assert sorted(told["levels"]) == told["levels"]


def test_first_plane_is_that_of_largest_variance(client: TestClient) -> None:
    answer = client.post("/api/plane", json={"resolution": 24, "arrows": 5})
    given, told, atlas = arrays(answer), facts(answer), tiny_atlas()
    means = atlas.codes["train"].means
    covariance = torch.cov(means.T)
    largest = torch.linalg.eigvalsh(covariance).flip(0)[:2]
    axes = torch.from_numpy(given["axes"])
    close((axes @ covariance @ axes.T).diagonal().numpy(), largest)
    plane, window = Plane(torch.from_numpy(given["origin"]), axes), Window(**told["window"])
    for name, field in chart(atlas.map, plane, window, 24).fields.items():
        assert field.shape == (24, 24)
        close(given[name], field, 1e-5 if name == "log_prob" else HALF)
    inside = plane.project(means)
    assert ((inside[:, 0] > window.left) & (inside[:, 0] < window.right)).float().mean() > 0.98
    assert given["arrows"].shape == (5, 5, 2)


def test_arrows_are_the_slope_of_log_prob_in_the_plane(client: TestClient) -> None:
    """The central arrow of an odd number is the gradient at the middle of the window, by
    differences of the picture.
    """
    window = {"left": -1.0, "right": -0.6, "bottom": -0.2, "top": 0.2}
    given = arrays(client.post("/api/plane", json={"resolution": 3, "arrows": 1, "window": window}))
    atlas, h = tiny_atlas(), 1e-2
    plane = Plane(torch.from_numpy(given["origin"]), torch.from_numpy(given["axes"]))
    places = plane.lift(torch.tensor([[-0.8 + h, 0.0], [-0.8 - h, 0.0], [-0.8, h], [-0.8, -h]]))
    right, left, up, down = atlas.map.log_prob(places).tolist()
    np.testing.assert_allclose(
        given["arrows"][0, 0], [(right - left) / 2 / h, (up - down) / 2 / h], rtol=0.05, atol=0.02
    )


def test_plane_through_three_codes_and_a_level(client: TestClient) -> None:
    corners = [LEFT, RIGHT, [0.0, 0.0, 1.0]]
    answer = client.post(
        "/api/plane", json={"kind": "through", "codes": corners, "resolution": 8, "level": 0.4}
    )
    plane = plane_through(*torch.tensor(corners))
    noised = tiny_atlas().map.noised(math.tan(0.4))
    close(
        arrays(answer)["log_prob"],
        chart(noised, plane, Window(**facts(answer)["window"]), 8).fields["log_prob"],
    )
    assert facts(answer)["threshold"] == pytest.approx(
        noised.threshold(OFF_MANIFOLD_SHARE), rel=1e-5
    )


def test_plane_of_attributes_has_their_directions(client: TestClient) -> None:
    body = {
        "kind": "attributes",
        "attributes": ["component:2", "component:0"],
        "resolution": 8,
        "origin": RIGHT,
    }
    given = arrays(client.post("/api/plane", json=body))
    np.testing.assert_allclose(given["origin"], RIGHT, atol=1e-6)
    vectors = torch.linalg.eigh(
        torch.cov(tiny_atlas().codes["train"].means.T)
    ).eigenvectors  # the smallest first
    close(np.abs((torch.from_numpy(given["axes"]) @ vectors[:, [0, 2]]).numpy()), torch.eye(2))


def test_given_axes_are_made_orthonormal_and_keep_points_where_they_are(client: TestClient) -> None:
    asked = {"origin": LEFT, "axes": [[2.0, 0.0, 0.0], [3.0, 0.5, 0.0]]}
    shown = arrays(client.post("/api/plane", json=asked | {"kind": "given", "resolution": 4}))
    np.testing.assert_allclose(shown["axes"], [[1, 0, 0], [0, 1, 0]], atol=1e-6)
    answer = client.post("/api/points", json=asked | {"part": "held_out", "offset": 10, "count": 7})
    some = tiny_atlas().codes["held_out"].means[10:17]
    close(arrays(answer)["xy"], some[:, :2] - torch.tensor(LEFT)[:2])
    close(arrays(answer)["distance"], some[:, 2].abs())
    assert facts(answer) == {"total": 200}


def test_a_raster_is_for_parts_that_are_not_shown_whole(client: TestClient) -> None:
    window = {"left": -2, "right": 2, "bottom": -1, "top": 1}
    body = {"origin": [0, 0, 0], "axes": [[1, 0, 0], [0, 1, 0]], "window": window}
    answer = client.post("/api/raster", json=body)
    assert (facts(answer), arrays(answer)) == ({"total": 0}, {})
    empty = client.post("/api/raster", json=body | {"window": window | {"right": -2}})
    assert empty.status_code == 400


def test_places_of_many_codes_are_rounded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"origin": LEFT, "axes": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "offset": 50}
    exact = arrays(client.post("/api/points", json=body))
    monkeypatch.setattr(planes, "EXACT", 599)
    answer = client.post("/api/points", json=body)
    given, told = arrays(answer), facts(answer)
    assert (given["xy"].dtype, given["distance"].dtype) == (np.uint16, np.uint8)
    bounds = told["bounds"]
    low = np.array([bounds["left"], bounds["bottom"]])
    size = np.array([bounds["right"], bounds["top"]]) - low
    assert (np.abs(low + given["xy"] / 65_535 * size - exact["xy"]) <= size / 65_535).all()
    distances = given["distance"] / 255 * told["farthest"]
    assert np.abs(distances - exact["distance"]).max() <= told["farthest"] / 255
    past = client.post("/api/points", json=body | {"offset": 700})
    assert arrays(past)["xy"].shape == (0, 2)


def test_codes_come_in_pieces_with_their_densities(client: TestClient) -> None:
    atlas = tiny_atlas()
    pieces = [
        arrays(client.get("/api/codes", params={"offset": at, "count": 250}))
        for at in (0, 250, 500, 750)
    ]
    whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    means = atlas.codes["train"].means
    close(whole["means"], means)
    close(whole["log_prob"], atlas.map.log_prob(means).detach())
    close(whole["typicality"], atlas.map.typicality(means), HALF)
    assert (whole["labels"] == atlas.labels["train"].numpy()).all()
    assert [len(piece["labels"]) for piece in pieces] == [250, 250, 100, 0]


def test_only_the_fields_asked_for_are_sent(client: TestClient) -> None:
    assert set(arrays(client.get("/api/codes?fields=labels,typicality"))) == {
        "labels",
        "typicality",
    }
    assert client.get("/api/codes?fields=names").status_code == 422


def test_thumbnails_are_decoded_codes_row_by_row(client: TestClient) -> None:
    answer = client.get("/api/thumbnails", params={"indices": "5,0,7", "size": 8})
    sprite = np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"))
    assert sprite.shape == (16, 16)
    atlas = tiny_atlas()
    wanted = bytes_of(atlas.decode(atlas.codes["train"].means[[5, 0, 7]]))[..., 0].astype(int)
    for at, (row, column) in enumerate([(0, 0), (0, 8), (8, 0)]):
        assert np.abs(sprite[row : row + 8, column : column + 8] - wanted[at]).max() <= 1


def test_neighbours_are_the_nearest_of_all(client: TestClient) -> None:
    given = arrays(client.post("/api/neighbours", json={"codes": [LEFT, RIGHT], "k": 4}))
    distances = (
        torch.tensor([LEFT, RIGHT])[:, None] - tiny_atlas().codes["train"].means[None]
    ).norm(dim=-1)
    wanted = distances.sort(dim=1)
    assert (given["indices"] == wanted.indices[:, :4].numpy()).all()
    close(given["distances"], wanted.values[:, :4])


class TestManyCodes:
    """More codes than are shown: 100 here, and not 200,000."""

    @pytest.fixture
    def many(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
        monkeypatch.setattr(cache, "SHOWN", 100)
        with client_of(tiny_atlas()) as one:
            yield one

    def codes(self, client: TestClient, offset: int, count: int) -> dict[str, np.ndarray]:
        return arrays(client.get("/api/codes", params={"offset": offset, "count": count}))

    def test_the_first_are_a_fair_sample_and_all_are_there(self, many: TestClient) -> None:
        atlas = tiny_atlas()
        given = self.codes(many, 0, 600)
        whole = np.concatenate([given["means"], given["labels"][:, None]], axis=1)
        means, labels = atlas.codes["train"].means, atlas.labels["train"]
        wanted = torch.cat([means, labels[:, None].float()], dim=1).numpy()
        assert (np.sort(whole, axis=0) == np.sort(wanted, axis=0)).all()
        assert not (given["means"][:100] == means[:100].numpy()).all()
        share = given["labels"][:100].mean()
        assert abs(share - labels.float().mean()) < 4 * 0.5 / 10
        close(given["log_prob"], atlas.map.log_prob(torch.from_numpy(given["means"])).detach())

    def test_a_raster_counts_all_of_them(self, many: TestClient) -> None:
        window = {"left": -2.0, "right": 1.5, "bottom": -0.5, "top": 0.5}
        body = {"origin": [0, 0, 0], "axes": [[1, 0, 0], [0, 1, 0]], "resolution": 9}
        answer = many.post("/api/raster", json=body | {"window": window})
        assert answer.headers["content-encoding"] == "gzip"
        means = tiny_atlas().codes["train"].means.numpy().astype(np.float64)
        wanted, _, _ = np.histogram2d(
            means[:, 1], means[:, 0], bins=9, range=[(-0.5, 0.5), (-2.0, 1.5)]
        )
        told, given = facts(answer), arrays(answer)["counts"]
        assert (told["total"], told["densest"]) == (600, wanted.max())
        assert given.dtype == np.uint8
        assert ((given == 0) == (wanted == 0)).all()
        roots = 255 * np.sqrt(wanted / wanted.max())
        assert (np.abs(given - roots) < 1).all()
        closer = {"left": -2.0, "right": -0.25, "bottom": -0.5, "top": 0.5}
        again = arrays(many.post("/api/raster", json=body | {"window": closer}))["counts"]
        assert (again > 0).sum() > 0
        both = many.post("/api/raster", json=body | {"window": window, "part": "held_out"})
        assert facts(both)["total"] == 200

    def test_every_answer_counts_them_alike(self, many: TestClient) -> None:
        given = arrays(many.post("/api/neighbours", json={"codes": [LEFT], "k": 3}))
        exact = tiny_atlas().neighbours(torch.tensor([LEFT]), 3)
        close(given["distances"], exact.distances)
        plane = {"origin": [0, 0, 0], "axes": [[1, 0, 0], [0, 1, 0]]}
        for number, row in zip(given["indices"][0].tolist(), exact.rows[0].tolist(), strict=True):
            wanted = tiny_atlas().codes["train"].means[row]
            close(self.codes(many, number, 1)["means"][0], wanted)
            places = many.post("/api/points", json=plane | {"offset": number, "count": 1})
            close(arrays(places)["xy"][0], wanted[:2])
            picture = many.get("/api/thumbnails", params={"indices": number, "size": 8})
            seen = np.asarray(Image.open(io.BytesIO(picture.content)).convert("L")).astype(int)
            image = bytes_of(tiny_atlas().decode(wanted))[0, ..., 0]
            assert np.abs(seen - image).max() <= 1

    def test_planes_and_ranges_are_measured_by_those_shown(self, many: TestClient) -> None:
        shown = torch.from_numpy(self.codes(many, 0, 100)["means"])
        given = arrays(many.post("/api/plane", json={"resolution": 8}))
        close(given["origin"], shown.mean(dim=0))
        told = many.get("/api/atlas").json()
        assert told["counts"] == {"train": 600, "held_out": 200}
        spread = Codes(shown).moments()[1].diagonal().mean().sqrt().item()
        assert told["spread"] == pytest.approx(spread, rel=0.05)  # of posteriors, which are narrow


def test_a_run_that_keeps_a_sample_tells_of_how_many(client: TestClient) -> None:
    assert client.get("/api/atlas").json()["population"] == {"train": 600, "held_out": 200}
    atlas = tiny_atlas()
    sample = Atlas(
        atlas.model,
        atlas.map,
        dict(atlas.codes),
        atlas.config,
        population={"train": 9_000_000, "held_out": 1_000_000},
    )
    with client_of(sample) as one:
        told = one.get("/api/atlas").json()
    assert told["population"] == {"train": 9_000_000, "held_out": 1_000_000}
    assert told["counts"] == {"train": 600, "held_out": 200}


def test_decoded_places_are_the_atlases(client: TestClient) -> None:
    far = [9.0, 9.0, 9.0]
    given = arrays(client.post("/api/decode", json={"codes": [LEFT, far]}))
    atlas = tiny_atlas()
    assert (given["images"] == bytes_of(atlas.decode(torch.tensor([LEFT, far])))).all()
    close(given["log_prob"], atlas.map.log_prob(torch.tensor([LEFT, far])).detach())
    assert given["off_manifold"].tolist() == [0, 1]
    close(given["typicality"], atlas.map.typicality(torch.tensor([LEFT, far])))


def test_a_place_is_compared_with_real_codes(client: TestClient) -> None:
    found = tiny_atlas().membership
    codes = [LEFT, [0.0, 0.0, 0.0], [1e4, -1e4, 0.0]]
    answer = client.post("/api/membership", json={"codes": codes})
    given = arrays(answer)
    assert found is not None
    close(given["p_value"], found.p_value(codes))
    assert given["p_value"][0] > 0.05 > given["p_value"][1:].max()
    for name, part in zip(facts(answer)["names"], given["parts"].T, strict=True):
        close(part, found.parts(codes)[name])


def test_nothing_is_said_of_membership_among_few_codes() -> None:
    tiny = tiny_atlas()
    few = {"train": tiny.codes["train"], "held_out": Codes(tiny.codes["held_out"].means[:20])}
    atlas = Atlas(tiny.model, tiny.map, few, tiny.config)
    with client_of(atlas) as client:
        answer = client.post("/api/membership", json={"codes": [LEFT]})
        assert (arrays(answer), facts(answer)) == ({}, {"names": []})
        path = client.post("/api/travel", json={"waypoints": [LEFT, RIGHT], "planners": ["linear"]})
        assert "linear/points" in arrays(path)
        assert "linear/p_value" not in arrays(path)


def test_an_image_is_encoded_decoded_and_scored(client: TestClient) -> None:
    atlas = tiny_atlas()
    shown = bytes_of(atlas.decode(torch.tensor([RIGHT])))[0, ..., 0]
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    answer = client.post("/api/encode", content=file.getvalue())
    given, told = arrays(answer), facts(answer)
    assert (given["image"][..., 0] == shown).all()
    pixels = torch.from_numpy(shown.copy())[None, None].float() / 255
    close(given["code"], atlas.encode(pixels)[0])
    assert np.abs(given["reconstruction"][..., 0].astype(int) - shown).max() <= 1
    assert told["anomaly"] == json.loads(
        json.dumps(atlas.anomaly(pixels, names=("image",)).rows()[0])
    )
    assert told["off_manifold"] is False


def test_a_route_comes_without_its_frames_where_they_are_not_wanted(client: TestClient) -> None:
    body = {"waypoints": [LEFT, RIGHT], "planners": ["geodesic"], "frames": 5}
    bare, whole = (
        arrays(client.post("/api/travel", json=body | {"images": images}))
        for images in (False, True)
    )
    images = whole.pop("geodesic/images")
    assert bare.keys() == whole.keys()
    assert all((bare[name] == whole[name]).all() for name in bare)
    decoded = client.post("/api/decode", json={"codes": bare["geodesic/points"].tolist()})
    assert (arrays(decoded)["images"] == images).all()


def test_paths_are_those_of_the_atlas(client: TestClient) -> None:
    body = {"waypoints": [LEFT, RIGHT], "planners": ["linear", "geodesic"], "frames": 9}
    answer = client.post("/api/travel", json=body)
    given, told, atlas = arrays(answer), facts(answer), tiny_atlas()
    for planner in ("linear", "geodesic"):
        path = atlas.travel([torch.tensor(LEFT), torch.tensor(RIGHT)], None, planner, frames=9)
        close(given[f"{planner}/points"], path.points[:, 0])
        assert (given[f"{planner}/images"] == bytes_of(path.strip())).all()
        assert path.p_values is not None
        close(given[f"{planner}/p_value"], path.p_values[:, 0])
        close(given[f"{planner}/log_prob"], atlas.map.log_prob(path.points[:, 0]).detach())
        assert told[planner]["metrics"]["lowest_log_prob"] == pytest.approx(
            path.metrics.lowest_log_prob[0].item(), rel=1e-4
        )
    assert told["linear"]["converged"] is None
    assert given["geodesic/log_prob"].min() > given["linear/log_prob"].min() - 1e-3


def test_settings_reach_the_planner(client: TestClient) -> None:
    body = {
        "waypoints": [LEFT, RIGHT],
        "planners": ["walk"],
        "frames": 5,
        "options": {"walk": {"steps": 3}},
    }
    given = arrays(client.post("/api/travel", json=body))["walk/points"]
    path = tiny_atlas().travel(
        [torch.tensor(LEFT), torch.tensor(RIGHT)], None, Walk(steps=3), frames=5
    )
    close(given, path.points[:, 0])


def test_one_planner_that_cannot_go_leaves_the_others(client: TestClient) -> None:
    body = {"waypoints": [LEFT, RIGHT], "planners": ["linear", "teleport"], "frames": 5}
    answer = client.post("/api/travel", json=body)
    assert "teleport" in facts(answer)["teleport"]["error"]
    assert arrays(answer)["linear/points"].shape == (5, 3)


def test_along_an_attribute_raises_it(client: TestClient) -> None:
    body = {"start": LEFT, "attribute": "component:0", "by": 1.0, "frames": 5}
    given = arrays(client.post("/api/traverse", json=body))["traverse/points"]
    path = tiny_atlas().traverse(torch.tensor([LEFT]), "component:0", by=1.0, frames=5)
    close(given, path.points[:, 0])


def test_the_same_seed_wanders_and_draws_the_same(client: TestClient) -> None:
    walk = {"start": LEFT, "frames": 4, "stride": 2, "tuning": 20}
    drawn = {"n": 5, "sampler": "importance", "where": {"component:0": [0.5, None]}}
    for address, name, body in (
        ("random-walk", "random_walk/points", walk),
        ("sample", "points", drawn),
    ):
        first, again, other = (
            arrays(client.post(f"/api/{address}", json=body | {"seed": seed}))[name]
            for seed in (3, 3, 4)
        )
        assert (first == again).all()
        assert (first != other).any()
    assert (
        tiny_atlas().properties["component:0"].values(torch.from_numpy(first)) > 0.5
    ).all()  # as wished


def test_projection_brings_a_code_to_the_threshold(client: TestClient) -> None:
    given = arrays(client.post("/api/project", json={"start": [0.0, 3.0, 3.0], "share": 0.05}))
    assert given["project/off_manifold"].tolist()[0] == 1
    assert given["project/log_prob"][1] >= tiny_atlas().map.threshold(0.05) - 0.05


@pytest.mark.parametrize("kind", ["gif", "png", "npz", "json"])
def test_paths_are_exported(client: TestClient, kind: str) -> None:
    points = [LEFT, [0.0, 0.0, 0.0], RIGHT]
    answer = client.post(
        "/api/export", json={"points": points, "format": kind, "seconds": 1, "bounce": False}
    )
    assert answer.status_code == 200
    assert f"path.{kind}" in answer.headers["content-disposition"]
    wanted = tiny_atlas().map.log_prob(torch.tensor(points)).detach()
    if kind == "npz":
        with np.load(io.BytesIO(answer.content)) as held:
            close(held["log_prob"], wanted)
            close(held["images"], tiny_atlas().decode(torch.tensor(points)))
    elif kind == "json":
        close(np.array(json.loads(answer.content)["log_prob"]), wanted)
    else:
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.format == kind.upper()
        assert getattr(picture, "n_frames", 1) == (3 if kind == "gif" else 1)


def test_a_film_can_be_played(client: TestClient) -> None:
    """There and back: its third frame is the end, its second and its last the middle."""
    av = pytest.importorskip("av")
    body = {"points": [LEFT, [0.0, 0.0, 0.0], RIGHT], "format": "mp4", "seconds": 1.5}
    answer = client.post("/api/export", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(answer.content)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate, film.duration / av.time_base) == (
            "h264",
            2,
            2.0,
        )
        frames = [frame.to_ndarray(format="gray").astype(float) for frame in film.decode(stream)]
    assert len(frames) == 4
    there, middle, end, back = frames
    assert np.abs(middle - back).mean() < 2 < np.abs(there - end).mean()


def test_without_an_encoder_a_film_is_refused_in_a_sentence(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert "mp4" in client.get("/api/atlas").json()["lacks"]
    answer = client.post("/api/export", json={"points": [LEFT, RIGHT], "format": "mp4"})
    assert answer.status_code == 400
    assert "pip install latent-atlas[video], or write a .gif" in answer.json()["detail"]


def test_the_page_and_its_policy(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
