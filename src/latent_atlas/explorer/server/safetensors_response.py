"""Responses of arrays: the safetensors format, with facts as JSON in its metadata.

The first eight bytes are the header's length, little-endian. The header is JSON and gives the type,
the shape and the position of each array; the rest are the bytes of the arrays. `__metadata__` has
one entry, `json`: the facts.
"""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import Response
from safetensors.numpy import save
from torch import Tensor

from latent_atlas.runs import json_safe
from latent_atlas.shapes import Images

__all__ = ["ARRAYS", "PNG", "Arrays", "pixels"]

MEDIA_TYPE = "application/x-safetensors"

ARRAYS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Arrays in the safetensors format; facts under `json` of the metadata.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""How an answer of arrays is documented."""

PNG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A picture.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""How a picture is documented."""

TYPES = {"f": np.float32, "i": np.int32, "b": np.uint8}
SHORT = (np.uint8, np.uint16, np.int16, np.float16)  # sent as they are


class Arrays(Response):
    """Named arrays with facts.

    Floats have single precision or half, integers 32 bits or 16; bytes and booleans are bytes.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        arrays: Mapping[str, Tensor | np.ndarray],
        facts: Mapping[str, Any] | None = None,
        status_code: int = 200,
        *,
        compressed: bool = False,
    ) -> None:
        """Arguments: arrays by name; facts as JSON values, infinite numbers as null; whether to
        send it as gzip, which pays for bytes that are mostly alike.
        """
        plain = {name: _plain(array) for name, array in arrays.items()}
        content = save(plain, {"json": json.dumps(json_safe(facts or {}), allow_nan=False)})
        if compressed:
            content = gzip.compress(content, compresslevel=1)
        super().__init__(content, status_code, {"Content-Encoding": "gzip"} if compressed else None)


def pixels(images: Images) -> Tensor:
    """Images (n, c, h, w) in [0, 1] as bytes (n, h, w, c), which is how a canvas takes them."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)


def _plain(array: Tensor | np.ndarray) -> np.ndarray:
    numbers = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    kind = numbers.dtype.kind
    return np.ascontiguousarray(
        numbers if numbers.dtype in SHORT else numbers.astype(TYPES[kind], copy=False)
    )
