"""Paths that preserve the class of their start, evaluated with a classifier that sees only their images.

Claim: on held-out Fashion-MNIST codes, `preserve=class` keeps the class of A in at least 95 % of the frames, while the
path covers at least half of the distance to B in all other directions (`progress`). On faces, whose attributes are
known exactly, each attribute has a classifier of its own, and the share of frames with another value than A's is
measured with and without the attribute preserved.

The class of A is the classifier's answer on its reconstruction, and only starts where that is A's label are used: where
the classifier errs at the start, it cannot say what was preserved. Pairs of the same class are left out. The planner
preserves the class by a probe on codes, which is fitted to other images.

    latent-atlas train fashion-mnist --out runs/fashion-16
    latent-atlas train faces --out runs/faces
    python benchmarks/preserve.py runs/fashion-16 [RUN ...]               # some minutes a run on 2 CPU cores
"""

import argparse
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.attributes.constraint import Constraint
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.data import ImageSet, load_images
from latent_atlas.evaluation.features import Classifier, train_classifier
from latent_atlas.travel import Attribute, LatentPath, plan, preserve
from latent_atlas.travel.constrained import with_constraint_metrics
from record import record

FACE_ATTRIBUTES = ("glasses", "smile", "gender", "facial_hair", "skin")
PLANNERS = ("linear", "geodesic")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=FilePath)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument(
        "--epochs",
        type=int,
        default=3,
        help="epochs of the classifiers of a collection without attributes",
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    results = {}
    for run in given.runs:
        atlas = Atlas.load(run, device="cpu")
        shape = atlas.image_shape
        images = load_images(atlas.config.data, shape[1], shape[0])
        table = results[f"{atlas.config.data.source}, d = {atlas.map.dimension}"] = {}
        for name, labels in attributes(images).items():
            table[name] = on_attribute(atlas, images, labels, given)
            print(run.name, name, table[name], flush=True)
    record(
        "preserve",
        results,
        pairs=given.pairs,
        frames=given.frames,
        epochs=given.epochs,
        seed=given.seed,
    )


def attributes(images: ImageSet) -> dict[str, Tensor]:
    """Class numbers of every image by the name of the attribute: some of the known ones, or the labels."""
    if images.attributes:
        return {name: images.attributes[name] for name in FACE_ATTRIBUTES}
    if images.labels is None:
        raise SystemExit(f"'{images.source}' has neither labels nor attributes; choose another run")
    return {"class": images.labels}


def on_attribute(
    atlas: Atlas, images: ImageSet, labels: Tensor, given: argparse.Namespace
) -> dict[str, Any]:
    """Paths between the same codes, with the attribute preserved and without."""
    generator = torch.Generator().manual_seed(given.seed)
    learn, test = ~images.held_out, images.held_out
    epochs = given.epochs if len(images) > 10_000 else 30  # few images are seen more often
    held_out = (images.images[test], labels[test])
    classifier = train_classifier(
        images.images[learn], labels[learn], held_out, epochs=epochs, generator=generator
    )
    probe = ClassProbe.fit(atlas.codes["train"].means, labels[learn], generator=generator)
    means = atlas.codes["held_out"].means
    start, end, classes = pairs(
        means, labels[test], seen(classifier, atlas, means), given.pairs, generator
    )
    keep = [probe.keeping(classes)]
    rows: dict[str, dict[str, float]] = {}
    for planner in PLANNERS:
        how = {"planner": planner, "frames": given.frames, "generator": generator}
        rows[planner] = numbers_of(
            plan(atlas.map, start, end, **how), keep, classifier, atlas, classes
        )
        rows[f"{planner}, kept"] = numbers_of(
            preserve(atlas.map, start, end, keep, **how), keep, classifier, atlas, classes
        )
    about = {"judge": classifier.name, "probe's accuracy": probe.accuracy, "journeys": len(start)}
    return {**about, "rows": rows}


def pairs(
    means: Tensor, labels: Tensor, predicted: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Starts that are classified correctly, ends of another class, and the classes of the starts."""
    order = torch.randperm(len(means), generator=generator)
    starts = order[(predicted == labels)[order]]
    ends = order.roll(len(order) // 2)[: len(starts)]
    apart = labels[starts] != labels[ends]
    starts, ends = starts[apart][:count], ends[apart][:count]
    return means[starts], means[ends], labels[starts]


def seen(classifier: Classifier, atlas: Atlas, latents: Tensor) -> Tensor:
    """The predicted class of each decoded code, shape (n,)."""
    return classifier.classify((atlas.decode(latents) * 255).round().to(torch.uint8))


def numbers_of(
    path: LatentPath,
    keep: Sequence[Attribute],
    classifier: Classifier,
    atlas: Atlas,
    classes: Tensor,
) -> dict[str, float]:
    """Shares and means over paths; frames are those after the first."""
    frames = path.points[1:]
    same = seen(classifier, atlas, frames.flatten(0, 1)).unflatten(0, frames.shape[:2]) == classes
    constraint = Constraint.around(path.points[0], keep, 0.1)
    measured = with_constraint_metrics(path.metrics, path.points, path.end, constraint).as_dict()
    names = ("progress", "broken", "off_manifold", "length_ratio", "distance_left")
    return {
        "frames of A's class": same.float().mean().item(),
        "last frames of A's class": same[-1].float().mean().item(),
        "journeys of A's class throughout": same.all(dim=0).float().mean().item(),
        **{name: measured[name].mean().item() for name in names},
    }


if __name__ == "__main__":
    main()
