"""The command `encode`: the codes of any number of images, shard by shard."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import LARGE_SOURCE, add_device, add_run, add_workers
from latent_atlas.cli.console import Console
from latent_atlas.cli.shards import report_job

if TYPE_CHECKING:
    from latent_atlas.distributed.jobs import Writer

__all__ = ["add_arguments", "encode"]

FORMATS = ("safetensors", "parquet", "lance")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `encode`."""
    add_run(parser)
    parser.add_argument("source", metavar="SOURCE", help=LARGE_SOURCE)
    parser.add_argument(
        "--out", metavar="CODES", required=True, help="folder to create, or to go on with"
    )
    parser.add_argument(
        "--to",
        choices=FORMATS,
        default=FORMATS[0],
        help="file format (default: safetensors, which fit reads)",
    )
    add_workers(parser)
    add_device(parser)


def encode(given: Namespace, console: Console) -> None:
    """Encode a source, shard by shard."""
    from latent_atlas.data.shards import shards_of
    from latent_atlas.distributed.encoding import Encoding
    from latent_atlas.distributed.jobs import Job

    work = Encoding.by(Path(given.folder), given.device or "auto")
    shards = shards_of(given.source)
    job = Job(work, _writer(given.to), Path(given.out))
    report_job(job, shards, given, console, f"the codes are in {given.out}")


def _writer(name: str) -> "Writer":
    from latent_atlas.distributed.jobs import SafetensorsWriter
    from latent_atlas.distributed.lance_table import LanceWriter
    from latent_atlas.distributed.parquet import ParquetWriter

    return {"safetensors": SafetensorsWriter, "parquet": ParquetWriter, "lance": LanceWriter}[
        name
    ]()
