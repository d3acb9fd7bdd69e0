"""The decoder of frozen embeddings, beside what shows a code without one.

Question: how near are the images that G makes of the features of EfficientNet-Lite0 to those that the features are of,
and how real do they look? G learns as `latent-atlas embed --decoder` does, at most 1,500 steps, or 1,000 with D_x, on
two sets: Fashion-MNIST, 9,000 images of 28 px, and the icons of benchmarks/icons.py without copies, at 32 px. A tenth of
them end the training; 1,000 and some 180 others are judged.

Baselines: the image of the nearest code; the mean of the ten nearest; ridge regression from the leading principal
coordinates to pixels, whose number and penalty held-out images choose. The error is the mean squared one per pixel. The
Fréchet distance is between the images of a method and the originals, in features of EfficientNet-Lite0 at 112 px.

    python benchmarks/embedding_decoder.py --work FOLDER        # about a quarter of an hour on a core

Rows that are there are not measured again.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from icons import fetch_icons
from latent_atlas import Atlas
from latent_atlas.cli import main as main_command
from latent_atlas.config import DataConfig
from latent_atlas.config.presets import decoder_of_codes
from latent_atlas.config.run import with_settings
from latent_atlas.data import load_images
from latent_atlas.evaluation import frechet_distance
from latent_atlas.evaluation.features.base import as_bytes
from latent_atlas.evaluation.features.pretrained import efficientnet
from latent_atlas.nn.autoencoder import CodeDecoder
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import to_float
from latent_atlas.training.decoder import Pairs, learn_decoder
from left_out_classes import JUDGE, LEARN
from left_out_classes import features as fashion_features
from record import record
from tables import read

JUDGED = 1_000
SIDES = {"fashion-mnist": 28, "icons": 32}
NEIGHBOURS = 10
COORDINATES, PENALTIES = (64, 128, 256, 512), (1.0, 30.0, 300.0)  # of ridge regression
DECODERS = {
    "decoder": ["train.steps=1500"],
    "decoder with D_x": ["train.steps=1000", "train.adversarial=relativistic"],
    "decoder, 64 coordinates": ["train.steps=1500", "model.latent_dim=64"],
}


class Parts(NamedTuple):
    """Images with their codes: to learn from, to end the training by, and to judge."""

    train: Pairs
    held_out: Pairs
    judged: Pairs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="where features are kept")
    parser.add_argument("--sets", nargs="+", choices=SIDES, default=[*SIDES])
    given = parser.parse_args()
    there = (Path(__file__).parent / "results" / "embedding_decoder.json").is_file()
    rows: dict[str, Any] = read("embedding_decoder")["results"] if there else {}
    for name in given.sets:
        parts = (icons if name == "icons" else fashion)(given.work)
        features = efficientnet(112)
        real = features.features(parts.judged.images[:]).numpy()
        for method, show in methods(parts, SIDES[name]).items():
            if method in rows.setdefault(name, {}):
                continue
            start = time.process_time()
            images = show(parts.judged.codes)
            rows[name][method] = {
                "core seconds": time.process_time() - start,
                "mse": (images - to_float(parts.judged.images[:])).square().mean().item(),
                "frechet": frechet_distance(features.features(as_bytes(images)).numpy(), real),
            }
            record("embedding_decoder", rows)


def fashion(work: Path) -> Parts:
    """The images of left_out_classes.py, all ten classes."""
    found = fashion_features(work)
    images = load_images(DataConfig(source="fashion-mnist"), 28, 1)
    assert images.labels is not None
    pairs = []
    for name, held_out, count in (("learn", False, LEARN), ("judge", True, JUDGE)):
        of_part = images.held_out == held_out
        rows = [(of_part & (images.labels == kind)).nonzero()[:count, 0] for kind in range(10)]
        pairs.append(Pairs(images.images[torch.cat(rows)], found[name]))
    learn, judged = pairs
    judged = split(judged, JUDGED)[1]
    train, held_out = split(learn, len(learn.codes) // 10)
    return Parts(train, held_out, judged)


def icons(work: Path) -> Parts:
    """The icons of a run of `embed`, whose held-out ones are judged."""
    place = work / "icons"
    if not place.exists():
        with suppress(SystemExit):
            main_command(["embed", str(fetch_icons()), "--out", str(place)])
    atlas = Atlas.load(place, device="cpu")
    assert atlas.collection is not None
    learn, judged = (
        Pairs(atlas.collection.pixels(atlas.collection.rows[part], SIDES["icons"])[:], codes.means)
        for part, codes in atlas.codes.items()
    )
    train, held_out = split(learn, len(learn.codes) // 10)
    return Parts(train, held_out, judged)


def split(pairs: Pairs, count: int) -> tuple[Pairs, Pairs]:
    """The others, and so many at random."""
    order = torch.randperm(len(pairs.codes), generator=torch.Generator().manual_seed(0))
    some, others = order[:count], order[count:]
    return tuple(Pairs(pairs.images[rows], pairs.codes[rows]) for rows in (others, some))  # pyright: ignore[reportReturnType]


def methods(parts: Parts, side: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """What shows codes (n, d) as images (n, c, h, w), by name: each is fitted when it is called."""
    train = parts.train

    def nearest(codes: Tensor, k: int) -> Tensor:
        rows = torch.cdist(codes, train.codes).topk(k, largest=False).indices
        return torch.stack([train.images[row].float().mean(dim=0) / 255 for row in rows])

    def learned(settings: list[str]) -> Callable[[Tensor], Tensor]:
        return lambda codes: decoded(parts, side, settings, codes)

    return {
        "nearest image": lambda codes: nearest(codes, 1),
        "mean of ten nearest": lambda codes: nearest(codes, NEIGHBOURS),
        "ridge regression": lambda codes: regression(parts, codes),
        **{name: learned(settings) for name, settings in DECODERS.items()},
    }


def regression(parts: Parts, codes: Tensor) -> Tensor:
    """The images by the ridge regression with the least held-out error."""
    x, held_out = (pairs.images[:].float() / 255 for pairs in (parts.train, parts.held_out))
    mean = parts.train.codes.mean(dim=0)
    axes = torch.linalg.svd(parts.train.codes - mean, full_matrices=False).Vh
    best, found = float("inf"), torch.empty(0)
    for k in COORDINATES:
        u, v, w = (
            (c - mean) @ axes[:k].T for c in (parts.train.codes, parts.held_out.codes, codes)
        )
        scale = u.std(dim=0)
        u, v, w = (F.pad(some / scale, (0, 1), value=1.0) for some in (u, v, w))
        for penalty in PENALTIES:
            ridge = penalty * torch.eye(k + 1)
            weights = torch.linalg.solve(u.T @ u + ridge, u.T @ x.flatten(1))
            error = ((v @ weights).clamp(0, 1) - held_out.flatten(1)).square().mean().item()
            if error < best:
                best, found = error, (w @ weights).clamp(0, 1).unflatten(1, x.shape[1:])
    return found


def decoded(parts: Parts, side: int, settings: list[str], codes: Tensor) -> Tensor:
    """The images by G, which learns here."""
    config = decoder_of_codes(side, parts.train.images.shape[1], codes.shape[1])
    config = with_settings(config, [*settings, "train.device=cpu"])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        step = learn_decoder(parts.train, parts.held_out, config, run, log=lambda record: None)
        print("step", step, flush=True)
        network = CodeDecoder(config.model, codes.shape[1])
        network.load_state_dict(read_tensors(run.file("model.safetensors"))[0])
    with torch.no_grad():
        return torch.cat([network(some) for some in codes.split(256)])


if __name__ == "__main__":
    main()
