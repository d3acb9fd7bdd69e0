"""The command `embed`: a collection of images on a map, by a network that is trained already."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import LARGE_SOURCE
from latent_atlas.cli.commands.fit import add_map_arguments, map_settings, report_map
from latent_atlas.cli.console import Console, losses_in_words
from latent_atlas.cli.decoder import decoder_settings, learn
from latent_atlas.cli.shards import run_job
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import UserError, counted, require

if TYPE_CHECKING:
    from latent_atlas.data.shards import Shards
    from latent_atlas.runs import Run

__all__ = ["add_arguments", "embed"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `embed`."""
    parser.add_argument("source", metavar="SOURCE", help=LARGE_SOURCE)
    parser.add_argument(
        "--out", metavar="RUN", required=True, help="run folder to create, or to go on with"
    )
    parser.add_argument(
        "--model",
        metavar="M",
        default="efficientnet",
        help="efficientnet (default), which is EfficientNet-Lite0 trained on ImageNet; "
        "hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:FOLDER, an image model for transformers; or "
        "module:function, your own: images (n, 3, h, w) in [0, 1] to codes (n, d)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PX",
        help="side of the squares that the model sees, in pixels (default: as it was "
        "trained, 224 for your own; or that of a pack)",
    )
    parser.add_argument(
        "--fit", metavar="F", help="how to make images square: crop (default) or pad them"
    )
    parser.add_argument(
        "--decoder",
        action="store_true",
        help="then learn to decode the codes, from the thumbnails of the run, also of a run that "
        "is there; --set takes settings of sections model and train for it, such as "
        "model.image_size=32 (default: 64 pixels) or train.steps=1000",
    )
    add_map_arguments(parser)


def embed(given: Namespace, console: Console) -> None:
    """Embed the images shard by shard, fit a map to their codes, and learn a decoder of them."""
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.atlas.collection import FOLDER
    from latent_atlas.codes.huggingface import full_name
    from latent_atlas.data.load import square_of
    from latent_atlas.data.shards import shards_of
    from latent_atlas.distributed.embedding import ROWS, Embedding, embedded_codes
    from latent_atlas.distributed.jobs import Job, SafetensorsWriter
    from latent_atlas.distributed.packing import square_settings
    from latent_atlas.runs import Run
    from latent_atlas.training.codes_run import fit as fit_run

    decoder = decoder_settings(given)
    run = Run(Path(given.out))
    if given.decoder and run.file("config.json").exists():
        _decode(given, run, decoder, console)
        return
    given.model = full_name(given.model)
    config = _chosen_config(given)
    folder = run.file(FOLDER)
    square = square_of(config.data, config.model.image_size, config.model.channels)
    shards = shards_of(given.source, ROWS)
    if run.file("config.json").exists():
        _refuse(run, shards, {"model": given.model, **square_settings(square)})
    work = Embedding.by(given.model, square, config.train.device, folder)
    run.claim()
    job = Job(work, SafetensorsWriter(), folder)
    summary = run_job(job, shards, given, console)
    if summary is None:
        return  # the first process of torchrun fits the map
    require(
        not summary.failed,
        f"{counted(len(summary.failed), 'shard')} failed, for instance: "
        f"{summary.failed and summary.failed[0].get('reason')}; the others stay: repair that, and "
        "run the same command again",
    )
    codes = embedded_codes(folder, summary.manifest)
    with run.hold(), console.progress() as advance:
        latent_map = fit_run(
            codes,
            config,
            run,
            log=lambda entry: advance("map", entry["step"], entry["steps"], losses_in_words(entry)),
            embedded=_facts(given.source, work.settings()),
        )
    lines = [_told(summary.rows, summary.rejects, folder)]
    numbers = {"images": summary.rows, "rejects": summary.rejects, "model": given.model}
    if given.decoder:
        atlas = Atlas.load(run.path, device=config.train.device)
        numbers["decoder"], more = learn(atlas, run, decoder, console)
        lines += more
    report_map(
        run.path,
        latent_map,
        codes.warnings,
        config.train.device,
        console,
        numbers=numbers,
        lines=lines,
    )


