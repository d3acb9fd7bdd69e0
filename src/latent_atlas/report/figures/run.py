"""The standard pictures and metrics of a run, from its atlas."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.overview import Section, comparison_of, overview
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.evaluation.paths import COMPARED, travel_numbers
from latent_atlas.evaluation.reconstruction import reconstruction_numbers
from latent_atlas.geometry.summary import Geometry
from latent_atlas.report.examples import example_triple
from latent_atlas.report.figures.map import draw_map
from latent_atlas.report.figures.reliability import draw_reliability
from latent_atlas.report.figures.travel import draw_travel
from latent_atlas.report.plots.geometry import Space, spaces_picture
from latent_atlas.report.plots.image_grid import comparison_sheet, padded, sheet
from latent_atlas.report.plots.style import save
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import ByteImages, Images, Latents, to_float

__all__ = ["draw_extremes", "draw_geometry", "draw_lists", "draw_samples", "fill_gallery"]

PAIRS = 256  # of held-out codes, that the travel metrics are averaged over
SHOWN = ("linear", "walk, arriving", "typical")  # of the planners compared, those that are drawn
EXAMPLES = 256  # held-out images of a collection that are reconstructed
EXTREMES = 16  # images shown at either end of the anomaly scores
NAMED = 5  # images of a list that the metrics name
PARTS = ("samples", "map and paths", "lists of images", "geometry", "metrics of paths")
OVERVIEW = ("rarity.png", "duplicates.png", "compare.png")


def fill_gallery(
    run: Path,
    *,
    device: str = "auto",
    seed: int = 0,
    log: Callable[[str, int, int], object] = lambda part, done, total: None,
) -> dict[str, Any]:
    """Draw every standard picture of a finished run into its folder, and write metrics.json.

    Arguments:
        run: A run folder.
        device: Where to compute.
        seed: Of the samples and of the pairs of codes that paths connect.
        log: Called with the name of each of the `PARTS` but the first before it is made, the
            number made, and that of all; at the end without a name.

    Returns:
        The metrics by section.

    Raises:
        UserError: the run has not finished, or was made of codes alone, without images.
    """

    def begin(part: str) -> None:
        log(part, PARTS.index(part), len(PARTS))

    folder = Run(run)
    atlas = Atlas.load(run, device=device)
    generator = torch.Generator(atlas.device).manual_seed(seed)
    samples = atlas.sample_codes(64, generator=generator)
    # Raises at once if nothing can be shown.
    save(draw_samples(atlas, samples.points), folder.file("samples.png"))
    begin("map and paths")
    a, b, c = example_triple(atlas, generator)
    rows = {row: COMPARED[row] for row in SHOWN}
    paths = {row: atlas.travel(a, b, planner) for row, planner in rows.items()}
    if atlas.map.dimension > 1:  # codes on a line span no plane
        save(draw_map(atlas, (a, b, c), paths), folder.file("map.png"))
    save(draw_travel(atlas, paths), folder.file("travel.png"))
    reliability = draw_reliability(atlas.map, atlas.codes["held_out"], generator=generator)
    save(reliability, folder.file("reliability.png"))
    metrics = {"map": _map_numbers(atlas.map)}
    if atlas.collection is not None:
        begin("lists of images")
        metrics |= _of_embeddings(atlas, folder)
    if atlas.model is not None:
        begin("geometry")
        metrics |= _of_decoder(atlas, folder)
        begin("metrics of paths")
        metrics["travel"] = _travel_numbers(atlas, generator)
    log("", len(PARTS), len(PARTS))
    folder.write_json("metrics.json", metrics)
    return metrics


def _of_decoder(atlas: Atlas, folder: Run) -> dict[str, dict[str, Any]]:
    """Draw reconstructions and the geometry of the decoder; their metrics."""
    examples, codes = _examples(atlas, folder)
    rebuilt = atlas.decode(codes).cpu()
    save(draw_reconstructions(examples[:32], rebuilt[:32]), folder.file("reconstructions.png"))
    space = atlas.geometry()
    save(draw_geometry({"this run": space}), folder.file("geometry.png"))
    return {
        "reconstruction": reconstruction_numbers(examples, rebuilt),
        "geometry": {name: asdict(number) for name, number in space.numbers().items()},
    }


def _of_embeddings(atlas: Atlas, folder: Run) -> dict[str, dict[str, Any]]:
    """Draw the rarest and most typical images and duplicates; sentences and names by section."""
    sections = [*overview(atlas), *comparison_of(folder.path)]
    for section, picture in zip(sections, OVERVIEW, strict=False):
        figure = draw_lists(section)
        if figure is not None:
            save(figure, folder.file(picture))
    return {
        section.title: {
            "found": "; ".join(section.sentences),
            **{one.title: ", ".join(one.names[:NAMED]) for one in section.lists},
        }
        for section in sections
    }


def _examples(atlas: Atlas, folder: Run) -> tuple[Images, Latents]:
    """Some held-out images and their codes."""
    if atlas.collection is not None:
        codes = atlas.codes["held_out"].means[:EXAMPLES]
        return atlas.pictures(codes).cpu(), codes
    examples = to_float(read_tensors(folder.file("examples.safetensors"))[0]["images"])
    return examples, atlas.encode(examples)


def _map_numbers(latent_map: LatentMap) -> dict[str, Any]:
    """Its calibration, its boundary, and whether to trust it; if not, why."""
    fault = latent_map.calibration.fault()
    warnings = [*latent_map.warnings, *([] if fault is None else [fault])]
    about = {
        "boundary": latent_map.boundary.name,
        "calibrated": fault is None,
        "warnings": warnings,
    }
    return latent_map.calibration.numbers() | about


def _travel_numbers(atlas: Atlas, generator: torch.Generator) -> dict[str, dict[str, float]]:
    """The metrics of every planner between held-out codes."""
    means = atlas.codes["held_out"].means
    if len(means) == 1:
        means = torch.cat([means, atlas.codes["train"].means])
    rows = {row: atlas.planner(planner) for row, planner in COMPARED.items()}
    return travel_numbers(
        atlas.map, means, PAIRS, rows=rows, generator=generator, membership=atlas.membership
    )


def draw_reconstructions(originals: Images, rebuilt: Images) -> Figure:
    """Originals over reconstructions."""
    return comparison_sheet({"original": originals.numpy(), "decoded": rebuilt.numpy()})


def draw_extremes(atlas: Atlas, places: Tensor, images: ByteImages, order: np.ndarray) -> Figure:
    """The most and the least anomalous images, from left to right, above what shows their codes.

    Arguments:
        atlas: The atlas that scored them.
        places: What it scored: images, or codes of a collection's run.
        images: The images, shape (n, c, h, w), as large as those that the atlas shows.
        order: Their numbers, the most anomalous first.
    """
    rows = {}
    for name, chosen in (
        ("most anomalous", order[:EXTREMES]),
        ("least anomalous", order[::-1][:EXTREMES]),
    ):
        some = torch.from_numpy(chosen.copy())
        rows[name] = to_float(images[some]).numpy()
        codes = places[some] if places.ndim == 2 else atlas.encode(places[some])
        rows[f"{name}, {atlas.shown_by}"] = atlas.decode(codes).cpu().numpy()
    return comparison_sheet(rows)


def draw_lists(section: Section) -> Figure | None:
    """A row of images for each list; None where none is shown."""
    images = {one.title: one.images for one in section.lists if one.images is not None}
    across = max(map(len, images.values()), default=0)
    rows = {title: padded(to_float(some).numpy(), across) for title, some in images.items()}
    return comparison_sheet(rows) if rows else None


def draw_samples(atlas: Atlas, latents: Latents) -> Figure:
    """A sheet of new images; decoded ones of a collection stand above the nearest real ones."""
    images = atlas.decode(latents).cpu().numpy()
    if atlas.collection is None:
        return sheet(images)
    if atlas.model is None:
        return sheet(images, title="The real images nearest to the samples")
    real = atlas.pictures(latents).cpu().numpy()
    return comparison_sheet({"decoded": images, "nearest real": real})


def draw_geometry(spaces: Mapping[str, Geometry]) -> Figure:
    """How latent distances relate to image distances, for latent spaces by name."""
    panels = []
    for name, space in spaces.items():
        stretch, spectrum = (
            np.array([band.low, band.middle, band.high])
            for band in (space.stretch, space.singular_values)
        )
        at, shares = np.array(space.stretch.at), np.array(space.singular_values.at)
        panels.append(Space(name, at, stretch, np.array(space.pearson_by_radius), shares, spectrum))
    return spaces_picture(panels, next(iter(spaces.values())).features)
