"""The result of an evaluation: questions, their numbers, and what each number was computed from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

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
        rows: By row, numbers by name; opponents stand beside what they are compared with.
        sample: What was looked at, with how many: "500 images against 500 others".
        seed: Of all that was drawn.
        extractor: The features' name; None where no features were looked at.
        notes: What should be known besides, such as a row that is missing and why.
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
class Evaluation:
    """All questions that were asked of a run.

    Attributes:
        source: The collection.
        dimension: d, of the codes.
        sections: By name.
        notes: What should be known of the whole.
    """

    source: str
    dimension: int
    sections: Mapping[str, Section]
    notes: tuple[str, ...] = ()

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
