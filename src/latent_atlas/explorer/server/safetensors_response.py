"""Arrays on the wire: the safetensors format, with facts as JSON in its metadata.

Eight bytes say the header's length, little-endian; the header is JSON and says of each array its type, its shape and
where its bytes are; the rest are these bytes. `__metadata__` has one entry, `json`: the facts.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import Response
from safetensors.numpy import save
from torch import Tensor

from latent_atlas.shapes import Images

__all__ = ["ARRAYS", "PNG", "Arrays", "finite", "pixels"]

MEDIA_TYPE = "application/x-safetensors"

ARRAYS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Arrays in the safetensors format; facts as JSON under `json` of its metadata.",
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


class Arrays(Response):
    """Named arrays with facts: floats in single precision, whole numbers in 32 bits, bytes and booleans as bytes."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        arrays: Mapping[str, Tensor | np.ndarray],
        facts: Mapping[str, Any] | None = None,
        status_code: int = 200,
    ) -> None:
        """Arguments: arrays by name; facts of numbers, words, lists and mappings, infinite numbers as null."""
        plain = {name: _plain(array) for name, array in arrays.items()}
        super().__init__(
            save(plain, {"json": json.dumps(finite(facts or {}), allow_nan=False)}), status_code
        )


def pixels(images: Images) -> Tensor:
    """Images (n, c, h, w) in [0, 1] as bytes (n, h, w, c), which is how a canvas takes them."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)


def finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not know.

    Examples:
        >>> finite({"residual": [1.0, float("nan")]})
        {'residual': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(array: Tensor | np.ndarray) -> np.ndarray:
    numbers = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    kind = numbers.dtype.kind
    return np.ascontiguousarray(
        numbers if numbers.dtype == np.uint8 else numbers.astype(TYPES[kind], copy=False)
    )
