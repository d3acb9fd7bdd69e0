"""Shards as fragments of one Lance table, which are written apart and committed together."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import Tensor

from latent_atlas.distributed.jobs import Mark
from latent_atlas.distributed.parquet import table_of
from latent_atlas.errors import UserError

__all__ = ["LanceWriter"]

TABLE = "codes.lance"


def _lance() -> Any:
    try:
        import lance
        import lance.fragment
    except ImportError:
        raise UserError(
            "--to lance needs Lance, which is not installed; pip install 'latent-atlas[lance]'"
        ) from None
    return lance


class LanceWriter:
    """Fragments of the table `codes.lance`, which the marks of the shards describe."""

    name = "lance"

    def write(self, folder: Path, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Write the data of a shard, which no reader sees before `finish`."""
        lance, table = _lance(), table_of(tensors)
        written = lance.fragment.write_fragments(table, str(folder / TABLE), mode="create")
        schema = table.schema.serialize().to_pybytes().hex()
        return {"file": TABLE, "fragments": [one.to_json() for one in written], "schema": schema}

    def finish(self, folder: Path, marks: list[Mark]) -> None:
        """Make one version of the table of all fragments, and remove what was left over."""
        if not marks:
            return
        import pyarrow as pa

        lance = _lance()
        parts = [
            lance.FragmentMetadata.from_json(json.dumps(part))
            for mark in marks
            for part in mark["fragments"]
        ]
        place = str(folder / TABLE)
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(marks[0]["schema"])))
        committed = lance.LanceDataset.commit(place, lance.LanceOperation.Overwrite(schema, parts))
        committed.cleanup_old_versions(timedelta(0), delete_unverified=True)
