"""Damaged and hostile image files: each must be read, rejected or refused in one sentence, within 2 s.

Real images are written in every format, alone and in archives and arrays; then bits are flipped, files
are cut, headers spliced with other bodies, and sizes replaced by enormous ones. Every case follows from
the seed and its number. The result is written after every hundred cases, and a run that was stopped goes
on from there.

python benchmarks/reliability/mutated_images.py                  # 10,000 cases, about one minute
python benchmarks/reliability/mutated_images.py --count 500
"""

import argparse
import io
import json
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latent_atlas.config import DataConfig
from latent_atlas.data import load_images
from latent_atlas.data.decode import Square, UndecodableError, decode, quiet
from latent_atlas.data.named import faces
from latent_atlas.errors import UserError

SLOW = 2.0  # seconds
SIZES = (0, 1, 2**15, 65_535, 2**16, 50_000_000, 2**31 - 1, 2**32 - 1)

Files = dict[str, bytes]


def samples() -> Files:
    """Real images in every format, and collections of them, by suffix."""
    pixels = [np.asarray(item.read()) for item in faces().items[:24]]

    def encoded(kind: str, image: np.ndarray = pixels[0], **settings: Any) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, kind, **settings)
        return stream.getvalue()

    def stored(array: np.ndarray) -> bytes:
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()

    alone = {kind.lower(): encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")}
    alone["interlaced.png"] = encoded("PNG", pixels[0][..., 0].astype(np.uint16) * 257)
    alone["lossless.webp"] = encoded("WEBP", lossless=True)
    alone["lzw.tiff"] = encoded("TIFF", compression="tiff_lzw")
    alone["floats.tiff"] = encoded("TIFF", pixels[0][..., 0].astype(np.float32))
    alone["jp2"] = encoded("JPEG2000")
    alone["one.npy"] = stored(pixels[0] / 255)
    small = [np.ascontiguousarray(image[::8, ::8]) for image in pixels]
    members = {f"{'ab'[i % 2]}/{i}.png": encoded("PNG", image) for i, image in enumerate(small)}
    members["labels.csv"] = b"file,label\n" + b"".join(b"%d.png,x\n" % i for i in range(24))
    archives: Files = {}
    for mode in ("", "gz", "xz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=f"w:{mode}") as archive:  # type: ignore[call-overload]
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        archives[f"many.tar.{mode}".rstrip(".")] = stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    archives["many.zip"] = stream.getvalue()
    stream = io.BytesIO()
    np.savez_compressed(stream, x_train=np.stack(small), y_train=np.arange(24), x_test=small[:3])
    archives["many.npz"] = stream.getvalue()
    archives["many.npy"] = stored(np.stack(small))
    return alone | archives


def mutated(whole: Files, rng: np.random.Generator) -> tuple[str, str, bytes]:
    """A format, what was done to it, and the result."""
    kind, other = rng.choice(list(whole), 2)
    content = bytearray(whole[kind])
    how = str(rng.choice(["bits", "cut", "zeros", "splice", "insert", "size"]))
    place = int(rng.integers(len(content)))
    if how == "bits":
        for _ in range(rng.integers(1, 9)):
            content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        del content[place:]
    elif how == "zeros":
        content[place : place + 64] = bytes(len(content[place : place + 64]))
    elif how == "splice":
        head = int(rng.integers(4, 200))
        content[:head] = whole[other][:head]
    elif how == "insert":
        content[place:place] = rng.bytes(int(rng.integers(1, 64)))
    else:
        # A decompression bomb promises its size in the header, in either byte order.
        number = struct.pack(rng.choice(["<I", ">I"]), SIZES[rng.integers(len(SIZES))])
        place = int(rng.integers(min(200, len(content))))
        content[place : place + 4] = number
    return str(kind), how, bytes(content)


def outcome(kind: str, content: bytes, folder: Path) -> str:
    """`read`, `rejected` or `refused`; any other exception is the caller's."""
    if not kind.startswith("many"):
        try:
            with quiet():
                decode(content, Square(16, 3))
        except UndecodableError:
            return "rejected"
        return "read"
    path = folder / kind
    path.write_bytes(content)
    try:
        load_images(DataConfig(source=str(path), max_rejects=1.0, held_out=0.0), 8, 3)
    except UserError as error:
        if "\n" in str(error):
            raise RuntimeError("the sentence has several lines") from error
        return "refused"
    return "read"


def run(first: int, count: int, seed: int, whole: Files, found: dict[str, Any]) -> None:
    """Add cases `first` to `first + count - 1` to what was found."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            kind, how, content = mutated(whole, np.random.default_rng((seed, number)))
            start = time.process_time()
            try:
                word = outcome(kind, content, Path(folder))
            except Exception:
                word = "crashed"
                found["crashes"].append([number, kind, how, traceback.format_exc(limit=-3)])
            seconds = time.process_time() - start
            if seconds > SLOW:
                found["slow"].append([number, kind, how, seconds])
            found["slowest, seconds"] = max(found["slowest, seconds"], seconds)
            found["outcomes"] = dict(Counter(found["outcomes"]) + Counter([word]))
            found["formats"] = dict(Counter(found["formats"]) + Counter([kind]))
            found["cases"] = number + 1


def nothing() -> dict[str, Any]:
    """What is found before the first case."""
    return {
        "cases": 0,
        "crashes": [],
        "slow": [],
        "slowest, seconds": 0.0,
        "outcomes": {},
        "formats": {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from record import record

    path = Path(__file__).parents[1] / "results" / "mutated_images.json"
    found = nothing()
    if path.is_file():
        before = json.loads(path.read_text())
        if before["settings"] == {"seed": given.seed} and before["results"]["cases"] < given.count:
            found = before["results"]
    whole = samples()
    while found["cases"] < given.count:
        run(found["cases"], min(100, given.count - found["cases"]), given.seed, whole, found)
        record("mutated_images", found, seed=given.seed)
    sys.exit(bool(found["crashes"] or found["slow"]))


if __name__ == "__main__":
    main()
