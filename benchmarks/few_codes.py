"""What keeps D_z from overfitting few codes: copies of images, changed before encoding, and weight decay.

Claim: copies with a weight decay of 1 give held-out codes of four collections .25 to 3 nats more.

D_z learns from the codes of 1,200 to 1,500 images. Half of the held-out codes stop its training and choose among
settings; the other half, of images that nothing has seen and that are not changed, is asked. With copies, half of what
D_z learns from are codes of copies that are mirrored or not, moved, scaled and brightened; the change is chosen as by
`train`, or given. Exact worlds have no images. A fit ends after four checks without a lower held-out loss, not ten.

    python benchmarks/travel_runs.py --only fashion-16 faces icons         # trains the runs; digits as below
    latent-atlas train digits --seed 0 --set data.held_out=0.3 --out runs/travel/digits-0             # and 1 and 2
    python benchmarks/few_codes.py runs/travel/{icons,faces,digits,fashion-16}-{0,1,2}    # 20 s a row on one core
    python benchmarks/few_codes.py --worlds "moons, d = 2" --arms "as it is" "decay 1"
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from icons import fetch_icons
from latent_atlas import Atlas, LatentMap
from latent_atlas.codes.augmented import Change, with_copies
from latent_atlas.codes.posterior import Codes
from latent_atlas.config import MapConfig
from latent_atlas.data.load import load_images
from latent_atlas.density.membership import Membership, points_between
from latent_atlas.density.toys import catalogue
from record import record

Row = dict[str, Any]
Parts = tuple[Codes, Codes, Codes]

RESULT = Path(__file__).parent / "results" / "few_codes.json"
ARMS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "decay 0.1": {"decay": 0.1},
    "decay 0.3": {"decay": 0.3},
    "decay 1": {"decay": 1.0},
    "copies": {"copies": "chosen"},
    "copies, decay 1": {"copies": "chosen", "decay": 1.0},
    "mirror": {"copies": Change(mirror=True, moved=0)},
    "moved 1/32": {"copies": Change(mirror=False, moved=1 / 32)},
    "moved 1/16": {"copies": Change(mirror=False, moved=1 / 16)},
    "moved 1/8": {"copies": Change(mirror=False, moved=1 / 8)},
    "mirror, moved 1/8": {"copies": Change(mirror=True, moved=1 / 8)},
    "mirror, moved 1/32": {"copies": Change(mirror=True, moved=1 / 32)},
    "mirror, moved 1/16": {"copies": Change(mirror=True, moved=1 / 16)},
}
MAIN = ("as it is", "decay 1", "copies", "copies, decay 1")
MOST = 1_500  # codes that D_z learns from
PATIENCE = 4  # checks
DRAWS = 4  # samples of each posterior that is asked
WORLDS = {
    "moons, d = 2": ("moons", 2),
    "clusters, d = 2": ("clusters", 2),
    "shell, d = 8": ("shell", 8),
}
WORLD_CODES = 3_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, help="named collection-seed")
    parser.add_argument("--worlds", nargs="*", default=[], choices=list(WORLDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the worlds")
    parser.add_argument("--arms", nargs="+", default=MAIN, choices=list(ARMS))
    parser.add_argument("--codes", type=int, default=MOST, help="that D_z learns from, at most")
    given = parser.parse_args()
    rows = json.loads(RESULT.read_text())["results"]["rows"] if RESULT.exists() else []
    known = {(row["of"], row["seed"], row["arm"], row["most"]) for row in rows}
    places: list[tuple[Path | None, str, int]] = [
        (None, of, s) for s in given.seeds for of in given.worlds
    ]
    places += [
        (run, run.name.rpartition("-")[0], int(run.name.rpartition("-")[2])) for run in given.runs
    ]
    for run, of, seed in places:
        for arm in given.arms:
            about = {"of": of, "seed": seed, "arm": arm, "most": given.codes}
            if tuple(about.values()) in known:
                continue
            parts = parts_of_world(of, seed) if run is None else parts_of_run(run, given.codes)
            rows.append(about | measured(run, parts, seed, **ARMS[arm]))
            print(rows[-1], flush=True)
            record("few_codes", {"rows": rows}, patience=PATIENCE)


def measured(
    run: Path | None,
    parts: Parts,
    seed: int,
    *,
    copies: Change | str | None = None,
    decay: float = 0.01,
) -> Row:
    """One fit of D_z: log q of codes not seen, in nats, and what else tells of it."""
    train, stop, test = parts
    change, learned_from = None, train
    start = time.perf_counter()
    if copies is not None and run is not None:
        learned_from, change = copied(run, train, stop, copies)
    copying = time.perf_counter() - start
    log: list[dict[str, float]] = []
    start = time.perf_counter()
    learned = LatentMap.fit(
        learned_from.means,
        learned_from.log_variances,
        held_out=stop,
        config=MapConfig(weight_decay=decay, patience=PATIENCE, steps=1_500),
        generator=torch.Generator().manual_seed(seed),
        log=log.append,
        warn=False,
    )
    seconds = time.perf_counter() - start
    best = min(log, key=lambda entry: entry["held_out_loss"])
    found = {
        "codes": len(train),
        "asked": len(test),
        "change": None if change is None else str(change),
        "loss": best["loss"],
        "held_out_loss": best["held_out_loss"],
        "step": best["step"],
        "seconds": seconds,
        "seconds of copies": copying,
        "log_q": log_q(learned, test),
        "log_q_seen": log_q(learned, train),
        "fault": learned.calibration.fault(),
    }
    return found | aurocs(learned, stop.means, test.means)


def log_q(learned: LatentMap, codes: Codes) -> float:
    """Mean log q of samples of the posteriors, in nats; the same samples in each arm."""
    generator = torch.Generator().manual_seed(1)
    draws = [learned.log_prob(codes.sample_each(generator=generator)).mean() for _ in range(DRAWS)]
    return torch.stack(draws).mean().item()


def aurocs(learned: LatentMap, stop: Tensor, test: Tensor) -> dict[str, float]:
    """How well membership by codes and log q tell means not seen from points between them."""
    generator = torch.Generator().manual_seed(2)
    membership = Membership.fit(learned, stop, generator=generator)
    between = points_between(test, 2 * len(test), test.mean(dim=0), generator=generator)
    truth = [1] * len(test) + [0] * len(between)
    scores = {"auroc": membership.p_value, "auroc_log_q": learned.log_prob}
    return {
        name: float(roc_auc_score(truth, torch.cat([score(test), score(between)]).detach().numpy()))
        for name, score in scores.items()
    }


def parts_of_world(name: str, seed: int) -> Parts:
    """Codes to learn from, to stop by and to ask about, of an exact world."""
    kind, dimension = WORLDS[name]
    world = catalogue(dimension)[kind]
    generator = torch.Generator().manual_seed(seed)
    sizes = (int(0.9 * WORLD_CODES), int(0.1 * WORLD_CODES), 5_000)
    train, stop, test = (Codes(world.sample(n, generator=generator)) for n in sizes)
    return train, stop, test


def parts_of_run(run: Path, most: int) -> Parts:
    """The same of a run."""
    codes = Atlas.load(run, device="cpu").codes
    generator = torch.Generator().manual_seed(0)
    stop, test = codes["held_out"].split(0.5, generator=generator)
    return codes["train"][rows_of(run, most)], stop, test


def rows_of(run: Path, most: int) -> Tensor:
    """Numbers of the images that D_z learns from."""
    count = len(Atlas.load(run, device="cpu").codes["train"])
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most].sort().values


def copied(
    run: Path, train: Codes, stop: Codes, copies: Change | str
) -> tuple[Codes, Change | None]:
    """Codes with those of copies, and how these were changed."""
    atlas = Atlas.load(run, device="cpu")
    model, shape = atlas.model, atlas.config.model
    assert model is not None
    icons = run.name.startswith("icons")
    data = replace(atlas.config.data, source=str(fetch_icons())) if icons else atlas.config.data
    images = load_images(data, shape.image_size, shape.channels).train.images
    generator = torch.Generator().manual_seed(0)
    change = copies if isinstance(copies, Change) else None
    return with_copies(
        train,
        images[rows_of(run, len(train))],
        stop,
        lambda some: Codes(*model.posterior(some)),
        change=change,
        generator=generator,
    )


if __name__ == "__main__":
    main()
