"""Paths that preserve an attribute of their start, evaluated with a classifier that sees only their images.

Claim: `preserve` keeps the value of A in at least 95 % of the frames, while the path covers at least half of the
distance to B in all other directions (`progress`, orthogonal to the gradients of what is kept). The classifier is
fitted to real images; neither the map nor the probe has seen it. On faces each of five known attributes has its own.

The value of A is the classifier's answer on its reconstruction, and only starts where that is A's label are used: where
the classifier errs at the start, it cannot say what was preserved. Pairs of the same value are left out. Two numbers
say how far that classifier can be relied on, both of reconstructions of held-out images:

| number | meaning |
|---|---|
| reconstructions read as labelled | what the decoder shows of the attribute at all: near the commonest value, nothing |
| two classifiers agree | how often a second classifier, of another seed, reads the same: one of two hardly agrees more often with a path |

    latent-atlas train fashion-mnist --out runs/fashion-16
    latent-atlas train faces --out runs/faces                     # in the tables, by `earlier.py`, 32 wide
    python benchmarks/preserve.py runs/fashion-16 [RUN ...]               # some minutes a run on 2 CPU cores
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.attributes.constraint import Constraint
from latent_atlas.data import ImageSet, load_images
from latent_atlas.evaluation.features import Classifier, train_classifier
from latent_atlas.travel import Attribute, LatentPath, plan, preserve
from latent_atlas.travel.constrained import with_constraint_metrics
from record import record

ATTRIBUTES = ("glasses", "smile", "gender", "facial_hair", "skin", "class", "slant")
PLANNER = "geodesic"


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
    parser.add_argument("--attributes", nargs="*", default=[], help="of these only (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    results = {}
    for run in given.runs:
        atlas = Atlas.load(run, device="cpu")
        shape = atlas.image_shape
        images = load_images(atlas.config.data, shape[1], shape[0])
        table = results[f"{atlas.config.data.source}, d = {atlas.map.dimension}"] = {}
        for name, labels in attributes(images).items():
            if given.attributes and name not in given.attributes:
                continue
            table[name] = on_attribute(atlas, images, name, labels, given)
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
        return {name: images.attributes[name] for name in ATTRIBUTES if name in images.attributes}
    if images.labels is None:
        raise SystemExit(f"'{images.source}' has neither labels nor attributes; choose another run")
    return {"class": images.labels}


def on_attribute(
    atlas: Atlas, images: ImageSet, name: str, labels: Tensor, given: argparse.Namespace
) -> dict[str, Any]:
    """Paths between the same codes, with the attribute preserved and without."""
    generator = torch.Generator().manual_seed(given.seed)
    learn, test = ~images.held_out, images.held_out
    epochs = given.epochs if len(images) > 10_000 else 20  # few images are seen more often
    held_out = (images.images[test], labels[test])
    classifier, second = (
        train_classifier(
            images.images[learn], labels[learn], held_out, epochs=epochs, generator=generator
        )
        for _ in range(2)
    )
    began = time.process_time()
    probe = atlas.properties.learn(labels[learn], images.attribute_names.get(name, ()), name)
    learned = time.process_time() - began
    means = atlas.codes["held_out"].means
    predicted = seen(classifier, atlas, means)
    start, end, classes = pairs(means, labels[test], predicted, given.pairs, generator)
    how = {"planner": PLANNER, "frames": given.frames, "generator": generator}
    free = plan(atlas.map, start, end, **how)
    began = time.process_time()
    kept = preserve(atlas.map, start, end, [probe], **how)
    each = (time.process_time() - began) / len(start)
    return {
        "judge": classifier.name,
        "commonest value": labels[test].bincount().max().item() / int(test.sum()),
        "reconstructions read as labelled": share(predicted == labels[test]),
        "two classifiers agree": share(predicted == seen(second, atlas, means)),
        "probe's accuracy": probe.accuracy,
        "seconds to learn the probe": learned,
        "seconds a path": each,
        "paths": len(start),
        "rows": {
            PLANNER: numbers_of(free, [probe], classifier, atlas, classes),
            f"{PLANNER}, kept": numbers_of(kept, [probe], classifier, atlas, classes),
        },
    }


def share(mask: Tensor) -> float:
    """The share that is true."""
    return mask.float().mean().item()


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
        "frames of A's class": share(same),
        "last frames of A's class": share(same[-1]),
        "paths of A's class throughout": share(same.all(dim=0)),
        "paths with half of the way": share(measured["progress"] >= 0.5),
        **{name: measured[name].mean().item() for name in names},
    }


if __name__ == "__main__":
    main()
