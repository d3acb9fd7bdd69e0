"""Shards as Parquet files, whose codes are lists of a fixed length: other tools see vectors."""

import json
from collections.abc import Mapping, Sequence
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

__all__ = ["ParquetWriter", "image_table", "table_of", "write_table"]

VECTORS = {"means": "mean", "log_variances": "log_variance"}  # tensor and column


def table_of(tensors: dict[str, Tensor]) -> "pa.Table":
    """The tensors of a shard as columns: see `encoding` and `scoring`.

    Raises:
        UserError: pyarrow is not installed.
    """
    pa = _pyarrow("--to parquet and --to lance")
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


def image_table(
    names: Sequence[str],
    codes: Tensor,
    numbers: Mapping[str, Tensor],
    pictures: Sequence[bytes] = (),
    labels: Sequence[str] = (),
) -> "pa.Table":
    """A table with a row per image, for viewers of embeddings.

    Arguments:
        names: Of the images, n.
        codes: Shape (n, d).
        numbers: Columns by name, shape (n,) each.
        pictures: Of each image the content of a PNG file: the column `image`, which has `bytes` and
            `path` as in data sets of the Hugging Face hub; or none.
        labels: Of each image the name of its class, "" where it is not known; or none.

    Raises:
        UserError: pyarrow is not installed.
    """
    pa = _pyarrow("a table of images")
    columns = {"name": pa.array(names, pa.string()), "code": _vectors(pa, codes)}
    if pictures:
        cells = [
            {"bytes": picture, "path": name} for picture, name in zip(pictures, names, strict=True)
        ]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns["image"] = pa.array(cells, kind)
    if labels:
        columns["label"] = pa.array([label or None for label in labels], pa.string())
    columns |= {name: pa.array(value.cpu().numpy()) for name, value in numbers.items()}
    table = pa.table(columns)
    if not pictures:
        return table
    features = {"info": {"features": {"image": {"_type": "Image"}}}}  # for data sets of the hub
    return table.replace_schema_metadata({"huggingface": json.dumps(features)})


def write_table(table: "pa.Table", path: Path) -> None:
    """Write a table as one Parquet file, which is replaced as a whole."""
    from pyarrow import parquet

    with replacing(path) as partial:
        parquet.write_table(table, partial)


def _pyarrow(what: str) -> Any:
    """The package pyarrow.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise UserError(
            f"{what} needs pyarrow, which is not installed; pip install 'latent-atlas[scale]'"
        ) from None
    return pyarrow


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
