"""Paths between held-out images, evaluated with models that did not plan them, and paths on toy distributions.

Claim: between random pairs of held-out Fashion-MNIST codes, frames of geodesics are off-manifold less often than those
of a straight line or a great circle and are more often among real images (precision); geodesics arrive exactly and are
hardly longer. By the Fréchet distance of all frames together a geodesic is worse: dense regions decode to images with
less contrast (`contrast`: mean difference of neighbouring pixels, as a share of that of reconstructions).

The held-out images are halved. One half gives the pairs, the reconstructions that frames are compared with, and the 5 %
quantile of each evaluation model; paths go from mean to mean, so it is the quantile of means. The evaluation models, a
neural spline flow and a Gaussian mixture, are fitted to codes of the other half: they share no image with D_z's training,
though D_z stopped by both halves and was calibrated on them. Features are those of a classifier trained here. Two rows
are no paths: real codes, the other half decoded; and real codes nearest to the line, where each frame of the straight
line is replaced by its nearest real code. Such frames are all real, so their distance to the reconstructions is the
price of being between two others, and no planner of short paths can be expected to have less.

    latent-atlas train fashion-mnist --out runs/fashion-16 --steps 1200 --batch-size 64 --set model.width=12
    # with --set map.steps=2500 as well; and for d = 64 --set model.latent_dim=64
    python benchmarks/travel.py runs/fashion-16 [RUN ...]                     # an hour a run on 2 CPU cores
    python benchmarks/travel.py runs/fashion-16 --pairs 50 --rows linear geodesic --seconds 20
    latent-atlas train faces --preset 32px --out runs/faces-32 --steps 1000 --batch-size 64 --set model.width=12
    # with --set model.discriminator_width=12, model.latent_dim=32, train.adversarial_start=300, map.steps=1500 and
    # data.held_out=0.3
    python benchmarks/travel.py runs/faces-32 --features efficientnet --pairs 150 --name travel-faces


On faces, the pull-back through the decoder takes up to three seconds a path, and so does the string method at a
temperature: most of the hour. Paths of an atlas are planned with the density threshold of held-out means, as
`Atlas.travel` plans them.

With --exact the density is known, and it both plans and evaluates: the least likely point of each path is compared with
the best possible, in `EXACT_DIMENSIONS` dimensions. With --steps a learned map plans instead.

    python benchmarks/travel.py --exact --pairs 100
    python benchmarks/travel.py --exact --pairs 100 --steps 2000
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import label, maximum_filter
from torch import Tensor

from baselines import Fitted, fit_flow, fit_gaussian_mixture
from latent_atlas import Atlas, LatentMap
from latent_atlas.codes.posterior import Codes
from latent_atlas.config import DataConfig
from latent_atlas.data import load_images
from latent_atlas.density.base import Density, SamplableDensity
from latent_atlas.density.toys import clusters, ring, two_moons
from latent_atlas.evaluation import (
    COMPARED,
    EvaluationModel,
    frame_numbers,
    manifold_of,
    plan_rows,
    travel_table,
)
from latent_atlas.evaluation.features import Classifier, Extractor, efficientnet, train_classifier
from latent_atlas.geometry.planes import Plane, fit_window, plane_through
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import Latents, Values
from latent_atlas.travel import Flow, Geodesic, Pullback, StringMethod, Typical, Walk
from latent_atlas.travel.planners.base import Resources
from latent_atlas.travel.planners.baselines import linear
from latent_atlas.travel.polyline import resample
from record import record

ROWS = {
    **COMPARED,
    "geodesic, strength 3": Geodesic(strength=3.0),
    "typical": Typical(),
    "flow": Flow(),
    "string": StringMethod(),
    "string, temperature 1": StringMethod(temperature=1.0),
    "pullback": Pullback(),
}
EXTRACTORS = ("classifier", "efficientnet")
REAL, ON_THE_WAY = "real codes", "real codes nearest to the line"
EVALUATION_MODELS: dict[str, Callable[..., Fitted]] = {
    "flow": fit_flow,
    "mixture": fit_gaussian_mixture,
}
DRAWS = 100_000  # codes that each evaluation model is fitted to, sampled from the posteriors of its half
EXACT_DIMENSIONS = (2, 8, 32)
SIDE = 400  # cells along each side of the grid on which the best path is found
LEVEL = 0.01  # nats between the levels of the flood
EXACT_ALPHA = (
    0.01  # of the walks, which diverge above twice a variance (0.045 in the narrowest one)
)
BETWEEN = 16  # points evaluated between neighbouring frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument(
        "--exact", action="store_true", help="toy distributions whose density is known"
    )
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="fitting time of each evaluation model"
    )
    parser.add_argument(
        "--features",
        default="classifier",
        choices=EXTRACTORS,
        help="feature extractor (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs", type=int, default=12, help="epochs of the classifier of features"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=0,
        help="steps of D_z with --exact; 0 plans on the exact density",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--name", default="travel", help="name of the result; an earlier one is replaced"
    )
    given = parser.parse_args()
    if not given.runs and not given.exact:
        parser.error("give a run folder, or --exact")
    common = {"pairs": given.pairs, "frames": given.frames, "seed": given.seed}
    if given.runs:
        results = {}
        for run in given.runs:
            atlas = Atlas.load(run, device="cpu")
            results[f"{atlas.config.data.source}, d = {atlas.map.dimension}"] = on_codes(
                atlas, decoder(run), given
            )
            record(given.name, results, seconds=given.seconds, epochs=given.epochs, **common)
    if given.exact:
        worlds = []
        for dimension in EXACT_DIMENSIONS:
            for name, (world, plane) in staged(dimension).items():
                worlds.append({"d": dimension, "world": name, **on_world(world, plane, given)})
                show(f"d = {dimension}, {name}", worlds[-1]["rows"])
        record("travel_exact", {"worlds": worlds}, steps=given.steps, **common)


def on_codes(
    atlas: Atlas, decode: Callable[[Tensor], Tensor], given: argparse.Namespace
) -> dict[str, Any]:
    """The table of one run; `decode` is its differentiable decoder."""
    generator = torch.Generator().manual_seed(given.seed)
    held_out = atlas.codes["held_out"]
    mine, theirs = held_out.split(0.5, generator=generator)
    if 2 * given.pairs > len(mine):
        raise SystemExit(
            f"{len(held_out)} held-out codes give at most {len(mine) // 2} pairs, not {given.pairs}"
        )
    fitted = fit_evaluation_models(theirs, given.seconds, generator)
    models = {name: EvaluationModel.on(density, mine.means) for name, density in fitted.items()}
    extractor = make_extractor(atlas, given)

    def features(images: Tensor) -> np.ndarray:
        return extractor.features((images * 255).round().to(torch.uint8)).numpy()

    rebuilt = atlas.decode(mine.means)
    reconstructions = features(rebuilt)
    start, end = mine.means[: 2 * given.pairs].chunk(2)  # the halves are in random order
    known = Resources(atlas.codes["train"].means, held_out.means, decode)
    rows = {row: ROWS[row].completed(atlas.map, known) for row in given.rows}
    paths = plan_rows(atlas.map, start, end, rows, frames=given.frames, generator=generator)
    manifold = manifold_of(reconstructions)
    inner = linear(start, end, given.frames)[1:-1].flatten(0, 1)
    table = {}
    for row, codes in {
        REAL: theirs.means,
        ON_THE_WAY: nearest(inner, atlas.codes["train"].means),
    }.items():
        table[row] = frame_numbers(features(atlas.decode(codes)), manifold)
    settings = {
        "evaluation_models": models,
        "decode": atlas.decode,
        "features": features,
        "reconstructions": reconstructions,
    }
    table |= travel_table(paths, **settings)
    shown = {REAL: theirs.means} | {
        row: path.points[1:-1].flatten(0, 1) for row, path in paths.items()
    }
    for row, codes in shown.items():
        table[row]["contrast"] = contrast(atlas.decode(codes)) / contrast(rebuilt)
    show(f"d = {atlas.map.dimension}", table)
    about = {
        name: {"log q": both_halves(density, mine, theirs, generator), **density.about}
        for name, density in fitted.items()
    }
    return {
        "features": extractor.name,
        "codes of each half": len(mine),
        "judges": about,
        "rows": table,
    }


def contrast(images: Tensor) -> float:
    """Mean difference of neighbouring pixels: the contrast of images (n, c, h, w)."""
    return sum(images.diff(dim=axis).abs().mean().item() for axis in (2, 3))


def nearest(latents: Latents, codes: Tensor) -> Latents:
    """The code next to each of `latents`, shape (n, d)."""
    return codes[torch.cat([torch.cdist(part, codes).argmin(dim=1) for part in latents.split(500)])]


def decoder(run: Path) -> Callable[[Tensor], Tensor]:
    """The decoder of a run with gradients, which `Atlas.decode` does without."""
    folder = Run(run)
    config = folder.config()
    model = VAEGAN(config.model, config.map)
    model.load_state_dict(read_tensors(folder.file("model.safetensors"))[0])
    return model.eval().requires_grad_(False).decode


def fit_evaluation_models(
    codes: Codes, seconds: float, generator: torch.Generator
) -> dict[str, Fitted]:
    """The evaluation models, fitted to their half alone; a tenth of its images decides when to stop."""
    learn, check = codes.split(0.1, generator=generator)
    train, held_out = (
        learn.sample(DRAWS, generator=generator),
        check.sample(5_000, generator=generator),
    )
    return {
        name: fit(train, held_out, seconds=seconds, generator=generator)
        for name, fit in EVALUATION_MODELS.items()
    }


def make_extractor(atlas: Atlas, given: argparse.Namespace) -> Extractor:
    """A classifier of the collection, or a network trained on ImageNet where labels say little."""
    if given.features == "efficientnet":
        return efficientnet()
    return make_classifier(atlas.config.data, atlas.image_shape, given.epochs)


@cache
def make_classifier(data: DataConfig, image_shape: tuple[int, int, int], epochs: int) -> Classifier:
    """The classifier of features, trained on the training images; one for all runs of a collection."""
    images = load_images(data, image_shape[1], image_shape[0])
    learning, test = images.train, images.test
    if learning.labels is None or test.labels is None:
        raise SystemExit(
            f"'{data.source}' has no labels for a classifier to learn; choose another run"
        )
    generator = torch.Generator().manual_seed(1)
    return train_classifier(
        learning.images,
        learning.labels,
        (test.images, test.labels),
        epochs=epochs,
        generator=generator,
    )


@torch.no_grad()
def both_halves(
    density: Density, mine: Codes, theirs: Codes, generator: torch.Generator
) -> dict[str, float]:
    """Mean log q in nats on the half that a model was fitted to and on the other; a gap is overfitting."""
    halves = {"its own half": theirs, "the pairs' half": mine}
    return {
        name: density.log_prob(half.sample(5_000, generator=generator)).mean().item()
        for name, half in halves.items()
    }


def staged(dimension: int) -> dict[str, tuple[SamplableDensity, Plane]]:
    """Toy distributions, each with a plane towards which its density never falls: the best path lies in
    the plane, except for its ends.

    Along the normals of the plane all Gaussians of a world have the same centre and, each, a single width.
    """
    axes = torch.eye(dimension)[:2]
    three = clusters(dimension, 3, generator=torch.Generator().manual_seed(dimension))
    plane = Plane(torch.zeros(dimension), axes)
    return {
        "moons": (two_moons(dimension), plane),
        "ring": (ring(dimension), plane),
        "clusters": (three, plane_through(*three.means)),
    }


def on_world(world: SamplableDensity, plane: Plane, given: argparse.Namespace) -> dict[str, Any]:
    """Each planner's least likely point against the best possible, by the exact density."""
    generator = torch.Generator().manual_seed(given.seed)
    start, end = world.sample(2 * given.pairs, generator=generator).chunk(2)
    density: Density = world
    if given.steps:
        codes = world.sample(20_000, generator=generator)
        density = LatentMap.fit(codes, steps=given.steps, generator=generator, warn=False)
    best = best_possible(world, plane, start, end)
    threshold = EvaluationModel.on(world, world.sample(20_000, generator=generator)).threshold
    rows = {
        row: ROWS[row] for row in given.rows if row != "pullback"
    }  # these worlds have no decoder
    rows |= {
        row: replace(how, alpha=EXACT_ALPHA) for row, how in rows.items() if isinstance(how, Walk)
    }
    known, numbers = Resources(codes=world.sample(5_000, generator=generator)), {}
    rows = {row: how.completed(density, known) for row, how in rows.items()}
    planned = plan_rows(density, start, end, rows, frames=given.frames, generator=generator)
    for row, path in planned.items():
        # A path that stops short is completed by a straight line to its end.
        arrived = torch.cat([path.points, path.end[None]])
        fine = resample(arrived, BETWEEN * given.frames + 1)
        with torch.no_grad():
            log_probs = world.log_prob(fine.flatten(0, 1)).unflatten(0, fine.shape[:2])
        lost = best - log_probs.min(dim=0).values
        numbers[row] = {
            "nats under the best": lost.mean().item(),
            "nats under the best, 90 % quantile": lost.quantile(0.9).item(),
            "off_manifold": (log_probs < threshold).double().mean().item(),
            "distance_left": path.metrics.distance_left.mean().item(),
            "length_ratio": path.metrics.length_ratio.mean().item(),
            "seconds_per_path": (path.info.seconds or 0) / given.pairs,
        }
    return {"best": best.mean().item(), "rows": numbers}


