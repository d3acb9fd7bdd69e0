"""The layout of codes: made once, by PaCMAP where it is installed."""

import importlib.util
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from latent_atlas.explorer.server.routes.embedding import laid_out
from server_client import arrays, client_of, tiny_atlas


@pytest.mark.skipif(importlib.util.find_spec("pacmap") is not None, reason="PaCMAP is installed")
def test_without_pacmap_it_is_said() -> None:
    with client_of(tiny_atlas()) as client:
        answer = client.get("/api/embedding")
        assert answer.status_code == 404
        assert "latent-atlas[embedding]" in answer.json()["detail"]
        assert "embedding" in client.get("/api/atlas").json()["lacks"]


def test_it_is_made_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """PaCMAP's place is taken by the first two coordinates, which say that codes and their order
    arrive.
    """
    made = []

    class Layout:
        def __init__(self, **settings: object) -> None:
            made.append(settings)

        def fit_transform(self, codes: np.ndarray, init: str) -> np.ndarray:
            assert init == "pca"
            return codes[:, :2]

    double = types.ModuleType("pacmap")
    double.__spec__ = importlib.util.spec_from_loader("pacmap", None)
    monkeypatch.setattr(double, "PaCMAP", Layout, raising=False)
    monkeypatch.setitem(sys.modules, "pacmap", double)
    with client_of(tiny_atlas()) as client, ThreadPoolExecutor(4) as crowd:
        assert "embedding" not in client.get("/api/atlas").json()["lacks"]
        for given in crowd.map(lambda _: arrays(client.get("/api/embedding"))["xy"], range(4)):
            assert (given == tiny_atlas().codes["train"].means[:, :2].numpy()).all()
    assert made == [{"n_components": 2, "random_state": 0}]


def test_near_codes_stay_near() -> None:
    pytest.importorskip("pacmap")
    rng = np.random.default_rng(0)
    groups = np.repeat([0.0, 8.0], 100)
    codes = (rng.normal(size=(200, 5)) + groups[:, None]).astype(np.float32)
    places = laid_out(codes)
    left, right = places[:100], places[100:]
    spread = max(left.std(axis=0).max(), right.std(axis=0).max())
    assert np.linalg.norm(left.mean(axis=0) - right.mean(axis=0)) > 3 * spread
