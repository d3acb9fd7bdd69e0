"""Settings: every preset survives JSON, and every mistake is named."""

import json

import pytest

from latent_atlas.config import PRESETS, Config, ModelConfig, TrainConfig, preset_for_size, with_settings
from latent_atlas.errors import UserError
from latent_atlas.model import footprint


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json_and_describe_networks(name: str) -> None:
    config = PRESETS[name]
    assert Config.from_json(config.to_json()) == config
    assert all(count > 0 for count in footprint(config).parameters.values())


def test_settings_that_belong_together_are_judged_together() -> None:
    config = with_settings(Config(), ["train.discriminator_start=900", "train.adversarial_start=1000"])
    assert (config.train.discriminator_start, config.train.adversarial_start) == (900, 1000)


def test_words_numbers_and_null_are_understood() -> None:
    config = with_settings(
        Config(), ["train.precision=32", "train.r1=1", "data.limit=null", "data.limit=5", "train.compile=true"]
    )
    assert config.train.precision == "32"
    assert isinstance(config.train.r1, float)
    assert config.data.limit == 5
    assert config.train.compile is True


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("train.steps", "not of the form section.name=value"),
        ("trian.steps=3", "no section 'trian'"),
        ("train.step=3", "no setting 'train.step'; train has arm, steps"),
        ("train.steps=many", "train.steps is 'many'; expected int"),
        ("train.steps=true", "train.steps is True; expected int"),
        ("train.steps=0", "train.steps is 0; choose 1 or more"),
        ("train.adversarial=wgan", "choose relativistic, hinge, non-saturating, none"),
        ("train.discriminator_start=2000", "set it between them"),
        ("model.image_size=512", "choose 8 to 256 pixels"),
        ("model.channels=5", "choose 1, 2, 3 or 4"),
        ("train.ema=1.0", "train.ema is 1.0"),
        ("train.seed=-1", "train.seed is -1"),
        ("map.boundary=moat", "no boundary 'moat'; choose prior"),
        ("map.weight_decay=-1", "choose 0 or more"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        with_settings(Config(), [setting])


def test_a_damaged_or_newer_file_is_refused() -> None:
    with pytest.raises(UserError, match="not JSON"):
        Config.from_json("{")
    with pytest.raises(UserError, match="no JSON object"):
        Config.from_json(json.dumps({"train": 3}))
    with pytest.raises(UserError, match="format 9"):
        Config.from_json(json.dumps({"format": 9}))
    with pytest.raises(UserError, match=r"no setting 'model\.color'"):
        Config.from_json(json.dumps({"model": {"color": 3}}))


def test_sizes_choose_the_generic_preset_that_holds_them() -> None:
    assert [preset_for_size(size) for size in (8, 16, 17, 64, 200)] == ["16px", "16px", "32px", "64px", "256px"]


def test_configurations_are_frozen() -> None:
    with pytest.raises(AttributeError):
        TrainConfig().steps = 3  # pyright: ignore[reportAttributeAccessIssue]
    assert ModelConfig(28, 1) == ModelConfig(image_size=28, channels=1)