@torch.no_grad()
def best_possible(world: SamplableDensity, plane: Plane, start: Latents, end: Latents) -> Values:
    """The largest minimum of the log-density, in nats, of any path from `start` to `end`, shape (n,).

    min(log q(z_A), log q(z_B), the highest level above which their projections to the plane are connected).
    """
    a, b = plane.project(start), plane.project(end)
    window = fit_window(torch.cat([a, b]), margin=0.1)
    log_probs = world.log_prob(plane.lift(window.grid(SIDE, SIDE, a.device))).reshape(SIDE, SIDE)
    cell = (window.right - window.left) / (SIDE - 1)
    corner = torch.tensor([window.left, window.bottom])
    cells = [((places - corner) / cell).round().long().flip(1).T.numpy() for places in (a, b)]
    # The best of the neighbouring cells, so that an end off the grid is not charged for the rounding.
    joined = flood(maximum_filter(log_probs.numpy(), size=3), *cells)
    return torch.minimum(
        torch.from_numpy(joined).to(start),
        torch.minimum(world.log_prob(start), world.log_prob(end)),
    )


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    """One line per row."""
    print(title)
    for row, numbers in table.items():
        print(
            f"    {row:22}",
            "  ".join(f"{name} {value:.3g}" for name, value in numbers.items()),
            flush=True,
        )


def flood(field: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The highest level at which cells a and b of a field are in one region of what is above it, shape (n,).

    Arguments:
        field: Heights, shape (rows, columns).
        a, b: Row and column of each cell, shape (2, n).
    """
    joined, level, regions = (
        np.full(a.shape[1], -np.inf),
        field.max(),
        np.empty(field.shape, np.int32),
    )
    while np.isinf(joined).any():
        level -= LEVEL
        label(field >= level, structure=np.ones((3, 3)), output=regions)
        at_a, at_b = regions[tuple(a)], regions[tuple(b)]
        joined[np.isinf(joined) & (at_a == at_b) & (at_a > 0)] = level
    return joined


if __name__ == "__main__":
    main()
