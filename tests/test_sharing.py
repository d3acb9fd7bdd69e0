"""Runs that are published on a hub on loopback, and come back from it or from the cache."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from command_line import latent_atlas
from hub import Hub
from latent_atlas import Atlas
from latent_atlas.errors import UserError
from latent_atlas.runs import Run

NAME = "hf:somebody/digits"


@pytest.fixture(scope="module")
def run(digits_run: Path) -> Path:
    """A finished run with results, and with what must stay at home."""
    (digits_run / "samples.png").write_bytes(b"a picture")
    number = {"value": 0.25, "error": 0.031}
    section = {
        "question": "Are samples real?",
        "meaning": "Lower is better.",
        "sample": "20 images",
    }
    section |= {"rows": {"diffusion": {"frechet": number, "mmd": number}, "prior": {"mmd": number}}}
    evaluation = {"source": "/home/me", "sections": {"samples": section}}
    (digits_run / "evaluation.json").write_text(json.dumps(evaluation))
    metrics = {"map": {"kl": 2.5, "kl_error": 0.12, "normalising_constant": 1.0}}
    Run(digits_run).write_json("metrics.json", metrics | {"reconstruction": {"mse": 0.0123}})
    return digits_run


@pytest.fixture(scope="module")
def private(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, of images in a folder of its owner."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("private") / "run")
    config = json.loads((folder / "config.json").read_text())
    config["data"]["source"] = "/home/me/holidays"
    config.pop("checksum")
    (folder / "config.json").write_text(json.dumps(config))
    manifest = Run(folder).read_json("manifest.json") or {}
    Run(folder).write_json("manifest.json", manifest | {"path": "/home/me/holidays"})
    return folder


def assert_same(one: Atlas, other: Atlas) -> None:
    z = one.codes["held_out"].means[:4]
    torch.testing.assert_close(other.codes["held_out"].means[:4], z)
    torch.testing.assert_close(one.decode(z), other.decode(z))
    torch.testing.assert_close(one.map.log_prob(z), other.map.log_prob(z))
    assert one.label_names == other.label_names


def test_a_folder_that_was_saved_is_loaded_and_has_nothing_else(run: Path, tmp_path: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    atlas.save_pretrained(tmp_path / "saved", licence="cc-by-4.0")
    assert_same(atlas, Atlas.load(tmp_path / "saved", device="cpu"))
    assert sorted(file.name for file in (tmp_path / "saved").iterdir()) == [
        "README.md",
        "codes.safetensors",
        "config.json",
        "manifest.json",
        "map.safetensors",
        "model.safetensors",
        "samples.png",
    ]
    with pytest.raises(UserError, match="holds something already; choose another folder"):
        atlas.save_pretrained(tmp_path / "saved")


def test_the_card_has_the_runs_numbers_and_front_matter_that_the_library_reads(
    run: Path, tmp_path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    Atlas.load(run, device="cpu").save_pretrained(tmp_path / "saved", licence="cc-by-4.0")
    card = hub.ModelCard.load(tmp_path / "saved" / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "latent-atlas"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    manifest = Run(run).read_json("manifest.json") or {}
    for line in (
        "| source | digits |",
        f"| training images | {manifest['n_train']:,} |",
        "| KL(q ‖ boundary) in nats | 2.5 ± 0.12 |",
        "| mean squared error of held-out images | 0.0123 |",
        "| diffusion | 0.25 ± 0.031 | 0.25 ± 0.031 |",
        "| prior | – | 0.25 ± 0.031 |",
        "![New images of codes that were sampled from the map.](samples.png)",
    ):
        assert line in card.text


def test_images_that_are_not_public_are_published_only_by_their_owners_word(
    private: Path, hub: Hub, tmp_path: Path
) -> None:
    atlas = Atlas.load(private, device="cpu")
    with pytest.raises(UserError, match=r"not public \(/home/me/holidays\).* give --own-images"):
        atlas.push_to_hub(NAME)
    assert hub.asked == []
    atlas.save_pretrained(tmp_path / "saved", own_images=True)
    whole = b"".join(file.read_bytes() for file in (tmp_path / "saved").iterdir())
    assert b"/home/me" not in whole
    assert b"holidays" not in whole
    assert_same(atlas, Atlas.load(tmp_path / "saved", device="cpu"))


def test_a_run_goes_to_the_hub_and_comes_back_also_without_a_network(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = Atlas.load(run, device="cpu")
    url = atlas.push_to_hub(NAME)
    commit = next(reversed(hub.commits["somebody/digits"]))
    assert url.endswith(commit)
    assert hub.private == {"somebody/digits": True}
    assert_same(atlas, Atlas.load(NAME, device="cpu"))
    assert_same(atlas, Atlas.load(f"{NAME}@{commit}", device="cpu"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = len(hub.asked)
    assert_same(atlas, Atlas.load(NAME, device="cpu"))
    assert len(hub.asked) == before
    with pytest.raises(UserError, match="is not reached, and 'hf:somebody/other' was not down"):
        Atlas.load("hf:somebody/other")


def test_a_revision_is_what_was_published_then(run: Path, hub: Hub) -> None:
    atlas = Atlas.load(run, device="cpu")
    atlas.push_to_hub(NAME, public=True)
    assert hub.private == {"somebody/digits": False}
    first = next(iter(hub.commits["somebody/digits"]))
    hub.commit("somebody/digits", {"map.safetensors": b"damaged"})
    assert_same(atlas, Atlas.load(f"{NAME}@{first}", device="cpu"))
    with pytest.raises(UserError, match=r"map\.safetensors is damaged"):
        Atlas.load(NAME, device="cpu")
    with pytest.raises(UserError, match="is there already and all may see it; give --public"):
        atlas.push_to_hub(NAME)


def test_what_the_hub_does_not_have_is_said_in_a_sentence(hub: Hub) -> None:
    hub.commit("somebody/words", {"model.safetensors": b"", "config.json": b"{}"})
    for name, sentence in (
        ("hf:somebody/nothing", "has no 'hf:somebody/nothing' that you may read; check the name"),
        ("hf:somebody/words@v2", "has no such revision; leave it out"),
        ("hf:somebody/words", r"holds no atlas \(no map.safetensors\)"),
        ("hf:some/words@", "is no repository of the Hugging Face hub; write hf:OWNER/NAME"),
        ("hf:words", "is no repository of the Hugging Face hub; write hf:OWNER/NAME"),
        ("hf:some body/words", "is no name of the Hugging Face hub"),
    ):
        with pytest.raises(UserError, match=sentence):
            Atlas.load(name)
    assert not any("model.safetensors" in asked for asked in hub.asked)


@pytest.mark.parametrize("licence", ["cc-by-40", "CC-BY-4.0"])
def test_a_licence_that_the_hub_does_not_know_is_refused_before_anything_is_written(
    licence: str, run: Path, tmp_path: Path
) -> None:
    sentence = f"the hub knows no licence '{licence}'; choose .* did you mean 'cc-by-4.0'?"
    with pytest.raises(UserError, match=sentence):
        Atlas.load(run, device="cpu").save_pretrained(tmp_path / "saved", licence=licence)
    assert not (tmp_path / "saved").exists()


def test_a_hub_that_is_not_reached_is_named(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(UserError, match="is not reached, and"):
        Atlas.load(NAME)
    with pytest.raises(UserError, match=r"does not answer for 'hf:somebody/digits'.*refused"):
        Atlas.load(run, device="cpu").push_to_hub(NAME)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "huggingface_hub" else find(name)
    )
    with pytest.raises(UserError, match=r"pip install 'latent-atlas\[huggingface\]'"):
        Atlas.load(NAME)


def test_what_was_wrapped_has_no_run_to_publish(run: Path, tmp_path: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    atlas.run = None
    with pytest.raises(UserError, match="wraps an autoencoder and has no run folder"):
        atlas.save_pretrained(tmp_path / "saved")


def test_the_commands_push_and_pull(
    run: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas("push", str(run), NAME, "--licence", "mit") == 0
    out = str(tmp_path / "pulled")
    assert latent_atlas("pull", NAME, "--out", out) == 0
    assert "the run is in" in capsys.readouterr().out
    assert latent_atlas("doctor", out) == 0
    assert latent_atlas("sample", out, "--count", "2") == 0
    assert latent_atlas("pull", NAME, "--out", out) == 2
    assert "holds a run already" in capsys.readouterr().err