def _decode(given: Namespace, run: "Run", settings: list[str], console: Console) -> None:
    """Learn the decoder of a run that is there, or go on with it.

    Raises:
        UserError: it has no images, those of another source, or a decoder already.
    """
    from latent_atlas.atlas.atlas import Atlas

    atlas = Atlas.load(run.path, device=given.device or "auto", nearest=True)
    require(
        atlas.collection is not None,
        f"{run.path} keeps no images of its codes, so no decoder can be learned; `latent-atlas "
        "embed` the images into another --out",
    )
    about, here = run.read_json("manifest.json") or {}, Path(given.source).expanduser().absolute()
    require(
        given.source == about["source"] or str(here) == about.get("path"),
        f"{run.path} holds the images of '{about['source']}', not of '{given.source}'; give that "
        "SOURCE, or another --out",
    )
    console.say(f"{run.path} keeps its codes, of '{about['embedder']['model']}', and its map")
    numbers, lines = learn(atlas, run, settings, console)
    report_map(
        run.path,
        atlas.map,
        (),
        atlas.device.type,
        console,
        numbers={"decoder": numbers},
        lines=lines,
    )


def _refuse(run: "Run", shards: "Shards", settings: dict[str, object]) -> None:
    """Say that a folder holds a run, and what differs from what is asked for.

    Arguments:
        run: The folder.
        shards: The source.
        settings: The model, and what images become before it sees them.

    Raises:
        UserError: always.
    """
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.atlas.collection import FOLDER
    from latent_atlas.runs import Run

    manifest = run.read_json("manifest.json") or {}
    before = manifest.get("embedder", {})
    others = " and ".join(
        f"another {name.replace('_', ' ')} ({before[name]} then, {settings[name]} now)"
        for name in ("model", "image_size", "channels", "fit")
        if before.get(name, settings[name]) != settings[name]
    )
    kept = Atlas.load(run.path, device="cpu").collection
    names = {item.name for one in shards.shards if one.source for item in one.source.items}
    since = ""
    if kept is not None and names:
        rejects = Run(run.file(FOLDER)).records("rejects.jsonl")
        then = {*kept.names[:], *(reject["path"] for reject in rejects)}
        added, removed = len(names - then), len(then - names)
        place = str(Path(shards.place).expanduser().absolute())
        same = place == manifest.get("path", place)
        has = "has changed since" if same else f"is not '{manifest['path']}'"
        if added or removed:
            since = (
                f", and '{shards.place}' {has}: {counted(added, 'image')} more, {removed:,} fewer"
            )
    made = f", made with {others}" if others else ""
    raise UserError(f"{run.path} holds a run already{made}{since}; choose another --out")


def _chosen_config(given: Namespace) -> Config:
    """The defaults, changed by the flags and then by the values of --set."""
    from latent_atlas.codes.embedder import side_of
    from latent_atlas.data.load import probe_source
    from latent_atlas.data.packed import Pack

    side, channels = given.image_size, 3
    if Pack.is_at(given.source):
        packed, channels = probe_source(given.source)
        side = side or packed
    flags = {
        "data.source": given.source,
        "data.fit": given.fit,
        "model.image_size": side or side_of(given.model),
        "model.channels": channels,
    }
    settings = [f"{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    return with_settings(Config(), settings + map_settings(given))


def _facts(source: str, settings: dict[str, object]) -> dict[str, object]:
    """What manifest.json says of the images and of the model that made their codes."""
    where = {"path": str(Path(source).expanduser().absolute())} if Path(source).exists() else {}
    return {"source": source, **where, "embedder": settings}


def _told(images: int, rejects: int, folder: Path) -> str:
    """How many images there are, in a sentence."""
    from latent_atlas.distributed.embedding import MOST

    said = f"{images:,} images"
    if rejects:
        said += f"; {rejects:,} could not be read, and {folder / 'rejects.jsonl'} names them"
    if images > MOST:
        said += f"; {MOST:,} of them, drawn by the digests of their pixels, are on the map"
    return said
