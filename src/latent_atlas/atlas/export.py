"""The networks of an atlas as files for other programs: ONNX, or `torch.export`."""

from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Literal

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.functions import Network, networks
from latent_atlas.atlas.graphs import compact, save_graph, save_part, save_program
from latent_atlas.errors import UserError, require
from latent_atlas.progress import steps

__all__ = ["export", "require_onnx", "save"]

Format = Literal["onnx", "torch"]
NEEDED = ("onnx", "onnxscript")


def export(atlas: Atlas, folder: Path, format: Format) -> tuple[Path, ...]:
    """Write E, G and D_z of an atlas; see `Atlas.export`."""
    if format == "onnx":
        require_onnx("an export as ONNX")
    require(not folder.is_file(), f"{folder} is a file; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    advice = "use it from Python"
    each = steps("files", [*networks(atlas).items()])
    files = (save(*one, folder, advice, format) for one in each)
    return tuple(chain.from_iterable(files))


def require_onnx(what: str) -> None:
    """Check that the packages are there that write ONNX.

    Raises:
        UserError: one is missing.
    """
    missing = [package for package in NEEDED if find_spec(package) is None]
    require(
        not missing,
        f"{what} needs {' and '.join(missing)}; pip install latent-atlas[onnx]",
    )


def save(
    title: str,
    network: Network,
    folder: Path,
    advice: str,
    format: Format = "onnx",
    *,
    light: bool = False,
) -> list[Path]:
    """Write one network and its parts, and return the files.

    Arguments:
        title: The name of the file.
        advice: What to do where it cannot be written, in the words of the error.
        light: Whether ONNX stores weights in half precision.

    Raises:
        UserError: it has an operation that the format does not know.
    """
    path = folder / f"{title}.{'onnx' if format == 'onnx' else 'pt2'}"
    try:
        if format == "torch":
            save_program(network.function, network.examples, path)
            return [path]
        names = {"inputs": network.inputs, "outputs": network.outputs}
        save_graph(network.function, network.examples, path, **names)
        compact(path, half=light)
        parts = [path.with_stem(part) for part in network.parts]
        for part, outputs in zip(parts, network.parts.values(), strict=True):
            save_part(path, part, inputs=network.inputs, outputs=outputs)
        return [path, *parts]
    except Exception as error:  # a decoder of the user may do anything
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        kind = "ONNX" if format == "onnx" else "a program of torch.export"
        raise UserError(
            f"{title} of this atlas cannot be written as {kind} ({reason[:200]}); {advice}"
        ) from error
