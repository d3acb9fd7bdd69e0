"""A decoder of given codes: it learns what is known to be there, ends in time, and resumes."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.config.presets import decoder_of_codes
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import Interrupted
from latent_atlas.nn.autoencoder import CodeDecoder
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import to_float
from latent_atlas.training import decoder as learning
from latent_atlas.training.decoder import Pairs, learn_decoder

SEEN = 2  # coordinates that the images depend on


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the held-out images every ten steps."""
    monkeypatch.setattr(learning, "CHECK", 10)
    monkeypatch.setattr(learning, "PATIENCE", 40)


def config(*settings: str) -> Config:
    tiny = (
        "model.width=4",
        "model.discriminator_width=4",
        "train.device=cpu",
        "train.precision=32",
    )
    steps = ("train.steps=150", "train.learning_rate=3e-3", "train.log_every=10")
    return with_settings(decoder_of_codes(8, 1, 3), [*tiny, *steps, *settings])


def pairs(n: int, seed: int) -> Pairs:
    """Grey images, left of the first coordinate and right of the second; the third says nothing."""
    codes = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    halves = 0.5 + 0.3 * torch.tanh(codes[:, :SEEN])
    images = halves.repeat_interleave(4, dim=1)[:, None, None].expand(-1, 1, 8, -1)
    return Pairs((255 * images).round().to(torch.uint8), 5 * codes + 7)


def decode(run: Run, codes: Float[Tensor, "n d"], settings: Config) -> Float[Tensor, "m c h w"]:
    found = CodeDecoder(settings.model, codes.shape[1])
    found.load_state_dict(read_tensors(run.file("model.safetensors"))[0])
    with torch.no_grad():
        return found(codes)


def learned(
    path: Path, settings: Config, train: Pairs, held_out: Pairs
) -> tuple[Run, int, list[dict[str, Any]]]:
    run = Run(path)
    records: list[dict[str, Any]] = []
    step = learn_decoder(train, held_out, settings, run, log=records.append)
    return run, step, records


def test_it_finds_the_images_of_the_codes(tmp_path: Path) -> None:
    """The exact image is known. A decoder that ignores the codes would have the images' variance as error."""
    train, held_out = pairs(500, 0), pairs(100, 1)
    run, step, records = learned(tmp_path, config(), train, held_out)
    exact = to_float(held_out.images[:])
    error = (decode(run, held_out.codes, config()) - exact).square().mean().item()
    assert error < 0.1 * exact.var(dim=0).mean().item()
    losses = {record["step"]: record["held_out_loss"] for record in records}
    assert losses[step] == min(losses.values()) == pytest.approx(error, rel=1e-3)
    # What the images do not depend on is the coordinate that becomes the noisiest.
    state = read_tensors(run.file("state.safetensors"))[0]
    assert state["average/encoder.log_variances"].argmax() in _unseen(run)


def _unseen(run: Run) -> list[int]:
    """Number of the principal coordinate along the third of the codes."""
    axes = read_tensors(run.file("model.safetensors"))[0]["axes"]
    return [int(axes[SEEN].abs().argmax())]


def test_coordinates_have_unit_variance(tmp_path: Path) -> None:
    train = pairs(200, 0)
    flat = Pairs(train.images, torch.cat([train.codes, 0 * train.codes[:, :2]], dim=1))
    run, *_ = learned(tmp_path, config("train.steps=1", "model.latent_dim=4"), flat, flat)
    network = CodeDecoder(config("model.latent_dim=4").model, 5)
    network.load_state_dict(read_tensors(run.file("model.safetensors"))[0])
    u = network.coordinates(flat.codes)
    torch.testing.assert_close(
        u.T.cov(), torch.diag(torch.tensor([1.0, 1, 1, 0])), atol=1e-3, rtol=0
    )
    assert u.mean(dim=0).abs().max() < 1e-4


def test_images_that_codes_do_not_tell_end_it_early(tmp_path: Path) -> None:
    train, held_out = (
        Pairs(some.images, some.codes.roll(1, dims=0)) for some in (pairs(40, 0), pairs(40, 1))
    )
    _, step, records = learned(tmp_path, config("train.steps=1000"), train, held_out)
    last = records[-1]["step"]
    assert last == step + 40 < 1000
    assert records[-1]["reconstruction"] < records[-1]["held_out_loss"]  # it learned by heart


def test_with_an_image_discriminator_the_last_weights_are_kept(tmp_path: Path) -> None:
    settings = config(
        "train.adversarial=relativistic", "train.adversarial_start=20", "train.steps=90"
    )
    train = pairs(40, 0)
    unrelated = Pairs(train.images, train.codes.roll(1, dims=0))
    _, step, records = learned(tmp_path, settings, train, unrelated)
    assert step == records[-1]["step"] == 90
    assert "image_generator" in records[-1]


def test_an_interrupted_one_goes_on_bit_for_bit(tmp_path: Path) -> None:
    train, held_out = pairs(60, 0), pairs(30, 1)
    whole, step, _ = learned(
        tmp_path / "whole", config("train.checkpoint_every=20"), train, held_out
    )

    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 50:
            os.kill(os.getpid(), signal.SIGTERM)

    broken = Run(tmp_path / "broken")
    settings = config("train.checkpoint_every=20")
    with pytest.raises(
        Interrupted, match="after step 50 of 150, and saved; the same command goes on"
    ):
        learn_decoder(train, held_out, settings, broken, log=stop)
    assert not broken.file("model.safetensors").exists()
    again, step_again, records = learned(broken.path, settings, train, held_out)
    assert records[0]["step"] > 50
    assert step_again == step
    for name in ("model.safetensors", "state.safetensors"):
        one, other = (read_tensors(run.file(name))[0] for run in (whole, again))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
