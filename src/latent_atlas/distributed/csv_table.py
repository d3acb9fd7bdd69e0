"""Shards as CSV files, for tables of one number per image and column."""

import csv
from pathlib import Path
from typing import Any

from torch import Tensor

from latent_atlas.distributed.jobs import Mark, file_in_mark
from latent_atlas.distributed.packing import names_of, numbers_of
from latent_atlas.errors import printable
from latent_atlas.files import replacing

__all__ = ["CsvWriter"]


class CsvWriter:
    """A CSV file per shard: the name, numbers, and the digest in hexadecimal digits."""

    name = "csv"

    def write(self, folder: Path, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Write `NAME.csv`."""
        columns: dict[str, list[Any]] = {"name": [*map(printable, names_of(tensors))]}
        columns |= {key: column.tolist() for key, column in numbers_of(tensors).items()}
        columns["digest"] = [bytes(row).hex() for row in tensors["digests"].numpy()]
        path = folder / f"{name}.csv"
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(columns)
            table.writerows(zip(*columns.values(), strict=True))
        return file_in_mark(path)

    def finish(self, folder: Path, marks: list[Mark]) -> None:
        """Nothing joins these files."""
