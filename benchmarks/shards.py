"""What packing and encoding by shards cost: CPU per image, memory, and whether all ways give the same files.

    python benchmarks/shards.py --work FOLDER

FOLDER (about 18 GB) receives the rendered sources and the results of the commands. Rows are written to
results/shards.json as they are measured; a run that was stopped goes on after the last of them.

CPU seconds are those of the command and all processes below it; `private_mib` is the most anonymous memory
(RssAnon) that these held together, sampled every quarter of a second. `us_per_image` leaves the start out (the
time of the same command when nothing is left to do), except with Ray and torchrun, whose start is in it: compare
80,000 images with 20,000. The drawn images are small PNGs, so that a million of them fit into an hour.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from record import record

PYTHON = sys.executable
TICK = os.sysconf("SC_CLK_TCK")
IMAGES = 20_000
ROWS = {"20k": 20_000, "200k": 200_000}
TAR = 1_000  # images of an archive, of which some are cut
CUT = 400  # one image in so many is cut
DRAWN = 10_000  # images of an archive of drawn ones
QUICK = ["--quick", "--image-size", "32", "--channels", "3"]
SMALL = [
    "--batch-size",
    "16",
    "--set",
    "model.width=8",
    "--set",
    "model.discriminator_width=8",
]  # whose activations are few


class Meter:
    """CPU and private memory of a process and all that it starts."""

    def __init__(self, pid: int) -> None:
        self.pid, self.cpu, self.peak, self.over = pid, {}, 0, False
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over:
            self._sample()
            time.sleep(0.25)

    def _sample(self) -> None:
        children: dict[int, list[int]] = {}
        usage: dict[int, float] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                children.setdefault(int(fields[1]), []).append(int(entry))
                usage[int(entry)] = (int(fields[11]) + int(fields[12])) / TICK
        todo, private = [self.pid], 0
        while todo:
            pid = todo.pop()
            todo += children.get(pid, [])
            self.cpu[pid] = max(self.cpu.get(pid, 0), usage.get(pid, 0))
            private += private_bytes(pid)
        self.peak = max(self.peak, private)

    def close(self) -> dict[str, float]:
        self.over = True
        self.thread.join()
        return {"cpu_s": round(sum(self.cpu.values()), 2), "private_mib": round(self.peak / 2**20)}


def private_bytes(pid: int | str) -> int:
    """RssAnon of a process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return 1024 * int(lines[0].split()[1]) if lines else 0


