"""How well `compare` finds drift in real embeddings, beside a classifier two-sample test.

Claim: without drift the kernel test of `Atlas.compare` calls 5 % of all sets different (of 200, 3.1 % more or fewer are
no surprise, of 2,000 1 %), and coverage is what is
expected; where a share of OTHER is replaced by images of one kind it finds that more often than the classifier does.

The codes of a run of `latent-atlas embed` are divided at random: one part is the real images, and OTHER is drawn from
the rest, of which a share is then drawn from one kind alone. The baseline is a logistic regression (scikit-learn) that is
fitted to half of both sets, and whose accuracy on the other half is tested by a permutation of their labels (C2ST,
Revisiting Classifier Two-Sample Tests, Lopez-Paz and Oquab 2017).

    python benchmarks/icons.py && latent-atlas embed runs/data/icons --out runs/icons-embedded
    python benchmarks/comparison.py runs/icons-embedded --kind Flags         # minutes on 2 CPU cores
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.geometry.comparison import compare, kernel_test
from latent_atlas.shapes import Latents
from record import record

SHARES = (0.0, 0.05, 0.1, 0.2)  # of OTHER that are of the kind alone
RARE = 0.05
SMALL = (250, 80, 2_000)  # real codes and others, and how often they are compared: the quick test
RESULT = Path(__file__).parent / "results" / "comparison.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--kind", default="Flags")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--other", type=int, default=200, help="images in each set")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    settings = {name: getattr(given, name) for name in ("kind", "repeats", "other", "seed")}
    before = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    results = before["results"] if before.get("settings") == settings else {}
    atlas = Atlas.load(given.run, device="cpu")
    codes = torch.cat([atlas.codes[part].means for part in ("train", "held_out")])
    labels = torch.cat([atlas.labels[part] for part in ("train", "held_out")])
    of_kind = labels == atlas.label_names.index(given.kind)
    for share in SHARES:
        row = f"{100 * share:g} % of one kind"
        if row not in results:
            results[row] = measured(codes, of_kind, share, given)
            record("comparison", results, **settings)
    real, other, times = SMALL
    row = f"0 %: {other} codes with {real}, {times:,} times"
    if row not in results:
        results[row] = {"found by the kernel test": false_alarms(codes, given.seed)}
        record("comparison", results, **settings)


def false_alarms(codes: Latents, seed: int) -> float:
    """How often the kernel test calls two random sets of the same codes different."""
    generator = torch.Generator().manual_seed(seed)
    real, other, times = SMALL
    found = 0
    for _ in range(times):
        order = torch.randperm(len(codes), generator=generator)
        a, b = codes[order[:real]], codes[order[real : real + other]]
        found += kernel_test(a, b, permutations=199, generator=generator)[1] <= RARE
    return found / times


def measured(
    codes: Latents, of_kind: Tensor, share: float, given: argparse.Namespace
) -> dict[str, float]:
    """How often both tests find the kind, and what coverage is, over random divisions."""
    generator = torch.Generator().manual_seed(given.seed)
    found: dict[str, list[float]] = {}
    for _ in range(given.repeats):
        real, other = divided(codes, of_kind, share, given.other, generator)
        began = time.perf_counter()
        result = compare(real, other, generator=generator)
        seconds = time.perf_counter() - began
        by_classifier = classifier_test(real, other, generator)
        row = {
            "found by the kernel test": float(result.p_value <= RARE),
            "found by the classifier": float(by_classifier <= RARE),
            "coverage": result.overlap.coverage,
            "expected coverage": result.expected_coverage,
            "density": result.overlap.density,
            "unlike": len(result.unlike) / given.other,
            "seconds": seconds,
        }
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def divided(
    codes: Latents, of_kind: Tensor, share: float, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Half of the codes, and `count` of the rest, a share of them of the kind alone."""
    order = torch.randperm(len(codes), generator=generator)
    real, rest = order.tensor_split(2)
    kind = rest[of_kind[rest]].flip(0)[: round(share * count)]  # from the end: not in `others`
    others = rest[: count - len(kind)]
    return codes[real], codes[torch.cat([kind, others])]


def classifier_test(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], generator: torch.Generator
) -> float:
    """The p-value of a logistic regression's balanced accuracy on halves that it has not seen."""
    x = StandardScaler().fit_transform(torch.cat([a, b]).numpy())
    y = np.repeat([0, 1], [len(a), len(b)])
    order = torch.randperm(len(x), generator=generator).numpy()
    fit, asked = np.array_split(order, 2)
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=200).fit(x[fit], y[fit])
    said, true = model.predict(x[asked]), y[asked]
    random = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))

    def accuracy(labels: np.ndarray) -> float:
        return float(np.mean([(said[labels == one] == one).mean() for one in (0, 1)]))

    observed = accuracy(true)
    chance: list[Any] = [accuracy(random.permutation(true)) >= observed for _ in range(199)]
    return (1 + sum(chance)) / 200


if __name__ == "__main__":
    main()
