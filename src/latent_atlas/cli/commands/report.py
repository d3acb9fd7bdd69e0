"""The command `report`: the page of a run, or with `--interactive` the explorer as a folder."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.arguments import add_device, add_run
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from latent_atlas.runs import Run

__all__ = ["add_arguments", "report", "write_page"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `report`."""
    add_run(parser)
    parser.add_argument(
        "--interactive",
        action="store_true",
        help="write the explorer instead, as a folder that any web host can serve",
    )
    parser.add_argument(
        "--light",
        action="store_true",
        help="with --interactive: a folder for slow connections, with weights in half precision, "
        "at most 2,000 codes of each part, and no anomaly scores of photos",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="with --interactive: folder to write (default: RUN/interactive)",
    )
    add_device(parser)


def report(given: Namespace, console: Console) -> None:
    """Draw all figures again and write the page; or write the explorer as a folder."""
    if given.interactive:
        _write_explorer(given, console)
        return
    if given.out is not None or given.light:
        flag = "--light" if given.out is None else f"--out {given.out}"
        raise UserError(
            f"{flag} is for the folder of an interactive report; add --interactive, or leave it out"
        )
    write_page(Path(given.folder), given.device or "auto", console)


def write_page(run: Path, device: str, console: Console) -> None:
    """Draw the figures of a run, write its page, and print its main numbers."""
    from latent_atlas.report.figures.run import fill_gallery
    from latent_atlas.report.run_page import write_report
    from latent_atlas.runs import Run

    with console.progress() as advance:
        metrics = fill_gallery(
            run,
            device=device,
            log=lambda part, done, total: advance("pictures", done, total, part),
        )
    page = write_report(run)
    lines = [*_main_numbers(metrics), *_copies(Run(run)), f"open {page}"]
    console.result({"run": str(run), "report": str(page), **metrics}, "\n".join(lines))
    damage: list[str] = []
    Run(run).records(damage=damage)
    for sentence in (*damage, *metrics["map"]["warnings"]):
        console.say(f"warning: {sentence}")


def _main_numbers(metrics: Mapping[str, Any]) -> list[str]:
    """The lines that a terminal shows of a run's metrics."""
    density = metrics["map"]
    return [
        f"map             normalising constant E_r[exp l] = "
        f"{density['normalising_constant']:.2f} (ideally 1), "
        f"KL(q || {density['boundary']}) about {density['kl']:z.1f} nats: "
        + ("calibrated" if density["calibrated"] else "not calibrated, as the warning says"),
        *_of_images(metrics),
    ]


def _of_images(metrics: Mapping[str, Any]) -> list[str]:
    """What a decoder makes of images, or what embeddings tell of them."""
    if "reconstruction" not in metrics:
        return [f"{name}: {part['found']}" for name, part in metrics.items() if "found" in part]
    images = metrics["reconstruction"]
    space = {name: number["value"] for name, number in metrics["geometry"].items()}
    return [
        f"reconstruction  mean squared error {images['mse']:.4f} ({images['psnr']:.1f} dB) "
        f"on {images['images']:.0f} held-out images",
        f"geometry        {100 * space['prior_inside']:.0f} % of prior samples on the manifold, "
        f"correlation of distances in Z and in images {space['pearson']:.2f}, "
        f"condition number of the decoder {space['condition']:.1f}",
        "paths           off-manifold  unlike real codes  length ratio  distance left",
        *(
            f"  {row:14}{100 * n['off_manifold']:11.1f} %{_share(n.get('non_members')):>19}"
            f"{n['length_ratio']:14.2f}{100 * n['distance_left']:13.1f} %"
            for row, n in metrics["travel"].items()
        ),
        "  of real codes   5.0 %              5.0 %  by construction",
    ]


def _copies(run: "Run") -> list[str]:
    """What D_z learned from beside the images, if it did."""
    manifest = run.read_json("manifest.json") or {}
    if "copies" not in manifest:
        return []
    return [
        f"copies          {manifest['n_train']:,} images are few, so D_z also learned from copies "
        f"of them, {manifest['copies']}; held-out codes chose these",
    ]


def _share(value: float | None) -> str:
    """In per cent, if it is known."""
    return "–" if value is None else f"{100 * value:.1f} %"


def _write_explorer(given: Namespace, console: Console) -> None:
    """Write the explorer as a folder that any web host can serve."""
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.explorer.static_export.export import check, write_folder
    from latent_atlas.runs import Run

    run = Run(Path(given.folder))
    run.config()  # fails early if the folder holds no run
    folder = run.file("interactive") if given.out is None else Path(given.out)
    check(folder)
    # The exported graphs belong to the device that traced them, and every machine has a CPU.
    atlas = Atlas.load(run.path, device="cpu")
    written = write_folder(
        atlas,
        folder,
        name=run.path.resolve().name,
        run=run.path,
        light=given.light,
    )
    total = sum(written.files.values())
    lines = [
        f"the explorer is in {folder} ({len(written.files)} files, {total / 2**20:.1f} MiB)",
        f"any web host can serve it; here: python -m http.server --directory {folder}",
        *written.left_out,
    ]
    numbers = {
        "folder": str(folder),
        "bytes": total,
        "files": dict(written.files),
        "left_out": list(written.left_out),
    }
    console.result(numbers, "\n".join(lines))
