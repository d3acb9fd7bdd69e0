"""The explorer's server over ten million codes: its first answers, a change of the plane, and how fair the sample is.

Claim: the first view is there within 5 s of the server's start, another plane within 3 s and 1 MB, and the shares of the
classes among the codes shown are within 1 % of those of all. Two runs: one by `fit` on files, which keeps a sample of 200,000
codes and counts all of them in their files, and one that keeps all of its codes, as training does. CPU seconds are those of
the server's process, one thread, so that a busy machine tells the same; bytes are those on the wire.

OMP_NUM_THREADS=1 python benchmarks/explorer_scale.py --work FOLDER     # about ten minutes; 5 GB of files
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import torch
from safetensors.numpy import load
from safetensors.torch import save_file

from fit_shards import LOG_VARIANCE, PER_FILE, population
from latent_atlas.codes.stream import CodeFiles
from latent_atlas.runs import Run, write_tensors
from record import record
from serve import served
from shards import TICK, private_bytes

CLASSES = 10
PATIENCE = 600.0
CHUNK, SHOWN, CELLS = 50_000, 200_000, 384  # as the page asks
PLANES = 5


def label_of(file: int, files: int) -> int:
    """Classes follow each other in the order of the files, the later the rarer."""
    return int(CLASSES * (file / files) ** 0.6)


def write(folder: Path, files: int) -> None:
    """Codes of classes that follow each other, as `latent-atlas encode` writes them."""
    folder.mkdir(parents=True)
    for i in range(files):
        means = population(PER_FILE, seed=i)
        generator = torch.Generator().manual_seed(i)
        tensors = {
            "means": means.half(),
            "log_variances": torch.full_like(means, LOG_VARIANCE).half(),
            "digests": torch.randint(256, (PER_FILE, 16), generator=generator, dtype=torch.uint8),
            "labels": torch.full((PER_FILE,), label_of(i, files)),
        }
        save_file(tensors, folder / f"shard-{i:05d}.safetensors")
    names = [f"class {c}" for c in range(CLASSES)]
    (folder / "manifest.json").write_text(json.dumps({"label_names": names}))


def whole_run(sampled: Path, codes: Path, out: Path) -> None:
    """The same map with all codes in the run, as training leaves them."""
    shutil.copytree(sampled, out, ignore=shutil.ignore_patterns("neighbours.faiss"))
    files = CodeFiles.find(codes)
    assert files is not None
    means = torch.cat([piece.means for piece in files.pieces()]).float()
    labels = torch.cat([piece.labels for piece in files.pieces() if piece.labels is not None])
    held = len(means) // 10
    parts = {"held_out": slice(held), "train": slice(held, None)}
    # Every tenth code is held out, so that both parts have all classes.
    order = torch.arange(len(means)).unflatten(0, (-1, 10)).T.reshape(-1)
    tensors = {f"{part}.means": means[order[rows]] for part, rows in parts.items()}
    tensors |= {f"{part}.labels": labels[order[rows]] for part, rows in parts.items()}
    write_tensors(out / "codes.safetensors", tensors)
    about = Run(out).read_json("manifest.json") or {}
    kept = {k: v for k, v in about.items() if k in ("label_names", "n")}
    counts = {"n_train": len(means) - held, "n_held_out": held}
    Run(out).write_json("manifest.json", kept | counts)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Asked:
    """What answers cost: seconds, CPU seconds of the server, and bytes on the wire."""

    def __init__(self, client: httpx2.Client, pid: int) -> None:
        self.client, self.pid = client, pid
        self.bytes = 0

    def post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        answer = self.client.post(f"api/{path}", json=body)
        return self._read(answer)

    def get(self, path: str, **query: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return self._read(self.client.get(f"api/{path}", params=query))

    def _read(self, answer: httpx2.Response) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        answer.raise_for_status()
        self.bytes += int(answer.headers["content-length"])
        size = int.from_bytes(answer.content[:8], "little")
        about = json.loads(answer.content[8 : 8 + size]).get("__metadata__", {})
        return load(answer.content), json.loads(about.get("json", "{}"))

    def cost(self, work: Callable[[], Any]) -> dict[str, float]:
        self.bytes, cpu, began = 0, cpu_of(self.pid), time.perf_counter()
        work()
        return {
            "seconds": round(time.perf_counter() - began, 2),
            "cpu_s": round(cpu_of(self.pid) - cpu, 2),
            "bytes": self.bytes,
        }


def plane(asked: Asked, body: dict[str, Any]) -> dict[str, Any]:
    """What the page asks for a plane: coarse, fine, the first codes, and all of them as counts."""
    _, about = asked.post("plane", body | {"resolution": 72})
    arrays, _ = asked.post("plane", body | {"resolution": 256, "window": about["window"]})
    axes = {"origin": arrays["origin"].tolist(), "axes": arrays["axes"].tolist()}
    asked.post("points", axes | {"offset": 0, "count": CHUNK})
    window = {"window": about["window"], "resolution": CELLS}
    counts, told = asked.post("raster", axes | window)
    return axes | window | {"counted": told["total"], "cells": int((counts["counts"] > 0).sum())}


def rest(asked: Asked, axes: dict[str, Any]) -> None:
    """The other codes that are shown, which the page asks for when it is near or colours classes."""
    for offset in range(CHUNK, SHOWN, CHUNK):
        asked.post("points", axes | {"offset": offset, "count": CHUNK})
        asked.get("codes", part="train", offset=offset, count=CHUNK, fields="labels,typicality")


def shares(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels, minlength=CLASSES) / len(labels)


def measured(run: Path, everyone: np.ndarray) -> dict[str, Any]:
    """The start, the first view, other planes, another window, and the shares of the classes."""
    with served(run, "cpu") as (address, pid, listening):
        client = httpx2.Client(base_url=address, timeout=PATIENCE)
        asked = Asked(client, pid)
        result: dict[str, Any] = {"listening_s": round(listening, 1), "start_cpu_s": cpu_of(pid)}
        told: dict[str, Any] = {}

        def first() -> None:
            told["atlas"] = client.get("api/atlas").raise_for_status().json()
            told["plane"] = plane(asked, {"kind": "principal"})
            asked.get("codes", part="train", offset=0, count=CHUNK, fields="labels,typicality")

        result["first view"] = asked.cost(first)
        population = told["atlas"]["population"]
        result["of"] = population
        result["counted"] = told["plane"]["counted"]
        means, _ = asked.get("codes", part="train", offset=0, count=3 * PLANES, fields="means")
        triples = means["means"].reshape(PLANES, 3, -1).tolist()
        costs = [
            asked.cost(lambda codes=codes: plane(asked, {"kind": "through", "codes": codes}))
            for codes in triples
        ]
        result["another plane"] = {
            name: round(statistics.median(cost[name] for cost in costs), 2) for name in costs[0]
        }
        axes = {name: told["plane"][name] for name in ("origin", "axes")}
        plane(asked, {"kind": "principal"})
        window = {side: value / 3 for side, value in told["plane"]["window"].items()}
        zoom = axes | {"window": window, "resolution": CELLS}
        result["counts of another window"] = asked.cost(lambda: asked.post("raster", zoom))
        result["the rest of the 200,000"] = asked.cost(lambda: rest(asked, axes))
        labels = np.concatenate(
            [
                asked.get("codes", part="train", offset=at, count=CHUNK, fields="labels")[0][
                    "labels"
                ]
                for at in range(0, SHOWN, CHUNK)
            ]
        )
        result["codes shown"] = len(labels)
        result["largest difference of a class's share"] = float(
            np.abs(shares(labels) - everyone).max()
        )
        result["private_mib"] = round(private_bytes(pid) / 2**20)
        client.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--files", type=int, default=40, help="of 250,000 codes")
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    codes, sampled, whole = (given.work / name for name in ("codes", "sampled", "whole"))
    if not (codes / "manifest.json").exists():
        shutil.rmtree(codes, ignore_errors=True)
        write(codes, given.files)
    if not (sampled / "config.json").exists():
        words = ["fit", str(codes), "--out", str(sampled), "--steps", str(given.steps)]
        subprocess.run([sys.executable, "-m", "latent_atlas", *words], check=True)
    if not (whole / "manifest.json").exists():
        shutil.rmtree(whole, ignore_errors=True)
        whole_run(sampled, codes, whole)
    every = np.repeat([label_of(i, given.files) for i in range(given.files)], PER_FILE)
    results = {
        "a run of fit, which keeps a sample": measured(sampled, shares(every)),
        "a run that keeps all codes, first start": measured(whole, shares(every)),
        "a run that keeps all codes": measured(whole, shares(every)),
    }
    record("explorer_scale", results, files=given.files, steps=given.steps, threads=1)


if __name__ == "__main__":
    main()
