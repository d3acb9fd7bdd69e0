"""Files of codes with their labels: read, checked, split."""

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.codes.posterior import Codes, as_codes
from latent_atlas.errors import UserError, checked, counted
from latent_atlas.runs import read_tensors
from latent_atlas.shapes import ArrayLike, Labels, as_array, as_labels

__all__ = ["CodeSet", "class_numbers", "collect", "name_of_codes", "read_arrays", "read_collection"]

HELD_OUT = 10  # codes held out at least
FEWEST = 20  # codes to learn from
MEANS, LOG_VARIANCES = ("means", "latents"), ("log_variances", "logvar")
BESIDE = (*LOG_VARIANCES, "labels", "digests", "names", "name_offsets")
SAVE = "save plain numbers with numpy.save, numpy.savez or safetensors"


@dataclass(frozen=True)
class CodeSet:
    """Codes of any encoder, with their labels.

    Attributes:
        codes: As rows, (n, d).
        shape: Of one code as it was given: (d,), or another such as (c, h, w) for spatial latents.
        rows: Row of each code in the arrays as they were given, shape (n,).
        labels: Class of each, an index into `label_names`, -1 where it has none; None without
            labels.
        label_names: Names of the classes.
        warnings: What was repaired, in sentences.
    """

    codes: Codes
    shape: tuple[int, ...]
    rows: Tensor
    labels: Labels | None = None
    label_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def arrays(self) -> tuple[Tensor, Tensor | None]:
        """Means and log-variances in the shape in which they were given."""
        spread = self.codes.log_variances
        return self.codes.means.unflatten(
            1, self.shape
        ), None if spread is None else spread.unflatten(1, self.shape)

    def select(self, rows: Tensor) -> "CodeSet":
        """Some of the codes, by their numbers."""
        labels = None if self.labels is None else self.labels[rows]
        return CodeSet(
            self.codes[rows], self.shape, self.rows[rows], labels, self.label_names, self.warnings
        )

    @checked
    def split(self, share: float, *, generator: torch.Generator) -> tuple["CodeSet", "CodeSet"]:
        """Codes to train on, and a random share of them, at least ten, to hold out.

        Raises:
            UserError: too few are left to train on.
        """
        count = max(int(share * len(self.codes)), HELD_OUT)
        if len(self.codes) - count < FEWEST:
            raise UserError(
                f"there are {counted(len(self.codes), 'different code')}, and a map needs "
                f"{count + FEWEST}: {FEWEST} to fit it and {count} held out to evaluate it; give "
                "more codes"
            )
        order = torch.randperm(len(self.codes), generator=generator, device=generator.device).cpu()
        return self.select(order[count:]), self.select(order[:count])


def collect(
    means: ArrayLike,
    log_variances: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    label_names: tuple[str, ...] = (),
) -> CodeSet:
    """Check codes, and leave out those that repeat others, with their labels.

    Arguments:
        means: Shape (n, d), or (n, ...) for latents of any shape; of a floating type.
        log_variances: None or of the same shape.
        labels, label_names: As in `CodeSet`.

    Raises:
        UserError: these are not codes, or not their labels; the sentence says why.
    """
    means = as_array(means).detach().cpu()
    if means.ndim > 0 and len(means) == 0:
        raise UserError(
            f"there are no codes, only an empty array of shape {tuple(means.shape)}; give at least "
            f"{HELD_OUT + FEWEST}"
        )
    spread = None if log_variances is None else as_array(log_variances).cpu()
    codes, notes = as_codes(means, spread, at_least=1)
    if labels is not None:
        labels = as_labels(labels, len(means), label_names).cpu()
    rows = torch.arange(len(means))
    if len(codes) < len(means):  # of codes that repeat, the first is there still
        first = np.unique(means.flatten(1).float().numpy(), axis=0, return_index=True)[1]
        rows = torch.from_numpy(np.sort(first))
    labels = None if labels is None else labels[rows]
    return CodeSet(codes, tuple(means.shape[1:]), rows, labels, tuple(label_names), tuple(notes))


@checked
def read_collection(path: Path) -> CodeSet:
    """Read codes from a file.

    Arguments:
        path: A .npy file of codes; or an .npz or .safetensors file with `means`, else `latents`,
            else its only array of another name; and, if it has them, `log_variances` or `logvar` of
            that shape, and `labels`: (n,) class numbers or, in .npz, words.

    Raises:
        UserError: there is no such file, it is damaged or pickled, or its arrays are not codes.
    """
    if not path.is_file():
        raise UserError(
            f"there is no file of codes at '{path}'; give a .npy, .npz or .safetensors file"
        )
    if path.suffix.lower() not in (".npy", ".npz", ".safetensors"):
        raise UserError(f"'{path}' is no .npy, .npz or .safetensors file; {SAVE}")
    arrays = read_arrays(path)
    means = arrays[name_of_codes({n: tuple(a.shape) for n, a in arrays.items()}, path)]
    spread = next((arrays[name] for name in LOG_VARIANCES if name in arrays), None)
    labels, names = class_numbers(arrays["labels"], path) if "labels" in arrays else (None, ())
    return collect(_of_file(means, path), spread, labels, names)


def read_arrays(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """The arrays of a file by name, NumPy's or tensors; that of a .npy file is its means.

    Arguments:
        path: A .npy, .npz or .safetensors file.
        mapped: Whether to leave what can be left in the file, and not to look for NaN in it.

    Raises:
        UserError: there is no such file, or it is damaged or pickled.
    """
    if path.suffix.lower() == ".safetensors":
        return dict(read_tensors(path, finite=not mapped)[0])
    try:
        if mapped:
            return {"means": np.load(path, mmap_mode="c", allow_pickle=False)}
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            return {"means": content} if isinstance(content, np.ndarray) else dict(content)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, PermissionError):
            raise
        # Not the advice that follows in it, to load pickled objects nevertheless.
        reason = re.split(r"[;\n]|\. ", str(error))[0].rstrip(".")
        raise UserError(
            f"cannot read '{path}' ({reason}); pickled objects are never loaded, so {SAVE}"
        ) from None


def name_of_codes(shapes: dict[str, tuple[int, ...]], path: Path) -> str:
    """Name of the array that holds the codes, by the shapes of all arrays of a file.

    Raises:
        UserError: it cannot be told.
    """
    for name in MEANS:
        if name in shapes:
            return name
    others = [name for name in shapes if name not in BESIDE]
    if len(others) == 1:
        return others[0]
    seen = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    raise UserError(f"'{path}' holds {seen}; name the array of codes `means`")


def _of_file(array: np.ndarray | Tensor, path: Path) -> np.ndarray | Tensor:
    """The array, unless it holds something else than numbers."""
    if not isinstance(array, Tensor) and array.dtype.kind not in "fiub":
        raise UserError(f"'{path}' holds values of type {array.dtype}; {SAVE}")
    return array


def class_numbers(labels: np.ndarray | Tensor, path: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Class of each code and the classes' names, from integers (negative: unknown) or words.

    Raises:
        UserError: they are not one integer or word a code.
    """
    values = labels.numpy() if isinstance(labels, Tensor) else labels
    if values.ndim != 1 or values.dtype.kind not in "iubU":
        raise UserError(
            f"`labels` in '{path}' has the shape {values.shape} and type {values.dtype}; give an "
            "integer or word each"
        )
    known = values >= 0 if values.dtype.kind == "i" else np.ones(len(values), bool)
    names, numbers = np.unique(values[known], return_inverse=True)
    classes = np.full(len(values), -1, np.int64)
    classes[known] = numbers
    return torch.from_numpy(classes), tuple(str(name) for name in names)
