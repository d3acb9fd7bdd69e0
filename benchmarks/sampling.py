"""Images decoded from the samples of every sampler, compared with held-out images.

Question: are images decoded from samples of the map nearer to real images than those of the prior, of a Gaussian mixture
or of a neural spline flow fitted to the same codes, and at d = 16 within 5 % of the bound that the decoder sets, decoded
real codes? Precision and recall are both reported, so that sharp samples of a few kinds do not pass for good ones.

Samples are compared with all held-out images: with the images themselves (`frechet`), and with their decoded codes
(`frechet to decoded`, which leaves out the decoder's loss; precision and recall are by these). The bound is decoded
codes of training images, which D_z and the baselines are fitted to, each image once. Every row has the same number of
images, because a Fréchet distance is larger with fewer; features are those of a classifier trained here on the
collection. Codes are sampled from q(z|x), never means. Faces are few and their one label says whether they wear glasses,
so their features are those of a network trained on ImageNet.

    latent-atlas train fashion-mnist --out runs/fashion-16 --steps 1200 --batch-size 64 --set model.width=12
    python benchmarks/sampling.py runs/fashion-16 [RUN ...]             # about 25 minutes a run on one CPU core
    python benchmarks/sampling.py runs/faces-32 --features efficientnet --draws 2000 --name sampling-faces
    python benchmarks/sampling.py runs/fashion-16 --draws 500 --seeds 1 --epochs 1 --samplers diffusion prior
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.data import load_images
from latent_atlas.errors import UserError
from latent_atlas.evaluation import frechet_distance
from latent_atlas.geometry.manifold import Manifold, manifold_of
from latent_atlas.sampling import (
    HMC,
    MALA,
    ULA,
    Diffusion,
    Flow,
    Importance,
    Mixture,
    Prior,
    Rejection,
    Sampler,
    draw,
)
from latent_atlas.shapes import Latents
from record import record
from travel import EXTRACTORS, make_extractor

ROWS: dict[str, Sampler] = {
    "prior": Prior(),
    "mixture of 10": Mixture(components=10),
    "mixture of 50": Mixture(components=50),
    "flow": Flow(training=4_000),
    "importance": Importance(),
    "rejection": Rejection(),
    "ula": ULA(),
    "mala": MALA(),
    "hmc": HMC(warmup=50, thin=1),
    "diffusion": Diffusion(),
    "diffusion, unmatched": Diffusion(),
    "diffusion, levels alone": Diffusion(moves=0),
    "diffusion, levels and churn": Diffusion(moves=0, churn=1.0),
}
BOUND = "real codes"
MANIFOLD = (
    5_000  # images of each side for precision and recall, which need all distances between them
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument(
        "--samplers", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW"
    )
    parser.add_argument("--draws", type=int, default=10_000, help="images of each row")
    parser.add_argument("--seeds", type=int, default=3)
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
        "--name", default="sampling", help="name of the result; an earlier one is replaced"
    )
    given = parser.parse_args()
    results = {}
    for run in given.runs:
        atlas = Atlas.load(run, device="cpu")
        extractor = make_extractor(atlas, given)
        seen = {name: [] for name in (BOUND, *given.samplers)}
        for seed in range(given.seeds):
            for name, numbers in one_seed(atlas, extractor.features, given, seed):
                print(run, f"seed {seed}", name, numbers, flush=True)
                seen[name].append(numbers)
            rows = {name: over_seeds(numbers) for name, numbers in seen.items()}
            compare_with_bound(rows)
            results[f"{atlas.config.data.source}, d = {atlas.map.dimension}"] = {
                "features": extractor.name,
                "rows": rows,
            }
            record(given.name, results, draws=given.draws, seeds=seed + 1, epochs=given.epochs)


def one_seed(
    atlas: Atlas, features_of: Callable[[Tensor], Tensor], given: argparse.Namespace, seed: int
) -> "list[tuple[str, dict[str, Any]]]":
    """Every row's numbers, real codes first; all are compared with the same images."""
    generator = torch.Generator().manual_seed(seed)
    held_out, train = atlas.codes["held_out"], atlas.codes["train"]

    def seen(latents: Latents) -> np.ndarray:
        return features_of((atlas.decode(latents) * 255).round().to(torch.uint8)).numpy()

    images = load_images(atlas.config.data, atlas.image_shape[1], atlas.image_shape[0]).test.images
    decoded = seen(held_out.sample_each(generator=generator))
    reference = {
        "originals": features_of(images).numpy(),
        "decoded": decoded,
        "manifold": manifold_of(decoded[:MANIFOLD]),
    }
    others = torch.randperm(len(train), generator=generator)[torch.arange(given.draws) % len(train)]
    rows: list[tuple[str, dict[str, Any]]] = [
        (BOUND, numbers_of(seen(train[others].sample_each(generator=generator)), **reference))
    ]
    for name in given.samplers:
        sampler, unmatched = ROWS[name], name.startswith("diffusion,")
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the row has the diagnostics
            try:
                # An atlas gives real codes to a sampler that wants them; a map alone has none.
                draws = (
                    draw(atlas.map, given.draws, sampler, generator=generator)
                    if unmatched
                    else atlas.sample_codes(given.draws, sampler, generator=generator)
                )
            except UserError as refusal:
                rows.append((name, {"refused": str(refusal)}))
                continue
        seconds = time.perf_counter() - start
        rows.append(
            (
                name,
                {
                    **numbers_of(seen(draws.points), **reference),
                    "seconds": seconds,
                    **draws.info.known(),
                },
            )
        )
    return rows


def numbers_of(
    features: np.ndarray, originals: np.ndarray, decoded: np.ndarray, manifold: Manifold
) -> dict[str, float]:
    """Fréchet distances, the share of draws among decoded real codes, and of these among draws."""
    return {
        "frechet": frechet_distance(features, originals),
        "frechet to decoded": frechet_distance(features, decoded),
        "precision": float(manifold.contains(features[:MANIFOLD]).mean()),
        "recall": float(manifold_of(features[:MANIFOLD]).contains(decoded[:MANIFOLD]).mean()),
    }


def over_seeds(numbers: "list[dict[str, Any]]") -> dict[str, Any]:
    """Mean of each number over seeds, and the standard deviation of the comparisons; or the sampler's refusal."""
    if "refused" in numbers[0]:
        return numbers[0]
    row: dict[str, Any] = {
        name: float(np.mean([one[name] for one in numbers]))
        for name, first in numbers[0].items()
        if not isinstance(first, str)
    }
    for name in (
        ("frechet", "frechet to decoded", "precision", "recall") if len(numbers) > 1 else ()
    ):
        row[f"{name}, spread"] = float(np.std([one[name] for one in numbers]))
    return row


def compare_with_bound(rows: dict[str, dict[str, Any]]) -> None:
    """Add how far each row's distance is above that of real codes, as a share of it."""
    bound = rows[BOUND]["frechet"]
    for row in rows.values():
        if "frechet" in row:
            row["above the bound"] = row["frechet"] / bound - 1


if __name__ == "__main__":
    main()
