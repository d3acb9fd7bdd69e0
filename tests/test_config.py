"""Settings: every preset survives JSON, and every mistake is named."""

import json
from collections.abc import Callable

import pytest

from latent_atlas.config import (
    Config,
    ModelConfig,
    TrainConfig,
    mixture_parts,
    with_settings,
)
from latent_atlas.config.presets import (
    PRESETS,
    for_cpu,
    preset_for_size,
    quick,
    with_changes,
    with_image_size,
)
from latent_atlas.errors import UserError
from latent_atlas.nn.footprint import footprint


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json_and_describe_networks(name: str) -> None:
    config = PRESETS[name]
    assert Config.from_json(config.to_json()) == config
    assert all(count > 0 for count in footprint(config).parameters.values())


def test_settings_that_belong_together_are_checked_together() -> None:
    config = with_settings(
        Config(), ["train.discriminator_start=900", "train.adversarial_start=1000"]
    )
    assert (config.train.discriminator_start, config.train.adversarial_start) == (900, 1000)


def test_a_dimension_beside_the_shape_of_codes_agrees_with_it() -> None:
    shape = "model.latent_shape=2x7x7"
    config = with_settings(PRESETS["mnist"], [shape])
    assert Config.from_json(config.to_json()) == config
    assert with_settings(PRESETS["mnist"], [shape, "model.latent_dim=98"]) == config
    for start in (config, PRESETS["mnist"]):
        with pytest.raises(
            UserError, match=r"latent_dim is 5, and model\.latent_shape 2x7x7 has 98"
        ):
            with_settings(start, ["model.latent_dim=5", shape])


