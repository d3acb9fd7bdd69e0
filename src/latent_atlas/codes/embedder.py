"""Embedders: a pretrained network, or any function, that makes codes of images."""

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latent_atlas.codes.huggingface import PREFIX, HuggingFaceFeatures
from latent_atlas.device import pick_device
from latent_atlas.errors import UserError, printable, require
from latent_atlas.nn.efficientnet import EfficientNetFeatures, efficientnet_weights
from latent_atlas.progress import steps
from latent_atlas.shapes import Latents, as_floats, to_float

__all__ = ["EFFICIENTNET", "Embedder", "digest_of", "embedder", "imported", "side_of"]

EFFICIENTNET = "efficientnet"
KNOWN = "efficientnet, hf:OWNER/NAME of the Hugging Face hub"
SIDE = 224  # pixels, as EfficientNet was trained
BATCH = 32  # images at a time
LARGEST = 1e18  # coordinate whose square single precision holds


@dataclass(frozen=True)
class Embedder:
    """Images to codes.

    Attributes:
        name: "efficientnet", "hf:OWNER/NAME", "hf:FOLDER", or "module:function".
        function: RGB images (n, 3, h, w) in [0, 1] to codes (n, d).
        device: Where the images are put.
        precision: "32" or "bf16", in which the function computes.
    """

    name: str
    function: Callable[[Tensor], Any]
    device: torch.device
    precision: str = "32"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Latents:
        """Codes of images, shape (n, d), in single precision on the CPU.

        Arguments:
            images: Bytes in 0..255 or floats in [0, 1], shape (n, c, h, w), of 1 to 4 channels.

        Raises:
            UserError: the function makes no codes of them.
        """
        return torch.cat([self._codes(part) for part in steps("batches", images.split(BATCH))])

    def _codes(self, images: Tensor) -> Latents:
        pixels = _rgb(to_float(images.to(self.device))).contiguous(
            memory_format=torch.channels_last
        )
        bf16 = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            codes = as_floats(self._computed(pixels)).float().cpu()
        require(
            codes.ndim == 2 and len(codes) == len(images) and codes.shape[1] > 0,
            f"{self.name} makes {tuple(codes.shape)} of images {tuple(images.shape)}; it has to "
            f"return codes ({len(images)}, d)",
        )
        require(
            bool((codes.abs() < LARGEST).all()),
            f"{self.name} makes codes that are not finite, or too large to be squared",
        )
        return codes

    def _computed(self, pixels: Tensor) -> Any:
        try:
            return self.function(pixels)
        except Exception as error:  # a function of the user may do anything
            raise UserError(
                f"{self.name} failed on images {tuple(pixels.shape)} with {type(error).__name__}: "
                f"{printable(str(error).partition(chr(10))[0])}"
            ) from error


def _rgb(images: Tensor) -> Tensor:
    """Three channels of 1 to 4; what is transparent is laid over white."""
    colours = images
    if images.shape[1] in (2, 4):
        alpha = images[:, -1:]
        colours = images[:, :-1] * alpha + 1 - alpha
    return colours.expand(-1, 3, -1, -1)


@lru_cache(maxsize=1)
def embedder(name: str, device: str, precision: str) -> Embedder:
    """The embedder of a name, once per process.

    Arguments:
        name: "efficientnet"; "hf:OWNER/NAME" or "hf:FOLDER", as for `HuggingFaceFeatures`; or
            "module:function" for a function or an `nn.Module` of a module that can be imported
            here.
        device: As for `pick_device`.
        precision: "32" or "bf16".

    Raises:
        UserError: there is no such network or function.
    """
    place = pick_device(device)
    function = _function(name)
    if isinstance(function, nn.Module):
        function.eval().to(place)
        function.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Embedder(name, function, place, precision)


def digest_of(name: str) -> str:
    """SHA-256 of the weights, or of the file with the function.

    Raises:
        UserError: there is no such network or function.
    """
    if name == EFFICIENTNET:
        return efficientnet_weights()[1]
    function = _function(name)
    whole = hashlib.sha256()
    if isinstance(function, nn.Module):
        for key, value in function.state_dict().items():
            whole.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            whole.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return whole.hexdigest()
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
        whole.update(Path(file or "").read_bytes())
    except (TypeError, OSError):  # a function without a file, such as one written in C
        whole.update(name.encode())
    return whole.hexdigest()


def side_of(name: str) -> int:
    """The side of the squares that a model was trained on, in pixels; errors as for `digest_of`."""
    function = _function(name) if name.startswith(PREFIX) else None
    return function.side if isinstance(function, HuggingFaceFeatures) else SIDE


@lru_cache(maxsize=1)
def _function(name: str) -> Callable[[Tensor], Any]:
    """The network or the function of a name, loaded once."""
    if name.startswith(PREFIX):
        return HuggingFaceFeatures(name)
    return EfficientNetFeatures() if name == EFFICIENTNET else imported(name, "model", KNOWN)


def imported(name: str, kind: str, known: str) -> Callable[..., Any]:
    """The function called "module:function".

    Arguments:
        name: Of the function.
        kind: What it is, for a sentence.
        known: The names that are known beside such functions.

    Raises:
        UserError: there is none.
    """
    module, colon, attribute = name.partition(":")
    require(
        bool(module and colon and attribute),
        f"there is no {kind} '{name}'; choose {known}, or module:function for one of your own",
    )
    with _working_folder():
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise UserError(
                f"{kind} '{name}': cannot import '{module}' ({error}); run the command in the "
                "folder of that module, or install it"
            ) from None
    function = getattr(found, attribute, None)
    if not callable(function):
        raise UserError(f"{kind} '{name}': module '{module}' has no function '{attribute}'")
    return function


@contextmanager
def _working_folder() -> Any:
    """Let modules of the working folder be imported, as `python -m` does."""
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        sys.path.remove(os.getcwd())
