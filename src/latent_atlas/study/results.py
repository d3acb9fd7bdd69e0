"""The folder of a study: one JSON file per finished cell, so that a study can stop and continue."""

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_atlas.errors import UserError
from latent_atlas.runs import Run, json_safe
from latent_atlas.study.design import Cell, Design

__all__ = ["StudyResults"]


@dataclass(frozen=True)
class StudyResults:
    """The folder of a study.

    | file | content |
    |---|---|
    | study.json | the design |
    | cells/NAME.json | the numbers of a finished cell |
    | cells/NAME.failed.json | why a cell failed; it is tried again the next time |
    | runs/MODE-SEED/ | a run folder |
    | answers.json, study.html | the conclusions |

    Attributes:
        path: The folder.
    """

    path: Path

    def hold(self) -> AbstractContextManager[None]:
        """Keep other processes from writing into the folder: see `Run.hold`.

        Raises:
            UserError: another process holds it.
        """
        return self._run.hold()

    def begin(self, design: Design) -> None:
        """Create the study, or continue the one in the folder.

        Raises:
            UserError: the folder holds another study or a run, or cannot be created.
        """
        if self._run.file("config.json").exists():
            raise UserError(f"{self.path} holds a run; choose another --out for the study")
        if self._run.file("study.json").exists() and not design.continues(self.design()):
            raise UserError(
                f"{self.path} holds a study with other settings or images, whose cells cannot be "
                "mixed with these; repeat its command to continue it (you may add --seeds, --modes "
                "or --boundaries), or choose another --out"
            )
        try:
            (self.path / "cells").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be made a folder ({error.strerror}); choose another --out"
            ) from None
        self._run.write_text("study.json", design.to_json())

    def design(self) -> Design:
        """The design of the study.

        Raises:
            UserError: the folder holds no study.
        """
        if not self._run.file("study.json").is_file():
            raise UserError(
                f"{self.path} holds no study; `latent-atlas study SOURCE --out STUDY` makes one"
            )
        return Design.from_json(self._run.file("study.json").read_text())

    def run(self, cell: Cell) -> Run:
        """The run folder of a cell."""
        return Run(self.path / "runs" / f"{cell.mode}-{cell.seed}")

    def write(self, cell: Cell, numbers: Mapping[str, Any]) -> None:
        """Write the numbers of a finished cell, with null for those that are not finite."""
        self._run.write_json(f"cells/{cell.name}.json", json_safe(numbers))
        self._failed(cell).unlink(missing_ok=True)

    def fail(self, cell: Cell, sentence: str, traceback: str = "") -> None:
        """Write why a cell failed."""
        self._run.write_json(
            f"cells/{cell.name}.failed.json", {"sentence": sentence, "traceback": traceback}
        )

    def done(self, cell: Cell) -> bool:
        """Whether the cell is finished."""
        return (self.path / "cells" / f"{cell.name}.json").is_file()

    def results(self, cells: Iterable[Cell]) -> dict[Cell, dict[str, Any]]:
        """The numbers of those cells that are finished.

        Raises:
            UserError: a file is damaged.
        """
        read = {cell: self._run.read_json(f"cells/{cell.name}.json") for cell in cells}
        return {cell: numbers for cell, numbers in read.items() if numbers is not None}

    def failures(self, cells: Iterable[Cell]) -> dict[Cell, str]:
        """The error message of each of these cells that failed."""
        return {
            cell: json.loads(self._failed(cell).read_text())["sentence"]
            for cell in cells
            if self._failed(cell).is_file() and not self.done(cell)
        }

    @property
    def _run(self) -> Run:
        """The folder, to write its files as a whole."""
        return Run(self.path)

    def _failed(self, cell: Cell) -> Path:
        return self.path / "cells" / f"{cell.name}.failed.json"
