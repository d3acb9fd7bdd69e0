"""Array types, the conversion of arrays of any kind to tensors, and `batched`.

`n` counts images or codes, `c h w` are an image's channels, height and width, and `d` is the
dimension of the latent space. The axes are checked when the tests run; elsewhere the names only
inform the reader.
"""

import functools
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor

__all__ = [
    "Angles",
    "ArrayLike",
    "ByteImages",
    "Films",
    "FrameMask",
    "Images",
    "Labels",
    "Latents",
    "Located",
    "Mask",
    "Pixels",
    "Points",
    "Scalar",
    "Trace",
    "Values",
    "as_array",
    "as_floats",
    "as_images",
    "as_labels",
    "as_row_or_rows",
    "as_rows",
    "batched",
    "converts",
    "to_float",
]

ArrayLike = Any
"""A tensor of any type on any device, a NumPy array, a DataFrame, a PIL image, or lists of these
or of numbers: what `as_array` makes a tensor of.
"""

Images = Float[Tensor, "n c h w"]  # in [0, 1]
ByteImages = UInt8[Tensor, "n c h w"]  # in 0..255, as stored and as sent to a device
Labels = Int[Tensor, " n"]  # class numbers; -1 where an image has none
FrameMask = Bool[Tensor, "frames n"]  # True for the frames of paths that are meant
Mask = Bool[Tensor, " n"]  # True for the images or codes that are meant
Latents = Float[Tensor, "n d"]
Located = Float[Tensor, "n ..."]  # codes as rows (n, d), or in an autoencoder's own shape
Points = Float[Tensor, "frames n d"]  # n paths of as many frames each
Films = Float[Tensor, "frames n c h w"]  # their images in [0, 1]
Trace = Float[Tensor, "steps n d"]  # every step of n walks
Angles = Float[Tensor, "_"]  # noise levels in radians, one per code or one for all
Values = Float[Tensor, " n"]  # one number per image or code
Scalar = Float[Tensor, ""]


@runtime_checkable
class Pixels(Protocol):
    """Bytes in 0..255 of shape (n, c, h, w), which are read by their rows."""

    @property
    def shape(self) -> Any:
        """(n, c, h, w)."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        ...

    def __len__(self) -> int:
        """n, the number of images."""
        ...

    def __getitem__(self, which: Any, /) -> Tensor:
        """The images at a slice, a mask or places, as a tensor in memory; one image for a number.

        Where an object keeps its images on the disk, only these are read.
        """
        ...


def batched(function: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """`function` of many rows, computed `size` rows at a time so that it fits in memory.

    Arguments:
        function: Maps (n, ...) to (n, ...), each row of the result depending on its own row only.
        rows: Shape (n, ...).
        size: Rows per call, 1 or more.

    Returns:
        The results of all calls as one tensor, shape (n, ...).
    """
    return torch.cat([function(part) for part in rows.split(size)])


def to_float(images: Tensor) -> Tensor:
    """Images as floats in [0, 1]: bytes are divided by 255, floats stay as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


PIXEL_TOLERANCE = 1e-3  # by which resizing and arithmetic may leave [0, 1]; beyond it is a mistake
SOME = 3  # shapes or values that a sentence names


def as_array(values: ArrayLike) -> Tensor:
    """The same numbers as a dense tensor of their type, with its gradient if it has one.

    A PIL image becomes (c, h, w), a list of arrays one array with a further axis.

    Raises:
        UserError: these are no numbers, or lists of different lengths.
    """
    if isinstance(values, Tensor):
        return _dense(values)
    if isinstance(values, Image.Image):
        return _pixels(values)
    if isinstance(values, list | tuple) and any(
        isinstance(value, Tensor | Image.Image | list | tuple) for value in values
    ):
        return _stacked(values)
    return _of_numpy(values)


def as_floats(values: ArrayLike) -> Tensor:
    """The same numbers in single precision, or in double precision if a tensor has it.

    Raises:
        UserError: as for `as_array`.
    """
    array = as_array(values)
    kept = isinstance(values, Tensor) and array.dtype == torch.float64
    return array if kept or array.dtype == torch.float32 else array.float()


