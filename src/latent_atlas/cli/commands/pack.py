"""The command `pack`: decode a large source once, into files that are memory-mapped."""

import json
import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path

from latent_atlas.cli.arguments import (
    LARGE_SOURCE,
    add_image_shape,
    add_settings,
    add_workers,
    preset_of,
)
from latent_atlas.cli.console import Console
from latent_atlas.cli.shards import report_job
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import UserError, require

__all__ = ["add_arguments", "pack"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `pack`."""
    parser.add_argument("source", metavar="SOURCE", help=LARGE_SOURCE)
    parser.add_argument("out", metavar="OUT", help="folder to create, or to go on with")
    add_image_shape(parser)
    add_workers(parser)
    add_settings(
        parser,
        "another setting of the section data, such as data.float_range=[-1,1], where floats are "
        "not from 0 to 1; repeatable",
    )


def pack(given: Namespace, console: Console) -> None:
    """Decode a source, shard by shard."""
    from latent_atlas.data.load import square_of
    from latent_atlas.data.packed import Pack
    from latent_atlas.data.shards import ROWS, shards_of
    from latent_atlas.distributed.jobs import Job, SafetensorsWriter
    from latent_atlas.distributed.packing import Packing, rows_per_shard

    require(
        not Pack.is_at(given.source),
        f"'{given.source}' is packed already; train on it, or pack its source in another size",
    )
    config = _chosen_config(given)
    model = config.model
    square = square_of(config.data, model.image_size, model.channels)
    shards = shards_of(given.source, rows_per_shard(square, ROWS))
    job = Job(Packing(square), SafetensorsWriter(), Path(given.out))
    next_step = f"train on it: latent-atlas train {shlex.quote(given.out)} --out RUN"
    report_job(job, shards, given, console, next_step)


def _chosen_config(given: Namespace) -> Config:
    """The shape for the source, changed by the flags and then by the values of --set."""
    other = [setting for setting in given.settings if not setting.startswith("data.")]
    if other:
        raise UserError(
            f"--set {other[0]}: pack takes settings of the section data alone, such as "
            "data.float_range=[-1,1]"
        )
    flags = {
        "data.source": given.source,
        "data.fit": given.fit,
        "model.image_size": given.image_size,
        "model.channels": given.channels,
    }
    settings = [f"{name}={json.dumps(v)}" for name, v in flags.items() if v is not None]
    known = given.image_size is not None and given.channels is not None
    start = Config() if known else preset_of(_example(given.source), None)
    return with_settings(start, settings + given.settings)


def _example(source: str) -> str:
    """A source whose images show the size and channels: of a folder of archives, the first one."""
    from latent_atlas.data.shards import archives_in

    return str(next(iter(archives_in(source)), source))
