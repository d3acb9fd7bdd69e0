"""The result of an evaluation: sections of numbers, with what each was computed from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from latent_atlas.display import Tabular
from latent_atlas.evaluation.uncertainty import Number
from latent_atlas.shapes import Images

__all__ = ["Evaluation", "Section"]

Table = Mapping[str, Mapping[str, Number]]
"""Row (a sampler, a planner) to numbers by name."""


@dataclass(frozen=True)
class Section:
    """One question and its numbers.

    Attributes:
        question: What is asked.
        meaning: What the numbers mean, in a sentence or two.
        rows: By row, numbers by name; baselines are rows of their own.
        sample: What was compared, with its size: "500 images against 500 others".
        seed: Seed of all randomness.
        extractor: Name of the features; None if none were used.
        notes: Limits of the numbers, such as a row that is missing and why.
        pictures: By row, some of the images; not written to JSON.
    """

    question: str
    meaning: str
    rows: Table
    sample: str
    seed: int
    extractor: str | None = None
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, Images] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Evaluation(Tabular):
    """All sections of the evaluation of a run.

    Attributes:
        source: Source of the images.
        dimension: d, of the codes.
        sections: By name.
        notes: Limits of the whole evaluation.
    """

    source: str
    dimension: int
    sections: Mapping[str, Section]
    notes: tuple[str, ...] = ()

    def columns(self) -> dict[str, Any]:
        """All numbers: the section, row and metric of each, its value and its standard error."""
        numbers = [
            (name, row, metric, number.value, number.error)
            for name, section in self.sections.items()
            for row, metrics in section.rows.items()
            for metric, number in metrics.items()
        ]
        names = ("section", "row", "metric", "value", "error")
        return {name: [number[i] for number in numbers] for i, name in enumerate(names)}

    def as_json(self) -> dict[str, Any]:
        """Everything but the pictures, for `from_json`."""
        sections = {
            name: asdict(replace(section, pictures={})) for name, section in self.sections.items()
        }
        for section in sections.values():
            del section["pictures"]
        return {
            "source": self.source,
            "dimension": self.dimension,
            "notes": list(self.notes),
            "sections": sections,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Rebuild from what `as_json` gave."""
        sections = {}
        for name, given in values["sections"].items():
            rows = {
                row: {n: Number(**v) for n, v in numbers.items()}
                for row, numbers in given["rows"].items()
            }
            sections[name] = Section(**{**given, "rows": rows, "notes": tuple(given["notes"])})
        return cls(values["source"], values["dimension"], sections, tuple(values["notes"]))
