"""Every setting of a run, and its JSON."""

import difflib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from latent_atlas.config.data import DataConfig
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.model import ModelConfig
from latent_atlas.config.parse import settings_of, split_setting, with_values
from latent_atlas.config.training import TrainConfig
from latent_atlas.errors import UserError, checked, require, require_known
from latent_atlas.files import parse_object, read_object

__all__ = ["Config", "with_settings"]

RESTORE = "restore config.json of the run"


@checked
@dataclass(frozen=True)
class Config:
    """Every setting of a run; together with the images it determines the run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    map: MapConfig = field(default_factory=MapConfig)

    def __post_init__(self) -> None:
        """Refuse sections that contradict each other."""
        require(
            self.train.mode == "separate" or self.map.boundary == "prior",
            f"map.boundary is '{self.map.boundary}', which is fitted to finished codes, but "
            f"train.mode is {self.train.mode}; set train.mode to separate or map.boundary to prior",
        )

    def to_json(self) -> str:
        """The configuration as indented JSON, with the format's version."""
        return json.dumps({"format": 1, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Read what `to_json` wrote.

        Raises:
            UserError: the text is no JSON object, has another format, or names a section or setting
                that does not exist.
        """
        return cls._of(parse_object(text, "the configuration", RESTORE))

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Read a config.json; errors as for `from_json`, and the sentence names the file."""
        sections = read_object(path, RESTORE)
        try:
            return cls._of(sections)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    @classmethod
    def _of(cls, sections: dict[str, Any]) -> "Config":
        version = sections.pop("format", 1)
        for name, section in sections.items():
            require(
                isinstance(section, dict),
                f"section '{name}' of the configuration is {section!r}, not a JSON object; restore "
                "config.json of the run",
            )
        require(
            version == 1,
            f"the configuration has format {version} and this version reads 1; "
            "upgrade latent-atlas",
        )
        return _with_sections(cls(), sections)


def with_settings(config: Config, settings: list[str]) -> Config:
    """Return `config` with settings such as `train.steps=500` applied.

    Arguments:
        config: The configuration whose other settings are kept.
        settings: Each written `section.name=value`; the value is JSON, or plain text for words.

    Raises:
        UserError: there is no such setting, or its value has the wrong type or is out of range.

    Examples:
        >>> with_settings(Config(), ["train.steps=5000", "train.reconstruction=l1"]).train.steps
        5000
    """
    values: dict[str, dict[str, object]] = {}
    for setting in settings:
        place, value = split_setting(setting)
        section, dot, name = place.partition(".")
        near = _of_that_name(config, name or section)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        require(
            bool(dot and name), f"setting '{setting}' is not of the form section.name=value{hint}"
        )
        elsewhere = near and not any(one.startswith(f"{section}.") for one in near)
        require(not elsewhere, f"there is no setting '{place}'{hint}")
        values.setdefault(section, {})[name] = value
    return _with_sections(config, values)


def _of_that_name(config: Config, name: str) -> list[str]:
    """The settings of any section whose last part is this name, or nearly."""
    sections = {one.name: settings_of(type(getattr(config, one.name))) for one in fields(config)}
    names = {setting for settings in sections.values() for setting in settings}
    near = difflib.get_close_matches(name, sorted(names), 1, cutoff=0.8)
    return [f"{one}.{near[0]}" for one, has in sections.items() if near and near[0] in has]


def _with_sections(config: Config, values: dict[str, dict[str, object]]) -> Config:
    """Replace all settings at once, so that settings that depend on each other fit together."""
    sections = [f.name for f in fields(config)]
    for name in values:
        require_known("section", name, sections)
    parts = {
        name: with_values(
            getattr(config, name), settings, called=f"section '{name}'", prefix=f"{name}."
        )
        for name, settings in values.items()
    }
    model, asked = parts.get("model", config.model), values.get("model", {}).get("latent_dim")
    require(
        asked is None or str(asked) == str(model.latent_dim) or model.latent_shape is None,
        f"model.latent_dim is {asked}, and model.latent_shape {model.latent_shape} has "
        f"{model.latent_dim} coordinates; give one of them",
    )
    return replace(config, **parts)
