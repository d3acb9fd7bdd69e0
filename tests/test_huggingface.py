"""Codes by networks of the Hugging Face hub: tiny ones with random weights, from folders."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.codes.embedder import digest_of, embedder, side_of
from latent_atlas.codes.huggingface import HuggingFaceFeatures, full_name
from latent_atlas.errors import UserError

SIDE = 16
LAYERS = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
SMALL = {**LAYERS, "image_size": SIDE, "patch_size": 8}
WORDS = {**LAYERS, "vocab_size": 99}
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed"
)


@pytest.fixture(scope="module")
def transformers() -> Any:
    found = pytest.importorskip("transformers")
    found.utils.logging.set_verbosity_error()
    found.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    return found


def saved(model: Any, transformers: Any, folder: Path) -> str:
    """The name of a model in a folder, with a processor that scales pixels to [-1, 1]."""
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    transformers.ViTImageProcessorPil(size=size).save_pretrained(folder)
    return f"hf:{folder}"


def clip(transformers: Any) -> Any:
    text = {**WORDS, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=SMALL, projection_dim=6)
    )


MODELS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "pooled": (
        lambda t: t.ViTModel(t.ViTConfig(**SMALL)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
    ),
    "class token": (
        lambda t: t.ViTModel(t.ViTConfig(**SMALL), add_pooling_layer=False),
        lambda model, pixels: model(pixel_values=pixels).last_hidden_state[:, 0],
    ),
    "image features": (
        clip,
        lambda model, pixels: model.visual_projection(
            model.vision_model(pixel_values=pixels).pooler_output
        ),
    ),
    "mean of states": (
        lambda t: t.SwinModel(
            t.SwinConfig(
                image_size=SIDE, patch_size=4, embed_dim=8, depths=[1], num_heads=[2], window_size=2
            ),
            add_pooling_layer=False,
        ),
        lambda model, pixels: model(pixel_values=pixels).last_hidden_state.mean(dim=1),
    ),
}


@needs_transformers
@pytest.mark.parametrize("kind", MODELS)
def test_codes_are_the_features_of_the_network(
    kind: str, transformers: Any, tmp_path: Path, generator: torch.Generator
) -> None:
    build, features = MODELS[kind]
    model = build(transformers).eval()
    name = saved(model, transformers, tmp_path)
    images = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        wanted = features(model, images / 127.5 - 1)
    found = embedder(name, "cpu", "32")(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert side_of(name) == SIDE
    assert digest_of(name) == digest_of(name)


@needs_transformers
def test_the_digest_is_of_the_weights(transformers: Any, tmp_path: Path) -> None:
    names = [
        saved(MODELS["class token"][0](transformers), transformers, tmp_path / str(number))
        for number in range(2)
    ]
    assert digest_of(names[0]) != digest_of(names[1])
    first = digest_of(names[0])
    HuggingFaceFeatures(names[1])
    assert digest_of(names[0]) == first  # no pooler made at random is in it


@needs_transformers
def test_a_folder_of_photos_is_embedded_and_photos_are_compared(
    transformers: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(MODELS["pooled"][0](transformers), transformers, tmp_path / "model")
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(40):
        pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    run, settings = tmp_path / "run", ("map.width=16", "map.depth=1", "map.check_every=20")
    words = [word for setting in settings for word in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        model = ("--model", "hf:model", "--steps", "20", *words)
        assert latent_atlas("embed", "photos", "--out", "run", *model) == 0
    about = json.loads((run / "manifest.json").read_text())["embedder"]
    assert about["model"] == f"hf:{tmp_path / 'model'}"
    assert about["image_size"] == SIDE
    assert about["weights"] == digest_of(about["model"])
    assert Atlas.load(run, device="cpu").map.dimension == 8
    capsys.readouterr()
    assert latent_atlas("compare", str(run), str(tmp_path / "photos"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["p_value"] == 1
    saved(MODELS["pooled"][0](transformers), transformers, tmp_path / "model")
    digest_of("math:sqrt")  # another command would load the model anew
    assert latent_atlas("compare", str(run), str(tmp_path / "photos")) == 2
    assert "has changed since it made the codes" in capsys.readouterr().err


@needs_transformers
def test_what_is_no_image_model_is_refused_in_a_sentence(
    transformers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = transformers.BertModel(transformers.BertConfig(**WORDS))
    text.save_pretrained(tmp_path / "bare")
    with pytest.raises(UserError, match=r"cannot load 'hf:.*bare' .*image processor"):
        digest_of(f"hf:{tmp_path / 'bare'}")
    with pytest.raises(UserError, match="is no model of images"):
        digest_of(saved(text, transformers, tmp_path / "text"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"cannot load 'hf:nobody/nothing'"):
        digest_of("hf:nobody/nothing")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "transformers" else find(name)
    )
    with pytest.raises(UserError, match=r"pip install 'latent-atlas\[transformers\]'"):
        digest_of("hf:nobody/anything")


def test_a_folder_is_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert full_name("hf:model") == f"hf:{tmp_path / 'model'}"
    assert full_name("hf:facebook/dinov2-small") == "hf:facebook/dinov2-small"
    assert full_name("mine:corners") == "mine:corners"