def as_rows(values: ArrayLike, dimension: int | None = None) -> Latents:
    """Codes as floating-point rows (n, d).

    Raises:
        UserError: these are no numbers, or have another shape, or not `dimension` coordinates.
    """
    rows = as_floats(values)
    if rows.ndim != 2 or dimension not in (None, rows.shape[1]):
        _refuse(f"codes must have shape (n, {dimension or 'd'}); these have {tuple(rows.shape)}")
    return rows


def as_row_or_rows(values: ArrayLike) -> Latents:
    """Codes as floating-point rows (n, d), from (n, d) or from one code (d,); without gradients.

    Raises:
        UserError: these are no numbers, or have another shape.
    """
    rows = as_floats(values).detach()
    if rows.ndim not in (1, 2):
        _refuse(f"codes must have shape (n, d) or (d,); these have {tuple(rows.shape)}")
    return torch.atleast_2d(rows)


def as_images(values: ArrayLike) -> Tensor:
    """Images as bytes in 0..255, or as floats in [0, 1] in single precision, without gradients.

    Values up to 0.001 outside of [0, 1] are clamped.

    Raises:
        UserError: these are no numbers, or are not in [0, 1].
    """
    images = as_array(values).detach()
    if images.dtype == torch.uint8 or images.numel() == 0:
        return images
    low, high = (bound.item() for bound in images.float().aminmax())
    if not low >= -PIXEL_TOLERANCE or not high <= 1 + PIXEL_TOLERANCE:
        _refuse_range(images, low, high)
    if not (images.is_floating_point() or images.dtype == torch.bool):
        kind = str(images.dtype).removeprefix("torch.")
        _refuse(f"images must be bytes, or floats in [0, 1]; these are {kind}: convert them")
    images = images.float()
    return images.clamp(0, 1) if low < 0 or high > 1 else images


def as_labels(values: ArrayLike, count: int, names: Iterable[str] = ()) -> Labels:
    """Class numbers, one for each of `count` images: indices into `names`, or -1.

    Raises:
        UserError: these are no whole numbers, not as many, below -1, or without a name.
    """
    labels, names = as_array(values).detach(), tuple(names)
    if labels.is_floating_point():
        _refuse(
            f"labels must be whole numbers, -1 for an image without one; these are "
            f"{str(labels.dtype).removeprefix('torch.')}: round them, or give numbers that are "
            "measured as a property and not as labels"
        )
    if labels.shape != (count,):
        _refuse(
            f"labels must have one number per code, ({count},); they have {tuple(labels.shape)}"
        )
    labels = labels.long()
    bad = (labels < -1) | (labels >= (len(names) or torch.inf))
    if bad.any():
        row = int(bad.nonzero()[0])
        known = f"0 to {len(names) - 1}, by {len(names)} names" if names else "0 or more"
        _refuse(
            f"labels must be {known}, or -1; {int(bad.sum())} of {count} are others, the first, at "
            f"row {row}, is {int(labels[row])}: count classes from 0 and name each"
        )
    return labels


def converts(methods: Iterable[str], kind: type) -> None:
    """Have methods of a class take array-likes, which its `_checked_codes` converts."""
    from latent_atlas.errors import wrap_methods  # as in `_refuse`

    wrap_methods(_converting, methods, kind)


def _converting(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, latents: ArrayLike, *args: Any, **kwargs: Any) -> Any:
        return method(self, self._checked_codes(latents), *args, **kwargs)

    return call


def _dense(tensor: Tensor) -> Tensor:
    """The tensor as one of plain real numbers in memory."""
    if tensor.is_meta or tensor.is_complex() or tensor.is_nested:
        _refuse(f"an array must hold real numbers; this is a {_named(tensor)}")
    if tensor.is_quantized:
        return tensor.dequantize()
    if tensor.layout != torch.strided:
        return tensor.to_dense()
    return tensor.long() if tensor.dtype in _UNSIGNED else tensor


_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # which torch can hardly compute with


def _named(tensor: Tensor) -> str:
    kind = "nested" if tensor.is_nested else str(tensor.dtype).removeprefix("torch.")
    return f"{kind} tensor" + (" without values (device meta)" if tensor.is_meta else "")


