"""One random damage to a random file of a finished run; then the run is used.

Claim: no traceback, and no answer that differs from the intact run's without a word. In a third of the trials the
damaged file carries no checksums, as those of older versions: then any finite answer is allowed, and counted apart.

    python benchmarks/reliability/damaged_runs.py --count 2000
"""

import json
import random
import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from trials import counted, quietly, repeat, train_small

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.report.run_page import write_report
from latent_atlas.runs import CHECKSUMS, Run

VALUES = (None, True, -1, 2**70, 1e308, "x", [], {}, [[1]], "\ud800", float("nan"))


def main() -> None:
    count = counted(__doc__, 2_000)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        intact = Path(place) / "intact"
        train_small(intact)
        folder = Path(place) / "used"

        def copied() -> Path:
            shutil.rmtree(folder, ignore_errors=True)
            return shutil.copytree(intact, folder)

        right = answers(copied())

        def trial(number: int) -> str:
            chance = random.Random(number)
            path = chance.choice(sorted(file for file in copied().iterdir() if file.is_file()))
            if unsigned := chance.random() < 1 / 3:
                remove_checksums(path)
            what = damage(path, chance)
            outcome = verdict(answers(folder), right, unsigned)
            if outcome.startswith(("traceback", "silently wrong")):
                print(number, what, "without checksums" if unsigned else "", outcome, flush=True)
            return outcome.partition(":")[0]

        repeat("reliability-damaged_runs", count, trial)


def verdict(seen: dict[str, str], right: dict[str, str], unsigned: bool) -> str:
    """The worst that the uses of a damaged run came to."""
    for use, answer in seen.items():
        if answer.startswith("traceback"):
            return f"traceback: {use}: {answer}"
    for use, answer in seen.items():
        if not answer.startswith("sentence") and answer != right[use]:
            finite = use == "report" or "nan" not in answer
            return "unverified" if unsigned and finite else f"silently wrong: {use}"
    sentences = any(answer.startswith("sentence") for answer in seen.values())
    return "sentence" if sentences else "the same answers"


def answers(folder: Path, uses: Sequence[str] = ("atlas", "report", "resume")) -> dict[str, str]:
    """What the uses of a run answer, or the sentence that refuses them."""
    found = {}
    for name in uses:
        use = {"atlas": use_atlas, "report": report, "resume": resume}[name]
        answer: list[str] = []
        outcome, said, _ = quietly(lambda use=use, answer=answer: answer.append(use(folder)))
        if outcome == "traceback" and said.startswith("UserError"):
            outcome = "sentence"
        found[name] = answer[0] if outcome == "done" else f"{outcome} {said}"
    return found


def use_atlas(folder: Path) -> str:
    """Travel, sample, score, traverse on a run."""
    atlas = Atlas.load(folder, device="cpu")
    g = torch.Generator().manual_seed(0)
    means = atlas.codes["held_out"].means
    path = atlas.travel(means[0], means[1], planner="linear", frames=5)
    images = atlas.decode(means[:8])
    parts = [
        path.images,
        path.metrics.off_manifold,
        atlas.sample(4, generator=g),
        atlas.map.log_prob(means),
        atlas.map.rank(atlas.map.log_prob(means)),
        *atlas.labels.values(),
    ]
    scores = [str(row) for row in atlas.anomaly(images).rows()]
    return repr([part.tolist() for part in parts]) + repr(scores) + repr(atlas.label_names)


def report(folder: Path) -> str:
    """The page of a run, without where and when it was made, or its word on what it leaves out."""
    page = write_report(folder).read_text()
    if "it is left out" in page:
        return "sentence: a damaged line is named"
    return "\n".join(
        line for line in page.replace(str(folder), "RUN").splitlines() if "<time" not in line
    )


def resume(folder: Path) -> str:
    """Fit the map again from the checkpoint."""
    Run(folder).file("map.safetensors").unlink()
    train_small(folder)
    map = Atlas.load(folder, device="cpu").map
    return repr(map.log_prob(torch.zeros(1, map.dimension)).tolist())


def remove_checksums(path: Path) -> None:
    """Make a file look as if an older version had written it."""
    if path.suffix == ".safetensors":
        tensors, metadata = opened(path)
        save_file(tensors, path, {key: m for key, m in metadata.items() if key != CHECKSUMS})
    elif path.suffix in (".json", ".jsonl"):
        path.write_text(re.sub(r',\s*"checksum": "\w+"', "", path.read_text()))


def damage(path: Path, chance: random.Random) -> str:
    """Damage a file, and tell how."""
    kinds = [flip_bit, change_byte, cut]
    kinds += [change_tensors] * 3 if path.suffix == ".safetensors" else [change_json] * 3
    kind = chance.choice(kinds)
    return f"{kind.__name__} {path.name} {kind(path, chance)}"


def flip_bit(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"at {place}"


def change_byte(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    content[place] = chance.choice(b'\x00\xff{["0,')
    path.write_bytes(content)
    return f"at {place}"


def cut(path: Path, chance: random.Random) -> str:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])
    return "short"


def change_json(path: Path, chance: random.Random) -> str:
    """Another value, a member less or more, or deep nesting; in one line of a log."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    which = chance.randrange(len(lines))
    content = json.loads(lines[which])
    place, names = content, list(content)
    if chance.random() < 0.5 and (inner := [n for n in names if isinstance(content[n], dict)]):
        place = content[chance.choice(inner)]
    name = chance.choice(list(place))
    how = chance.choice(("value", "missing", "extra", "nested"))
    if how == "missing":
        del place[name]
    elif how == "extra":
        place["another"] = chance.choice(VALUES)
    else:
        place[name] = "NESTED" if how == "nested" else chance.choice(VALUES)
    lines[which] = json.dumps(content).replace('"NESTED"', "[" * 100_000 + "]" * 100_000)
    path.write_text("\n".join(lines) + "\n")
    return f"{how} {name}"


def change_tensors(path: Path, chance: random.Random) -> str:
    """A tensor less or more, of another shape or type, NaN, or a little off."""
    tensors, metadata = opened(path)
    name = chance.choice(sorted(tensors))
    value = tensors.pop(name)
    changed = {
        "missing": {},
        "extra": {name: value, "another": torch.zeros(3)},
        "shape": {name: value.reshape(-1)[:1]},
        "type": {name: value.to(torch.float64)},
        "nan": {name: value.double() * float("nan")},
        "scaled": {name: (value.double() * 1.01 + 1).to(value.dtype)},
        "no metadata": {name: value},
    }
    how = chance.choice(sorted(changed))
    save_file(tensors | changed[how], path, None if how == "no metadata" else metadata)
    return f"{how} {name}"


def opened(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the metadata of a file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


if __name__ == "__main__":
    main()
