"""The explorer's page with all its files in one folder, for any host of static files."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.export import require_onnx, save
from latent_atlas.atlas.functions import Network, networks
from latent_atlas.atlas.overview import comparison_of, overview
from latent_atlas.errors import UserError
from latent_atlas.explorer.facts import arrays_and_facts
from latent_atlas.explorer.static_export.arrays import save_codes, save_scorer, scorer_of
from latent_atlas.explorer.static_export.facts import facts
from latent_atlas.progress import doing, steps
from latent_atlas.runs import json_safe, write_tensors

__all__ = ["Written", "add_page", "check", "write_folder"]

PAGE = Path(__file__).parents[1] / "server" / "static"  # where the page is built
FACTS = "atlas.json"
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Written:
    """A folder that was written.

    Attributes:
        path: The folder.
        files: Size of each file in bytes, by its path in the folder.
        left_out: Sentences on what the page cannot do there.
    """

    path: Path
    files: Mapping[str, int]
    left_out: tuple[str, ...]


def check(folder: Path, page: Path = PAGE) -> None:
    """Check that a folder can be written, before anything is computed.

    Raises:
        UserError: the page is not built, a package is missing, or the folder holds other things.
    """
    require_onnx("an interactive report")
    if not (page / "index.html").is_file():
        raise UserError(
            "the explorer's page is not built in this checkout; `make page` builds it with Node 20"
        )
    if (
        folder.exists()
        and not (folder / FACTS).is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise UserError(f"{folder} holds something else; choose another --out")


def write_folder(
    atlas: Atlas,
    folder: Path,
    *,
    name: str,
    run: Path | None = None,
    light: bool = False,
    page: Path = PAGE,
) -> Written:
    """Write an atlas as a folder that works from any host of static files.

    The page computes the map, paths and images in the browser, by the networks in the folder. The
    folder appears only once it is complete: it is written beside its place and then renamed.

    Arguments:
        atlas: What to explore; on the CPU.
        folder: Where; a folder that was written before is replaced.
        name: What the page calls the atlas.
        run: The run folder, which may hold a comparison with another set.
        light: Whether to store weights in half precision, at most 2,000 codes of each part, and
            no anomaly scorer.
        page: The built page.

    Raises:
        UserError: the page is not built, a package is missing, the folder holds other things, or a
            network of this atlas cannot be written as ONNX.
    """
    check(folder, page)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        add_page(partial, page)
        functions = networks(atlas)
        written = tuple(graph for title, one in functions.items() for graph in (title, *one.parts))
        for title, network in steps("networks", [*functions.items()]):
            save(title, network, partial, "explore it with `latent-atlas serve`", light=light)
        doing("collecting codes and scores")
        for part in atlas.codes:
            save_codes(atlas, part, partial / f"{part}.safetensors", light=light)
        unscored = _save_scorer(atlas, partial, light=light) if "encode" in functions else None
        arrays, about = arrays_and_facts(atlas, [*overview(atlas), *comparison_of(run)])
        write_tensors(partial / "overview.safetensors", arrays, {"json": json.dumps(about)})
        told = facts(atlas, name, written, unscored=unscored, light=light)
        (partial / FACTS).write_text(json.dumps(json_safe(told), allow_nan=False))
        for arrays in partial.glob("*.safetensors"):
            # Arrays are written for their owner alone, and a host may run as somebody else.
            shutil.copymode(partial / "index.html", arrays)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    files = {
        str(file.relative_to(folder)): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    return Written(folder, files, _missing(atlas, functions, unscored))


def add_page(folder: Path, page: Path = PAGE) -> None:
    """Put the built page into a folder, told that its atlas lies there and no server answers."""
    shutil.copytree(page, folder, dirs_exist_ok=True)
    index = folder / "index.html"
    index.write_text(_without_server(index.read_text()))


def _save_scorer(atlas: Atlas, folder: Path, *, light: bool) -> str | None:
    """Write the anomaly scorer; or return why there is none."""
    scorer = "a light folder leaves them out" if light else scorer_of(atlas)
    if isinstance(scorer, str):
        return scorer
    save_scorer(scorer, folder / "scorer.safetensors")
    return None


def _without_server(index: str) -> str:
    """The page, told where its atlas is and that it may load nothing from elsewhere."""
    told = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}" />'
    told += f'\n    <meta name="atlas-folder" content="{FACTS}" />'
    return index.replace("<head>", f"<head>\n    {told}", 1)


def _missing(
    atlas: Atlas, functions: Mapping[str, Network], unscored: str | None
) -> tuple[str, ...]:
    """What the page can do only with a server."""
    found = [
        "the page there has five planners and three kinds of files, spaces frames evenly in Z, and "
        "keeps no property along a path; `serve` has them all"
    ]
    if atlas.model is not None and atlas.collection is None and "encode" not in functions:
        found.append(
            "this atlas encodes by a search and not by a network, so the page takes no photos"
        )
    if atlas.collection is not None:
        found.append(
            "the page there takes no photos, since the model that embeds them is not in it"
        )
    if unscored:
        found.append(f"the page there gives photos no anomaly scores: {unscored}")
    return tuple(found)