def _pixels(image: Image.Image) -> Tensor:
    """A PIL image, shape (c, h, w), with the channels that it has."""
    mode = _CONVERTED.get(image.mode, image.mode)
    try:
        if image.mode in ("P", "PA") and image.has_transparency_data:
            mode = "RGBA"
        pixels = _of_numpy(np.asarray(image if mode == image.mode else image.convert(mode)))
    except (OSError, SyntaxError, ValueError) as error:
        _refuse(f"an image of mode {image.mode} cannot be read ({error}); leave it out")
    return pixels[None] if pixels.ndim == 2 else pixels.movedim(2, 0)


_CONVERTED = {"1": "L"} | dict.fromkeys(("P", "PA", "CMYK", "YCbCr", "HSV", "RGBX"), "RGB")


def _stacked(values: list[Any] | tuple[Any, ...]) -> Tensor:
    """The arrays of a list as one."""
    try:
        parts = [as_array(value) for value in values]
    except RecursionError:
        _refuse("an array was given as lists within lists without an end; give an array")
    shapes = list(dict.fromkeys(tuple(part.shape) for part in parts))
    if len(shapes) > 1:
        seen = ", ".join(map(str, shapes[:SOME]))
        _refuse(f"the parts of a list must have one shape; these have {seen}: give equal ones")
    return torch.stack([part.to(parts[0].device) for part in parts])


def _of_numpy(values: ArrayLike) -> Tensor:
    """What NumPy makes an array of, in a type that torch knows."""
    if isinstance(values, str | PathLike):
        _refuse(
            f"{str(values)[:80]!r} is text and no array; if it is the path of a file, load it, as "
            "numpy.load does"
        )
    try:
        array = np.asarray(values)
    except Exception as error:  # whatever the object's own conversion raises
        reason = str(error).partition("\n")[0]
        _refuse(f"a {type(values).__name__} is no array of numbers ({reason}); give an array")
    if np.ma.is_masked(values):
        _refuse("a masked array has values that are missing; leave their rows out")
    if array.dtype.kind == "O" and all(_is_real(value) for value in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiub":
        _check_columns(values)
        _refuse(
            f"an array must hold real numbers; this {type(values).__name__} holds values of type "
            f"{array.dtype}: give numbers, without missing values"
        )
    # torch knows neither foreign byte orders nor floats of more than 64 bits.
    wide = array.dtype.kind in "fu" and array.dtype.itemsize >= 8
    unsigned = array.dtype.kind == "u" and array.dtype.itemsize > 1
    kind = np.float64 if wide else np.int64 if unsigned else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(array, kind, order="C"))


def _check_columns(frame: Any) -> None:
    """Refuse a DataFrame with columns that are no numbers, or have gaps, by their names."""
    if not (hasattr(frame, "columns") and hasattr(frame, "items")):
        return
    names = [
        str(name) for name, column in frame.items() if not all(map(_is_real, np.asarray(column)))
    ]
    if names:
        more = f" and {len(names) - SOME} more" if len(names) > SOME else ""
        _refuse(
            f"{len(names)} of {len(frame.columns)} columns of this DataFrame are no numbers, or "
            f"have gaps: {', '.join(names[:SOME])}{more}; leave them out, as "
            "frame.drop(columns=[...]) does"
        )


def _is_real(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, np.complexfloating)


def _refuse_range(images: Tensor, low: float, high: float) -> NoReturn:
    """Refuse images that are not in [0, 1], with what they may be."""
    bad = ~images.flatten(1).isfinite().all(dim=1) if images.ndim > 3 else ~images.isfinite().all()
    if bad.any():
        row = int(bad.flatten().nonzero()[0])
        _refuse(
            f"{int(bad.sum())} of {bad.numel()} images have NaN or infinite pixels, the first is "
            f"number {row}; leave them out"
        )
    if low >= -1 - PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE:
        how = ", as (x + 1) / 2 does"
    else:
        how = ", as x / 255 does" if low >= 0 and 1 < high <= 255 else ""
    _refuse(
        f"images must be in [0, 1], or bytes; these go from {low:g} to {high:g}: bring them to "
        f"[0, 1]{how}"
    )


def _refuse(sentence: str) -> NoReturn:
    """Raise a UserError with this sentence."""
    from latent_atlas.errors import UserError  # the types above are below everything, errors too

    raise UserError(sentence) from None
