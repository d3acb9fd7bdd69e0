"""Shards as Parquet files, whose codes are lists of a fixed length: other tools see vectors."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from latent_atlas.distributed.jobs import Mark, file_in_mark
from latent_atlas.distributed.packing import names_of, numbers_of
from latent_atlas.errors import UserError
from latent_atlas.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetWriter", "table_of"]

VECTORS = {"means": "mean", "log_variances": "log_variance"}  # tensor and column


def table_of(tensors: dict[str, Tensor]) -> "pa.Table":
    """The tensors of a shard as columns: see `encoding` and `scoring`.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise UserError(
            "--to parquet and --to lance need pyarrow, which is not installed; "
            "pip install 'latent-atlas[scale]'"
        ) from None
    columns = {
        "name": pa.array(names_of(tensors), pa.string()),
        "digest": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16),
            len(tensors["digests"]),
            [None, pa.py_buffer(tensors["digests"].numpy().tobytes())],
        ),
    }
    for name, column in VECTORS.items():
        if name in tensors:
            columns[column] = _vectors(pa, tensors[name])
    columns |= {name: pa.array(value.numpy()) for name, value in numbers_of(tensors).items()}
    return pa.table(columns)


def _vectors(pa: Any, rows: Tensor) -> Any:
    """Codes (n, d) as lists of d floats in single precision, which more tools know than half."""
    numbers = np.ascontiguousarray(rows.float().numpy()).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), rows.shape[1])


class ParquetWriter:
    """A Parquet file per shard."""

    name = "parquet"

    def write(self, folder: Path, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Write `NAME.parquet`."""
        table = table_of(tensors)
        from pyarrow import parquet

        path = folder / f"{name}.parquet"
        with replacing(path) as partial:
            parquet.write_table(table, partial, compression="none")
        return file_in_mark(path)

    def finish(self, folder: Path, marks: list[Mark]) -> None:
        """Nothing joins these files: the folder is a data set of Parquet files."""
