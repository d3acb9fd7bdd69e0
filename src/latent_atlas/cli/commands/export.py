"""The command `export`: the networks of a run, or a table of its images, for other programs."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from latent_atlas.cli.arguments import add_run
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError

__all__ = ["add_arguments", "export"]

FORMATS = ("onnx", "torch", "parquet")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `export`."""
    add_run(parser)
    parser.add_argument(
        "--to",
        choices=FORMATS,
        default=FORMATS[0],
        help="onnx (default) or torch: encoder, decoder and map as files of ONNX or torch.export; "
        "parquet: codes, scores and pictures of the images, for viewers of embeddings",
    )
    parser.add_argument("--out", metavar="FOLDER", help="folder to write (default: RUN/export)")


def export(given: Namespace, console: Console) -> None:
    """Write the files of one format."""
    from latent_atlas.atlas.atlas import Atlas

    folder = Path(given.out) if given.out else Path(given.folder) / "export"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another --out")
    # The exported graphs belong to the device that traced them, and every machine has a CPU.
    atlas = Atlas.load(given.folder, device="cpu")
    with console.waiting(f"writing {given.to}"):
        if given.to == "parquet":
            from latent_atlas.distributed.image_table import write_images

            folder.mkdir(parents=True, exist_ok=True)
            files = (folder / "images.parquet",)
            write_images(atlas, files[0])
        else:
            files = atlas.export(folder, given.to)
    sizes = {file.name: file.stat().st_size for file in files}
    lines = [f"{folder / name} ({size / 2**20:.2f} MiB)" for name, size in sizes.items()]
    console.result({"folder": str(folder), "files": sizes}, "\n".join(lines))