def command(
    *words: str,
    expect: tuple[int, ...] = (0,),
    torchrun: int = 0,
    kill_after: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Run latent-atlas, and say what it cost and printed."""
    start = (
        [PYTHON, "-m", "torch.distributed.run", "--nproc-per-node", str(torchrun)]
        if torchrun
        else [PYTHON]
    )
    process = subprocess.Popen(
        [*start, "-m", "latent_atlas", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    began, meter = time.perf_counter(), Meter(process.pid)
    if kill_after is not None:
        while not kill_after():
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        expect = (-signal.SIGKILL,)
    out, err = process.communicate()
    cost = meter.close() | {"wall_s": round(time.perf_counter() - began, 2)}
    if process.returncode not in expect:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{out}\n{err}")
    return cost


def smooth(generator: np.random.Generator, side: int) -> np.ndarray:
    """A picture of a few broad waves with fine noise."""
    y, x = np.mgrid[0:side, 0:side] / side
    picture = np.zeros((side, side, 3))
    for _ in range(6):
        a, b, phase = (*generator.normal(0, 6, 2), generator.uniform(0, 7))
        picture += np.sin(a * x + b * y + phase)[..., None] * generator.normal(0, 25, 3)
    return np.clip(128 + picture + generator.normal(0, 7, picture.shape), 0, 255).astype(np.uint8)


def encoded(picture: np.ndarray, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, **how)
    return file.getvalue()


def photos(work: Path) -> Path:
    """JPEGs of 256 pixels in a folder."""
    folder = work / "photos"
    if not (folder / "done").exists():
        folder.mkdir(exist_ok=True)
        generator = np.random.default_rng(0)
        bases = [smooth(generator, 512) for _ in range(40)]
        for i in range(IMAGES):
            left, top = generator.integers(0, 256, 2)
            cut = bases[i % len(bases)][top : top + 256, left : left + 256]
            (folder / f"{i:05}.jpg").write_bytes(encoded(cut, format="JPEG", quality=80))
        (folder / "done").touch()
    return folder


def archives(work: Path, count: int) -> Path:
    """PNGs of 64 pixels in tar archives, some of them cut."""
    folder = work / f"tars{count}"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        path = folder / f"{number:04}.tar"
        if path.exists():
            continue
        generator = np.random.default_rng(number)
        base = smooth(generator, 512)
        with tarfile.open(path.with_suffix(".part"), "w") as tar:
            for i in range(TAR):
                left, top = generator.integers(0, 448, 2)
                content = encoded(
                    base[top : top + 64, left : left + 64], format="PNG", compress_level=1
                )
                content = content[: len(content) // 2] if i % CUT == 17 else content
                member = tarfile.TarInfo(f"{number:04}/{i:04}.png")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        path.with_suffix(".part").rename(path)
    return folder


def pack_of(work: Path, name: str) -> Path:
    """A pack of random rows of 64 pixels, by the command."""
    pack, rows = work / f"pack-{name}", work / f"rows-{name}.npy"
    if not (pack / "pack.json").exists():
        generator = np.random.default_rng(0)
        array = np.lib.format.open_memmap(rows, "w+", np.uint8, (ROWS[name], 64, 64, 3))
        for start in range(0, ROWS[name], 10_000):
            array[start : start + 10_000] = generator.integers(
                0, 256, (10_000, 64, 64, 3), np.uint8
            )
        array.flush()
        del array
        command("pack", str(rows), str(pack), "--image-size", "64", "--channels", "3")
        rows.unlink()
    return pack


def model(work: Path) -> Path:
    """A run with a small encoder of 32 pixels."""
    run = work / "run"
    if not (run / "map.safetensors").exists():
        shutil.rmtree(run, ignore_errors=True)
        command(
            "train",
            "faces",
            "--out",
            str(run),
            *QUICK,
            "--set",
            "train.steps=40",
            "--set",
            "model.width=8",
            "--set",
            "train.adversarial_start=20",
            "--set",
            "map.steps=100",
            "--set",
            "data.limit=600",
        )
    return run


def first_step(source: str, out: str) -> None:
    """In a process of its own: train until the first batch is asked for, and 40 steps more; print what it took."""
    import latent_atlas.training.loop as loop
    from latent_atlas.cli import main

    began, seen = time.perf_counter(), {}

    class Batches(loop.Batches):
        def __call__(self, step: int) -> Any:
            if not seen:
                seen.update(
                    wall_s=time.perf_counter() - began,
                    cpu_s=time.process_time(),
                    before_mib=private_bytes("self") / 2**20,
                )
            if step == 40:
                print(
                    json.dumps(
                        {k: round(v, 2) for k, v in seen.items()}
                        | {"training_mib": round(private_bytes("self") / 2**20)}
                    )
                )
                sys.stdout.flush()
                os._exit(0)
            return super().__call__(step)

    loop.Batches = Batches
    is_pack = (Path(source) / "pack.json").exists()  # which has a shape of its own
    shape = [] if is_pack else ["--image-size", "64", "--channels", "3"]
    main(
        [
            "train",
            source,
            "--out",
            out,
            *shape,
            "--quick",
            *SMALL,
            "--steps",
            "100",
            "--precision",
            "32",
        ]
    )


def until_first_step(source: Path, work: Path) -> dict[str, Any]:
    out = work / "train"
    shutil.rmtree(out, ignore_errors=True)
    printed = subprocess.run(
        [PYTHON, __file__, "--first-step", str(source), str(out)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(printed.splitlines()[-1])


def plain_loop(folder: str, run: str) -> None:
    """In a process of its own: what a script would do that knows nothing of shards."""
    import torch

    from latent_atlas.atlas.loading import read_model
    from latent_atlas.data.decode import Square, UndecodableError, decode_whole, quiet, squared
    from latent_atlas.data.split import digest
    from latent_atlas.runs import Run

    encoder, square, n = read_model(Run(Path(run)), torch.device("cpu")), Square(32, 3), 0
    began = time.process_time()
    for path in sorted(Path(folder).glob("*.tar")):
        codes, images, digests = [], [], []
        with quiet(), tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                try:
                    whole = decode_whole(file.read() if file else b"")
                except UndecodableError:
                    continue
                images.append(squared(whole.pixels, square))
                digests.append(digest(whole.pixels))
                if len(images) == 512:
                    codes.append(encoder.posterior(torch.stack(images)))
                    images = []
        codes.append(encoder.posterior(torch.stack(images)))
        n += len(digests)
        np.savez(
            f"{folder}.npz",
            *[part.half().numpy() for pair in codes for part in pair if part is not None],
        )
    print(json.dumps({"us_per_image": round(1e6 * (time.process_time() - began) / n), "images": n}))


def encode(
    work: Path, tars: Path, name: str, *flags: str, fresh: bool = True, **how: Any
) -> dict[str, Any]:
    model(work)
    out = work / f"codes-{name}"
    if fresh:
        shutil.rmtree(out, ignore_errors=True)
    cost = command("encode", str(work / "run"), str(tars), "--out", str(out), *flags, **how)
    if "kill_after" in how:
        return cost
    manifest = json.loads((out / "manifest.json").read_text())
    whole = hashlib.sha256(
        "".join(shard["sha256"] for shard in manifest["shards"]).encode()
    ).hexdigest()[:16]
    again = (
        command("encode", str(work / "run"), str(tars), "--out", str(out), *flags)
        if "--ray" not in flags and not how
        else {}
    )
    n = manifest["rows"]
    return cost | {
        "images": n,
        "rejects": manifest["rejects"],
        "sha256": whole,
        "us_per_image": round(1e6 * (cost["cpu_s"] - again.get("cpu_s", 0)) / n),
    }


def killed(work: Path, tars: Path) -> dict[str, Any]:
    """Killed after seven shards and run again."""
    out = work / "codes-killed"
    shutil.rmtree(out, ignore_errors=True)
    marks = lambda: len(list(out.glob("marks/*.json"))) >= 7  # noqa: E731
    first = encode(work, tars, "killed", kill_after=marks)
    done = len(list(out.glob("marks/*.json")))
    found = encode(work, tars, "killed", fresh=False)
    del found["us_per_image"]  # it did the rest alone
    return found | {"killed_after_shards": done, "cpu_s_before": first["cpu_s"]}


def packed(work: Path) -> dict[str, Any]:
    folder, out = photos(work), work / "pack-photos"
    shutil.rmtree(out, ignore_errors=True)
    shape = ("--image-size", "64", "--channels", "3")
    cost, again = (command("pack", str(folder), str(out), *shape) for _ in range(2))
    size = sum(path.stat().st_size for path in folder.glob("*.jpg")) / IMAGES
    return cost | {
        "us_per_image": round(1e6 * (cost["cpu_s"] - again["cpu_s"]) / IMAGES),
        "start_cpu_s": again["cpu_s"],
        "bytes_per_jpeg": round(size),
    }


def drawn(generator: np.random.Generator, side: int) -> bytes:
    """An ellipse and a polygon of random places, sizes and colours, as a PNG."""
    ground, *colours = (tuple(colour) for colour in generator.integers(0, 256, (3, 3)).tolist())
    picture = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(picture)
    x, y, a, b = generator.uniform((4, 4, 3, 3), (side - 4, side - 4, side / 3, side / 3))
    pen.ellipse((x - a, y - b, x + a, y + b), fill=colours[0])
    corners = generator.uniform(0, side, (int(generator.integers(3, 6)), 2))
    pen.polygon([tuple(corner) for corner in corners.tolist()], fill=colours[1])
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def rendered(work: Path, count: int) -> Path:
    """A folder of archives of 10,000 drawn images of 32 pixels; a smaller folder is a part of a larger one."""
    every, folder = work / "drawn", work / f"drawn{count}"
    every.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    for number in range(count // DRAWN):
        path = every / f"{number:04}.tar"
        if not path.exists():
            generator = np.random.default_rng(number)
            with tarfile.open(path.with_suffix(".part"), "w") as tar:
                for i in range(DRAWN):
                    content = drawn(generator, 32)
                    member = tarfile.TarInfo(f"{number:04}/{i:04}.png")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
            path.with_suffix(".part").rename(path)
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.absolute())
    return folder


def job(count: int, out: Path, *words: str) -> dict[str, Any]:
    """What a job on shards costs per image, its start left out: that of the same command when nothing is left to do."""
    cost, again = (command(*words) for _ in range(2))
    sizes = (path.stat().st_size for path in out.glob("shard-*"))
    return cost | {
        "images": count,
        "us_per_image": round(1e6 * (cost["cpu_s"] - again["cpu_s"]) / count),
        "start_cpu_s": again["cpu_s"],
        "out_mib": round(sum(sizes) / 2**20, 1),
    }


def shape_model(work: Path) -> Path:
    """A run with a small encoder, trained on the first 10,000 drawn images."""
    run = work / "run-drawn"
    if not (run / "map.safetensors").exists():
        shutil.rmtree(run, ignore_errors=True)
        settings = "train.steps=400 model.width=8 train.adversarial_start=300 map.steps=300"
        words = [word for one in settings.split() for word in ("--set", one)]
        command("train", str(work / "drawn10000-pack"), "--out", str(run), "--quick", *words)
    return run


def end_to_end(work: Path, count: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Drawn images from archives to anomaly scores: each step as a row."""
    name = f"{count:,} drawn images: "
    pack, codes, scores, run = (
        work / f"drawn{count}-{what}" for what in ("pack", "codes", "scores", "map")
    )
    shape = ("--image-size", "32", "--channels", "3")

    def packed() -> dict[str, Any]:
        return job(count, pack, "pack", str(rendered(work, count)), str(pack), *shape)

    def encoded() -> dict[str, Any]:
        words = (str(shape_model(work)), str(pack), "--out", str(codes))
        return job(count, codes, "encode", *words)

    def fitted() -> dict[str, Any]:
        shutil.rmtree(run, ignore_errors=True)
        cost = command("fit", str(codes), "--out", str(run), "--steps", "300")
        return cost | {"us_per_image": round(1e6 * cost["cpu_s"] / count)}

    def scored() -> dict[str, Any]:
        words = (str(shape_model(work)), str(pack), "--out", str(scores))
        return job(count, scores, "anomalies", *words)

    return {
        name + "pack": packed,
        name + "train to its first step, and 40 more": lambda: until_first_step(pack, work),
        name + "encode": encoded,
        name + "fit, 300 steps": fitted,
        name + "anomalies": scored,
    }


def rows(work: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is measured, in order."""
    few, many = (lambda: archives(work, 20)), (lambda: archives(work, 80))
    plain = [PYTHON, __file__, "--plain-loop"]

    def loop(tars: Path) -> dict[str, Any]:
        model(work)
        printed = subprocess.run(
            [*plain, str(tars), str(work / "run")], check=True, capture_output=True, text=True
        ).stdout
        return json.loads(printed.splitlines()[-1])

    return {
        "pack 20,000 JPEGs of 256 px": lambda: packed(work),
        "train: first step from the pack of 20,000": lambda: until_first_step(
            work / "pack-photos", work
        ),
        "train from 20,000 packed rows": lambda: until_first_step(pack_of(work, "20k"), work),
        "train from 200,000 packed rows": lambda: until_first_step(pack_of(work, "200k"), work),
        "plain loop, 20,000": lambda: loop(few()),
        "encode 20,000": lambda: encode(work, few(), "plain"),
        "encode 20,000 --ray 1": lambda: encode(work, few(), "ray1", "--ray", "1"),
        "encode 20,000 --ray 2": lambda: encode(work, few(), "ray2", "--ray", "2"),
        "encode 20,000 torchrun x 2": lambda: encode(work, few(), "torchrun", torchrun=2),
        "encode 20,000 killed and run again": lambda: killed(work, few()),
        "encode 80,000": lambda: encode(work, many(), "plain80"),
        "encode 80,000 --ray 2": lambda: encode(work, many(), "ray80", "--ray", "2"),
        "train: first step from the folder of 20,000": lambda: until_first_step(photos(work), work),
        "plain loop, 20,000 again": lambda: loop(few()),
        "encode 20,000 again": lambda: encode(work, few(), "plain"),
        "encode 20,000 --to parquet": lambda: encode(work, few(), "parquet", "--to", "parquet"),
        **end_to_end(work, 10_000),
        **end_to_end(work, 100_000),
        **end_to_end(work, 1_000_000),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--first-step", nargs=2)
    parser.add_argument("--plain-loop", nargs=2)
    given = parser.parse_args()
    if given.first_step:
        return first_step(*given.first_step)
    if given.plain_loop:
        return plain_loop(*given.plain_loop)
    given.work.mkdir(parents=True, exist_ok=True)
    path = Path(__file__).parent / "results" / "shards.json"
    found = json.loads(path.read_text())["results"] if path.is_file() else {}
    for name, measure in rows(given.work).items():
        if name not in found:
            found[name] = measure()
            record("shards", found, threads=os.environ.get("OMP_NUM_THREADS"))
    return None


if __name__ == "__main__":
    main()
