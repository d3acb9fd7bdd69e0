"""The command `report --interactive`: the explorer as a folder for any web host."""

from argparse import Namespace
from pathlib import Path

from latent_atlas.cli.console import Console

__all__ = ["write_interactive"]


def write_interactive(given: Namespace, console: Console) -> None:
    """Write the folder, and say how to look at it."""
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.explorer.static_export.export import check, write_folder
    from latent_atlas.runs import Run

    run = Run(Path(given.folder))
    run.config()  # a folder that holds no run is said first
    folder = run.file("interactive") if given.out is None else Path(given.out)
    check(folder)
    # Graphs are written where they were traced; the CPU is everywhere.
    written = write_folder(
        Atlas.load(run.path, device="cpu"), folder, name=run.path.resolve().name, say=console.say
    )
    total = sum(written.files.values())
    lines = [
        f"the explorer is in {folder} ({len(written.files)} files, {total / 2**20:.1f} MiB); any web host serves it:",
        f"  python -m http.server --directory {folder}",
        *written.left_out,
    ]
    numbers = {
        "folder": str(folder),
        "bytes": total,
        "files": dict(written.files),
        "left_out": list(written.left_out),
    }
    console.result(numbers, "\n".join(lines))
