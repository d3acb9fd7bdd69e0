"""The standard pictures and numbers of a run, drawn from its atlas."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from latent_atlas.anomaly.result import AnomalyTable
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.evaluation.paths import COMPARED, travel_numbers
from latent_atlas.evaluation.reconstruction import reconstruction_numbers
from latent_atlas.geometry.planes import Plane, Window, chart, fit_window, plane_through
from latent_atlas.geometry.summary import Geometry
from latent_atlas.report.figures.map import NEAR, draw_reliability
from latent_atlas.report.plots.film_strip import Strip, strips_picture
from latent_atlas.report.plots.geometry import Space, spaces_picture
from latent_atlas.report.plots.heatmap import Field, Kind
from latent_atlas.report.plots.image_grid import comparison_sheet, sheet
from latent_atlas.report.plots.map import map_picture
from latent_atlas.report.plots.style import save
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import Images
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE, frame_log_probs
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.plan import plan
from latent_atlas.travel.planners.walk import Walk

__all__ = [
    "draw_extremes",
    "draw_geometry",
    "draw_map",
    "draw_samples",
    "draw_travel",
    "example_triple",
    "fill_gallery",
]

PANELS: tuple[tuple[str, str, Kind], ...] = (
    ("Confusion", "bits", "confusion"),
    ("Realness", "probability", "realness"),
    ("Log-density", "nats", "log_prob"),
)
LATTICE = 13  # decoded images along each side of the map's lattice
PAIRS = 256
SHOWN = (
    "linear",
    "walk, arriving",
    "geodesic",
)  # of the planners that are compared, those that a run draws
FAR = 100.0  # length over the straight line from which on a journey has come back to where it began
EXTREMES = 16  # images shown at either end of a scoring
FEW = 20  # held-out codes below which pairs are chosen among all codes


def fill_gallery(run: FilePath, *, device: str = "auto", seed: int = 0) -> dict[str, Any]:
    """Draw every standard picture of a finished run into its folder, and write metrics.json.

    Arguments:
        run: A run folder.
        device: Where to compute.
        seed: Of the samples and of the pairs travelled between.

    Returns:
        The metrics by section.

    Raises:
        UserError: the run has not finished, or was made of codes alone.
    """
    folder = Run(run)
    atlas = Atlas.load(run, device=device)
    generator = torch.Generator(atlas.device).manual_seed(seed)
    samples = atlas.sample(
        64, generator=generator
    )  # first of all: a run without a decoder says so here
    save(draw_samples(samples), folder.file("samples.png"))
    examples = read_tensors(folder.file("examples.safetensors"))[0]["images"].float() / 255
    rebuilt = atlas.decode(atlas.encode(examples)).cpu()
    save(draw_reconstructions(examples[:32], rebuilt[:32]), folder.file("reconstructions.png"))
    a, b, c = example_triple(atlas, generator)
    rows = {row: COMPARED[row] for row in SHOWN}
    journeys = {row: atlas.travel(a, b, planner) for row, planner in rows.items()}
    if atlas.map.dimension > 1:  # codes on a line span no plane
        save(draw_map(atlas, (a, b, c), journeys), folder.file("map.png"))
    save(draw_travel(atlas, journeys), folder.file("travel.png"))
    reliability = draw_reliability(atlas.map, atlas.codes["held_out"], generator=generator)
    save(reliability, folder.file("reliability.png"))
    space = atlas.geometry()
    save(draw_geometry({"this run": space}), folder.file("geometry.png"))
    metrics = {
        "reconstruction": reconstruction_numbers(examples, rebuilt),
        "map": atlas.map.calibration.numbers(),
        "travel": travel_numbers(atlas, PAIRS, generator=generator),
        "geometry": {name: asdict(number) for name, number in space.numbers().items()},
    }
    folder.write_json("metrics.json", metrics)
    return metrics


def draw_reconstructions(originals: Images, rebuilt: Images) -> Figure:
    """Originals over reconstructions."""
    return comparison_sheet({"original": originals.numpy(), "decoded": rebuilt.numpy()})


def draw_extremes(atlas: Atlas, images: Tensor, table: AnomalyTable) -> Figure:
    """The most and the least anomalous images, from left to right, above their reconstructions.

    Arguments:
        atlas: The atlas that the table is from.
        images: Images (n, c, h, w) in [0, 1], or bytes.
        table: Their anomaly scores, in the same order.
    """
    order = torch.from_numpy(table.order().copy())
    rows = {}
    for name, some in (
        ("most anomalous", order[:EXTREMES]),
        ("least anomalous", order.flip(0)[:EXTREMES]),
    ):
        chosen = images[some].float() / (255 if images.dtype == torch.uint8 else 1)
        rows[name] = chosen.cpu().numpy()
        rows[f"{name}, decoded"] = atlas.decode(atlas.encode(chosen)).cpu().numpy()
    return comparison_sheet(rows)


def draw_samples(images: Images) -> Figure:
    """A sheet of new images."""
    return sheet(images.cpu().numpy())


def draw_travel(atlas: Atlas, journeys: Mapping[str, LatentPath]) -> Figure:
    """Film strips of one journey by several planners, their log-density below."""
    threshold = atlas.map.threshold(OFF_MANIFOLD_SHARE)
    return strips_picture(
        [_strip(atlas, row, path, threshold) for row, path in journeys.items()], threshold
    )


def draw_geometry(spaces: Mapping[str, Geometry]) -> Figure:
    """What a step in Z does to the image, near and far and direction by direction, of latent spaces by name."""
    panels = []
    for name, space in spaces.items():
        stretch, spectrum = (
            np.array([band.low, band.middle, band.high])
            for band in (space.stretch, space.singular_values)
        )
        at, shares = np.array(space.stretch.at), np.array(space.singular_values.at)
        panels.append(Space(name, at, stretch, np.array(space.pearson_by_radius), shares, spectrum))
    return spaces_picture(panels, next(iter(spaces.values())).features)


def draw_map(
    atlas: Atlas,
    anchors: Sequence[Tensor],
    journeys: Mapping[str, LatentPath],
    *,
    resolution: int = 256,
) -> Figure:
    """The map on the plane through three codes, with real codes and journeys on it.

    Arguments:
        atlas: Map, and model: without one there are no images on the map.
        anchors: A, B and C, shape (d,) each.
        journeys: Paths by name; only their shadow on the plane is drawn.
        resolution: Pixels along each side of the fields.
    """
    plane = plane_through(anchors[0], anchors[1], anchors[2])
    corners = plane.project(torch.stack(list(anchors)))
    window = fit_window(corners)
    fields = chart(atlas.map, plane, window, resolution).fields
    thumbnails = {}
    if atlas.model is not None:
        images = atlas.decode(torch.stack(list(anchors))).cpu().numpy()
        thumbnails = dict(zip("ABC", zip(corners.cpu().numpy(), images, strict=True), strict=True))
    codes, labels = _codes_near(atlas, plane)
    return map_picture(
        [
            Field(name, unit, fields[kind].cpu().numpy(), kind)
            for name, unit, kind in PANELS
            if kind in fields  # a boundary without a density gives no log-density
        ],
        (window.left, window.right, window.bottom, window.top),
        threshold=atlas.map.threshold(OFF_MANIFOLD_SHARE),
        codes=codes,
        code_labels=labels,
        label_names=atlas.label_names,
        anchors=thumbnails,
        paths={
            row: plane.project(path.points[:, 0]).cpu().numpy() for row, path in journeys.items()
        },
        lattice=None if atlas.model is None else _lattice(atlas, plane, window),
        x_label="along A to B",
        y_label="across, towards C",
    )


def example_triple(atlas: Atlas, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Three held-out codes worth looking at, shape (d,) each.

    A and B are, of 64 random typical pairs, the one whose straight line sinks deepest under the population's floor;
    C is the held-out code nearest to the middle of their walk that spans a plane with them.
    """
    means = atlas.codes["held_out"].means
    if len(means) < FEW:
        means = torch.cat([means, atlas.codes["train"].means])
    means = means[atlas.map.log_prob(means).argsort(descending=True)[: max(3, 3 * len(means) // 4)]]
    pick = torch.randint(len(means), (2, 64), generator=generator, device=means.device)
    start, end = means[pick[0]], means[pick[1]]
    middle = (start + end) / 2
    same = (start == end).all(dim=1)
    best = int(atlas.map.log_prob(middle).masked_fill(same, torch.inf).argmin())
    a, b = start[best], end[best]
    walked = plan(atlas.map, a, b, Walk(arrive=True), frames=3).points[1, 0]
    along = (b - a) / (b - a).norm()
    offset = means - a
    across = (offset - (offset @ along)[:, None] * along).norm(dim=1)
    off_the_line = across >= min(0.3 * (b - a).norm().item(), across.max().item())
    return (
        a,
        b,
        means[int((means - walked).norm(dim=1).masked_fill(~off_the_line, torch.inf).argmin())],
    )


def describe(path: LatentPath) -> str:
    """One journey's numbers in words: frames outside, length, distance left, and what its planner adds."""
    numbers = path.numbers()
    if "moved" in numbers:
        return (
            f"moved by {numbers['moved']:.2f}"
            if numbers["moved"] > 0
            else "in the population already"
        )
    judged = len(path.points) - 2 or 2  # the inner frames, or both ends
    words = [f"{round(numbers['off_manifold'] * judged)} of {judged} outside"]
    if numbers["length_ratio"] < FAR:
        words.append(f"{numbers['length_ratio']:.2f} × straight")
    if numbers["distance_left"] > 5e-4:
        words.append(f"{100 * numbers['distance_left']:.0f} % left to go")
    if "reached" in numbers:
        words.append(f"{100 * numbers['reached']:.0f} % of the change")
    if numbers.get("broken", 0) > 0:
        words.append(f"{100 * numbers['broken']:.0f} % of frames do not keep it")
    if "chosen" in numbers:
        words.append(f"by {numbers['chosen']}")
    return ", ".join(words)


def _strip(atlas: Atlas, row: str, path: LatentPath, threshold: float) -> Strip:
    log_probs = frame_log_probs(atlas.map, path.points)[:, 0].cpu().numpy()
    return Strip(row, path.strip().cpu().numpy(), log_probs, log_probs < threshold, describe(path))


def _codes_near(atlas: Atlas, plane: Plane) -> tuple[np.ndarray, np.ndarray | None]:
    """Places on the plane, and class numbers, of the real codes nearest to it."""
    means = torch.cat([atlas.codes["train"].means, atlas.codes["held_out"].means])
    near = plane.nearest(means, NEAR)
    labels = None
    if len(atlas.labels) == 2:
        labels = torch.cat([atlas.labels["train"], atlas.labels["held_out"]])[near].cpu().numpy()
    return plane.project(means[near]).cpu().numpy(), labels


def _lattice(atlas: Atlas, plane: Plane, window: Window) -> np.ndarray:
    """Images decoded at the centres of equal cells of the window, the lowest row first."""
    half_x = (window.right - window.left) / LATTICE / 2
    half_y = (window.top - window.bottom) / LATTICE / 2
    centres = Window(
        window.left + half_x, window.right - half_x, window.bottom + half_y, window.top - half_y
    )
    images = atlas.decode(plane.lift(centres.grid(LATTICE, LATTICE, atlas.device)))
    return images.unflatten(0, (LATTICE, LATTICE)).cpu().numpy()
