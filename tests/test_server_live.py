"""A run that still trains is watched, and its atlas appears in place; a run of codes alone is
explored too.
"""

import io
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from latent_atlas.config import MapConfig
from latent_atlas.data import ImageSet
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.runs import read_tensors, write_tensors
from latent_atlas.training.loop import train
from server_client import arrays, client_of, facts
from server_run import begun, checkpointed, finish

NOTHING = {"picture": None, "map": None}


def test_an_atlas_appears_when_its_run_has_finished(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with client_of(run=run.path, device="cpu") as client:
        about = client.get("/api/atlas").json()
        assert (about["training"], about["name"], about["dimension"]) == (True, "run", None)
        refused = client.post("/api/plane", json={})
        assert refused.status_code == 409
        assert "still training" in refused.json()["detail"]
        for what in ("picture", "map"):
            assert client.get(f"/api/progress/{what}").status_code == 404
        finish(run)
        about = client.get("/api/atlas").json()
        assert (about["training"], about["dimension"], about["image"]) == (False, 3, None)
        assert arrays(client.post("/api/plane", json={"resolution": 4}))["log_prob"].shape == (4, 4)
        body = {"waypoints": [[-1.0, 0, 0], [1.0, 0, 0]], "planners": ["linear", "pullback"]}
        given = client.post("/api/travel", json=body)  # codes alone have no images
        values = ("points", "log_prob", "off_manifold", "p_value")
        assert set(arrays(given)) == {f"linear/{name}" for name in values}
        for address in ("thumbnails?indices=0", "encode"):
            answer = (
                client.get(f"/api/{address}")
                if "?" in address
                else client.post(f"/api/{address}", content=b"x")
            )
            assert answer.status_code == 400
            assert "no decoder" in answer.json()["detail"]
        assert (
            client.post("/api/export", json={"points": [[0, 0, 0]], "format": "json"}).status_code
            == 200
        )


def test_losses_come_as_they_are_logged(tmp_path: Path) -> None:
    run = begun(tmp_path)
    with client_of(run=run.path) as client:
        assert (
            client.get("/api/progress").json()
            == {"training": True, "records": [], "total": 0} | NOTHING
        )
        for step in (10, 20, 30):
            run.log({"phase": "model", "step": step, "kl": 1.0 / step})
        with run.file("log.jsonl").open("a") as file:
            file.write('{"phase": "model", "st')  # half a line, as it is being written
        told = client.get("/api/progress?since=1").json()
        assert told["total"] == 3
        assert [record["step"] for record in told["records"]] == [20, 30]


def test_the_picture_is_of_the_newest_checkpoint(tmp_path: Path) -> None:
    run = begun(tmp_path)
    checkpointed(run, 1_000)
    with client_of(run=run.path) as client:
        assert client.get("/api/progress").json()["picture"] == 1_000
        first = client.get("/api/progress/picture")
        assert first.headers["content-type"] == "image/png"
        checkpointed(run, 2_000, lift=50.0)
        assert client.get("/api/progress").json()["picture"] == 2_000
        second = client.get("/api/progress/picture")
    before, after = (
        np.asarray(Image.open(io.BytesIO(one.content)).convert("L")) for one in (first, second)
    )
    assert before.shape == after.shape
    assert after.mean() > before.mean() + 20  # white reconstructions and draws


def test_a_checkpoint_of_another_version_is_said(tmp_path: Path) -> None:
    run = begun(tmp_path)
    write_tensors(
        run.file("state.safetensors"), {"average/encoder.x": torch.zeros(1)}, {"step": "5"}
    )
    with client_of(run=run.path) as client:
        for what in ("picture", "map"):
            answer = client.get(f"/api/progress/{what}")
            assert answer.status_code == 400
            assert "another version" in answer.json()["detail"]


def lifted(given: dict[str, np.ndarray], window: dict[str, float]) -> torch.Tensor:
    """The codes of all pixels, row by row from the lowest one."""
    side = len(given["log_prob"])
    x, y = (
        np.linspace(window[low], window[high], side)
        for low, high in (("left", "right"), ("bottom", "top"))
    )
    across, up = np.meshgrid(x, y)
    places = np.stack([across.ravel(), up.ravel()], axis=1)
    return torch.from_numpy(given["origin"] + places @ given["axes"]).float()


def test_codes_are_where_the_newest_checkpoint_has_them(tmp_path: Path) -> None:
    run = begun(tmp_path)
    images = read_tensors(run.file("examples.safetensors"))[0]["images"].float() / 255
    with client_of(run=run.path) as client:
        numbers = []
        for step in (1_000, 2_000):
            encoder = checkpointed(run, step).average["encoder"]
            numbers.append(client.get("/api/progress").json()["map"])
            answer = client.get("/api/progress/map")
            given, said = arrays(answer), facts(answer)
            assert set(given) == {"xy", "labels", "origin", "axes"}  # no D_z learns yet
            assert (said["step"], said["threshold"], said["classes"]) == (
                step,
                None,
                ["even", "odd"],
            )
            assert given["labels"].tolist() == [0, 1] * 10
            with torch.no_grad():
                codes = encoder(images)[0].numpy()
            np.testing.assert_allclose(given["axes"] @ given["axes"].T, np.eye(2), atol=1e-5)
            np.testing.assert_allclose(
                given["xy"], (codes - codes.mean(axis=0)) @ given["axes"].T, atol=1e-5
            )
            largest = np.linalg.eigvalsh(np.cov(codes.T, bias=True))[-2:].sum()
            np.testing.assert_allclose(given["xy"].var(axis=0).sum(), largest, rtol=1e-4)
        assert numbers[0] < numbers[1]


def test_a_map_that_learns_beside_the_encoder_is_the_checkpoint_s(tmp_path: Path) -> None:
    run = begun(tmp_path, mode="online")
    network = checkpointed(run, 1_000).model.latent_discriminator
    with client_of(run=run.path) as client:
        answer = client.get("/api/progress/map")
    given, said = arrays(answer), facts(answer)
    z = lifted(given, said["window"])
    with torch.no_grad():
        log_prob = network(z) - 0.5 * z.square().sum(dim=1) - 1.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(given["log_prob"].ravel(), log_prob.numpy(), atol=1e-4)
    assert said["threshold"] < given["log_prob"].max()


def test_codes_do_not_turn_over_between_checkpoints(tmp_path: Path) -> None:
    """The same codes mirrored and turned in Z are the same picture."""
    run = begun(tmp_path)
    checkpointed(run, 1_000)
    tensors, about = read_tensors(run.file("state.safetensors"))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))[0]
    head = {
        name: value for name, value in tensors.items() if name.startswith("average/encoder.head.")
    }
    turned = {name: torch.cat([turn @ value[:3], value[3:]]) for name, value in head.items()}
    with client_of(run=run.path) as client:
        before = arrays(client.get("/api/progress/map"))["xy"]
        write_tensors(run.file("state.safetensors"), tensors | turned, about)
        after = arrays(client.get("/api/progress/map"))["xy"]
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_a_map_is_seen_while_it_is_learned(tmp_path: Path) -> None:
    """After the networks, it is D_z at its last check; the file is gone once there is a map."""
    run = begun(tmp_path, steps=2, batch_size=8, adversarial_start=1, device="cpu")
    run.file("manifest.json").unlink()  # that of its examples
    generator = torch.Generator().manual_seed(0)
    held_out = torch.arange(60) % 3 == 0
    images = ImageSet(
        torch.randint(256, (60, 1, 8, 8), generator=generator, dtype=torch.uint8),
        torch.arange(60) % 2, ("even", "odd"), tuple(f"row:{k}" for k in range(60)), held_out,
    )  # fmt: skip
    config = replace(
        run.config(), map=MapConfig(width=8, depth=1, steps=30, check_every=10, batch_size=32)
    )
    seen = []
    with client_of(run=run.path, device="cpu") as client:

        def look(entry: dict[str, Any]) -> None:
            if entry["phase"] == "map":
                answer = client.get("/api/progress/map")
                given, said = arrays(answer), facts(answer)
                so_far = LatentMap.load(run.file("growing.safetensors"))
                exact = so_far.log_prob(lifted(given, said["window"])).numpy()
                np.testing.assert_allclose(given["log_prob"].ravel(), exact, atol=1e-4)
                assert (said["step"], said["threshold"]) == (None, so_far.threshold(0.05))
                seen.append((given, client.get("/api/progress").json()["map"]))

        train(images, config, run, log=look)
    assert len(seen) == 3
    codes = read_tensors(run.file("codes.safetensors"))[0]["held_out.means"].numpy()
    for (given, number), (later, newer) in pairwise(seen):
        np.testing.assert_allclose(
            given["xy"], (codes - given["origin"]) @ given["axes"].T, atol=1e-5
        )
        assert (given["xy"] == later["xy"]).all()
        assert not np.allclose(given["log_prob"], later["log_prob"], atol=1e-3)
        assert number < newer
    assert not run.file("growing.safetensors").exists()
