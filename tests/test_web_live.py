"""A run that still trains is watched, and its atlas appears in place; a run of codes alone is explored too."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latent_atlas.checkpoint import write_tensors
from web_run import begun, checkpointed, finish
from web_server import arrays, client_of


def test_an_atlas_appears_when_its_run_has_finished(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with client_of(run=run.path, device="cpu") as client:
        about = client.get("/api/atlas").json()
        assert (about["training"], about["name"], about["dimension"]) == (True, "run", None)
        refused = client.post("/api/plane", json={})
        assert refused.status_code == 409
        assert "still training" in refused.json()["detail"]
        assert client.get("/api/progress/picture").status_code == 404
        finish(run)
        about = client.get("/api/atlas").json()
        assert (about["training"], about["dimension"], about["image"]) == (False, 3, None)
        assert arrays(client.post("/api/plane", json={"resolution": 4}))["log_prob"].shape == (4, 4)
        body = {"stops": [[-1.0, 0, 0], [1.0, 0, 0]], "planners": ["linear", "pullback"]}
        given = client.post("/api/travel", json=body)  # codes alone have no images
        assert set(arrays(given)) == {"linear/points", "linear/log_prob", "linear/outside"}
        for address in ("thumbnails?indices=0", "encode"):
            answer = client.get(f"/api/{address}") if "?" in address else client.post(f"/api/{address}", content=b"x")
            assert answer.status_code == 400
            assert "no decoder" in answer.json()["detail"]
        assert client.post("/api/export", json={"points": [[0, 0, 0]], "format": "json"}).status_code == 200


def test_losses_come_as_they_are_logged(tmp_path: Path) -> None:
    run = begun(tmp_path)
    with client_of(run=run.path) as client:
        assert client.get("/api/progress").json() == {"training": True, "records": [], "total": 0, "picture": None}
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
    images = torch.randint(256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    write_tensors(run.file("examples.safetensors"), {"images": images})
    with client_of(run=run.path) as client:
        assert client.get("/api/progress").json()["picture"] == 1_000
        first = client.get("/api/progress/picture")
        assert first.headers["content-type"] == "image/png"
        checkpointed(run, 2_000, lift=50.0)
        assert client.get("/api/progress").json()["picture"] == 2_000
        second = client.get("/api/progress/picture")
    before, after = (np.asarray(Image.open(io.BytesIO(one.content)).convert("L")) for one in (first, second))
    assert before.shape == after.shape
    assert after.mean() > before.mean() + 20  # white reconstructions and draws


def test_a_checkpoint_of_another_version_is_said(tmp_path: Path) -> None:
    run = begun(tmp_path)
    write_tensors(run.file("state.safetensors"), {"average/encoder.x": torch.zeros(1)}, {"step": "5"})
    with client_of(run=run.path) as client:
        answer = client.get("/api/progress/picture")
        assert answer.status_code == 400
        assert "another version" in answer.json()["detail"]