def test_words_numbers_and_null_are_understood() -> None:
    config = with_settings(
        Config(),
        [
            "train.precision=32",
            "train.r1=1",
            "data.limit=null",
            "data.limit=5",
            "train.compile=true",
        ],
    )
    assert config.train.precision == "32"
    assert isinstance(config.train.r1, float)
    assert config.data.limit == 5
    assert config.train.compile is True


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("model.patch_size=0", "model.patch_size is 0; choose 1 or more"),
        ("model.patch_size=9", "model.patch_size is 9; choose 1 to 8 pixels"),
        ("model.encoder_patch_size=9", "model.encoder_patch_size is 9; choose 1 to 8 pixels"),
        ("model.encoder_patch_size=0", "model.encoder_patch_size is 0; choose a multiple of"),
        ("train.steps", "not of the form NAME=VALUE"),
        ("trian.steps=3", "no setting 'trian.steps'; did you mean train.steps or map.steps"),
        ("trian.x=3", "no section 'trian'"),
        ("width=4", "section.name=value; did you mean model.width or map.width"),
        ("model.kl_weight=4", "no setting 'model.kl_weight'; did you mean train.kl_weight"),
        ("train.step=3", "section 'train' has no setting 'step'; it has mode, steps"),
        ("train.steps=many", "train.steps is 'many'; expected a whole number"),
        ("train.steps=true", "train.steps is True; expected a whole number"),
        ("train.steps=0", "train.steps is 0; choose 1 or more"),
        ("train.adversarial=wgan", "choose relativistic, hinge, non-saturating, none"),
        ("train.discriminator_start=2000", "choose a step from train.discriminator_start"),
        ("model.image_size=512", "choose 8 to 256 pixels"),
        ("model.channels=5", "choose 1, 2, 3 or 4"),
        ("train.ema=1.0", "train.ema is 1.0"),
        ("train.seed=-1", "train.seed is -1"),
        ("train.isometry=-0.1", "train.isometry is -0.1; choose 0 or more"),
        ("map.boundary=moat", "no boundary 'moat'; choose prior"),
        ("map.weight_decay=-1", "choose 0 or more"),
        ("map.box_margin=-0.1", "map.box_margin is -0.1; choose a fraction of 0 or more"),
        ("map.radius=0", "map.radius is 0.0; choose a positive distance, or null to measure it"),
        ("map.radius=NaN", "map.radius is nan"),
        ("map.radius=far", "map.radius is 'far'; expected a number or null"),
        ("map.quantile=1", "map.quantile is 1.0; choose a fraction between 0 and 1, or null"),
        (
            "map.parts=prior 1, moat 1",
            "map.parts has no boundary 'moat' to mix; choose from prior, box, radius, low-density, between, gaussian",
        ),
        ("map.parts=prior 1, mixture 1", "no boundary 'mixture' to mix"),
        ("map.parts=", "no boundary '' to mix"),
        ("map.parts=prior", "gives 'prior' no weight; write it as in 'prior 0.5, radius 0.5'"),
        ("map.parts=prior 1, box 0", "gives 'box' the weight 0; choose a positive number"),
        ("map.parts=prior 1, box inf", "gives 'box' the weight inf"),
        ("map.parts=prior 1, prior 2", "names 'prior' twice"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        with_settings(Config(), [setting])


def test_a_boundary_s_settings_are_understood() -> None:
    config = with_settings(
        Config(),
        [
            "map.boundary=mixture",
            "map.parts=prior 1, gaussian-mixture 3",
            "map.radius=2",
            "map.quantile=null",
        ],
    )
    assert mixture_parts(config.map.parts) == {"prior": 0.25, "gaussian-mixture": 0.75}
    assert (config.map.radius, config.map.quantile) == (2.0, None)
    assert isinstance(config.map.radius, float)


@pytest.mark.parametrize("mode", ["online", "adversarial"])
def test_a_fitted_boundary_waits_for_finished_codes(mode: str) -> None:
    with pytest.raises(
        UserError,
        match=f"map.boundary is 'box', which is fitted to finished codes, but train.mode is {mode}; set",
    ):
        with_settings(Config(), [f"train.mode={mode}", "map.boundary=box"])
    beside = with_settings(Config(), [f"train.mode={mode}"])
    assert with_settings(beside, ["map.boundary=box", "train.mode=separate"]).map.boundary == "box"


def test_a_damaged_or_newer_file_is_refused() -> None:
    with pytest.raises(UserError, match="not JSON"):
        Config.from_json("{")
    with pytest.raises(UserError, match="not a JSON object"):
        Config.from_json(json.dumps({"train": 3}))
    with pytest.raises(UserError, match="format 9"):
        Config.from_json(json.dumps({"format": 9}))
    with pytest.raises(UserError, match=r"section 'model' has no setting 'color'"):
        Config.from_json(json.dumps({"model": {"color": 3}}))


def test_sizes_choose_the_generic_preset_that_holds_them() -> None:
    assert [preset_for_size(size) for size in (8, 16, 17, 64, 200)] == [
        "16px",
        "16px",
        "32px",
        "64px",
        "256px",
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_quick_makes_every_preset_smaller_and_nothing_else_of_it(name: str) -> None:
    config = PRESETS[name]
    small = quick(config)
    assert small.train.steps * small.train.batch_size <= 4_500 * 16
    assert small.train.adversarial_start < small.train.steps
    assert small.model.image_size == min(config.model.image_size, 32)
    assert (small.data, small.model.channels, small.train.mode) == (
        config.data,
        config.model.channels,
        config.train.mode,
    )
    assert quick(small) == small


@pytest.mark.parametrize(("smaller", "most"), [(quick, 32), (for_cpu, 64)])
def test_smaller_networks_of_any_image_size_are_possible(
    smaller: Callable[[Config], Config], most: int
) -> None:
    assert smaller(PRESETS["digits"]) == PRESETS["digits"]
    for config in (PRESETS[name] for name in PRESETS if name.endswith("px")):
        for side in (13, 15, 16, 256):
            small = smaller(with_image_size(config, side)).model
            assert small.image_size == min(side, most)
            patches = (small.patch_size, small.patch_of_encoder)
            assert patches == ((2, 4) if side >= 16 else (1, 1))


@pytest.mark.parametrize(
    ("settings", "patches"),
    [
        (["model.image_size=12"], (2, 2)),
        (["model.image_size=16"], (2, 4)),
        (["model.patch_size=3"], (3, 3)),
        (["model.patch_size=1", "model.encoder_patch_size=2"], (1, 2)),
    ],
)
def test_patches_of_a_preset_give_way_to_settings(
    settings: list[str], patches: tuple[int, int]
) -> None:
    model = with_changes(PRESETS["glyphs"], settings).model
    assert (model.patch_size, model.patch_of_encoder) == patches


def test_configurations_are_frozen() -> None:
    with pytest.raises(AttributeError):
        TrainConfig().steps = 3  # pyright: ignore[reportAttributeAccessIssue]
    assert ModelConfig(28, 1) == ModelConfig(image_size=28, channels=1)
