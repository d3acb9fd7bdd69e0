"""A study from its design to its page."""

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from latent_atlas.config.run import Config
from latent_atlas.data.load import load_images
from latent_atlas.errors import require_known
from latent_atlas.evaluation.features.registry import EXTRACTORS
from latent_atlas.runs import Run
from latent_atlas.study.decay_profile import DecayProfile, decay_profile
from latent_atlas.study.design import Cell, Design, Effort, Grid
from latent_atlas.study.fixtures import other_source
from latent_atlas.study.hypotheses import (
    Question,
    Results,
    boundary_question,
    extended,
    mode_question,
    z_real_question,
)
from latent_atlas.study.latent_vs_image_question import latent_vs_image
from latent_atlas.study.page import page
from latent_atlas.study.results import StudyResults

__all__ = ["Conclusion", "conclude", "make_design"]

QUESTIONS = (latent_vs_image, boundary_question, mode_question, z_real_question)
"""In the order of the page."""


@dataclass(frozen=True)
class Conclusion:
    """The conclusions of a study.

    Attributes:
        questions: The questions with their answers.
        decay: Realness of codes away from real ones; None without any map.
        failures: Error messages of failed cells.
        page: The HTML page of the study.
    """

    questions: tuple[Question, ...]
    decay: DecayProfile | None
    failures: dict[Cell, str]
    page: Path

    def as_json(self) -> dict[str, Any]:
        """Everything but the page."""
        return {
            "questions": {one.key: one.as_json() for one in self.questions},
            "decay": self.decay and self.decay.as_json(),
            "failures": {cell.name: sentence for cell, sentence in self.failures.items()},
        }


def make_design(config: Config, effort: Effort, grid: Grid, extractor: str | None = None) -> Design:
    """The design of a study with these settings, which depends on its images.

    Arguments:
        config, effort, grid: As in `Design`.
        extractor: As in `Design`; None chooses a classifier if the images have classes, since its
            features represent what distinguishes them, and the best available extractor if not.

    Raises:
        UserError: the images cannot be read, or there is no such extractor.
    """
    config = replace(
        config, train=replace(config.train, device="auto")
    )  # results are not to depend on the device
    images = load_images(config.data, config.model.image_size, config.model.channels)
    classes = (
        images.labels is not None
        and bool(images.labels.min() >= 0)
        and len(images.labels.unique()) > 1
    )
    extractor = extractor or ("classifier" if classes else "auto")
    require_known("extractor", extractor, EXTRACTORS)
    return Design(
        config=config,
        effort=effort,
        grid=grid,
        other=other_source(config.data.source),
        extractor=extractor,
        digest=str(images.manifest()["digest"]),
        images=len(images.train),
    )


def conclude(folder: Path) -> Conclusion:
    """Answer the questions from the finished cells, and write answers.json and study.html.

    Raises:
        UserError: there is no study in the folder, or one of its files is damaged.
    """
    study = StudyResults(folder)
    design = study.design()
    cells: Sequence[Cell] = design.cells()
    results, failures = study.results(cells), study.failures(cells)
    asked, decay = questions(design, results), decay_profile(design, results)
    place = Run(folder)
    place.write_text("study.html", page(design, asked, decay, results, failures))
    conclusion = Conclusion(tuple(asked), decay, failures, place.file("study.html"))
    made_by = {
        "latent_atlas": importlib.metadata.version("latent-atlas"),
        "torch": str(torch.__version__),
    }
    devices = sorted(
        {str(numbers["device"]) for numbers in results.values() if "device" in numbers}
    )
    about = {"design": json.loads(design.to_json()), "versions": made_by, "devices": devices}
    place.write_json("answers.json", about | conclusion.as_json())
    return conclusion


def questions(design: Design, results: Results) -> list[Question]:
    """The questions that these results say something about."""
    results = {cell: extended(numbers) for cell, numbers in results.items()}
    answered = (question(design, results) for question in QUESTIONS)
    return [one for one in answered if one.measured]
