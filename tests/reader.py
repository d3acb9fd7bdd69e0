"""A reader of the documentation: what they have who read it, and how they run its Python blocks."""

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from latent_atlas.config.density_ratio import MapConfig

__all__ = ["ROOT", "run_blocks"]

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
QUICK_MAP = partial(MapConfig, width=16, depth=1, steps=60, check_every=20)


def given() -> dict[str, object]:
    """What a reader has who comes with codes, or with an autoencoder."""
    generator = torch.Generator().manual_seed(0)

    def encode(images: Tensor) -> Tensor:
        return 4 * torch.nn.functional.avg_pool2d(images, 4).flatten(1) - 2

    def decode(latents: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(
            (latents.unflatten(1, (1, 2, 2)) + 2) / 4, scale_factor=4
        )

    return {
        "codes": torch.randn(500, 3, generator=generator),
        "images": torch.rand(200, 1, 8, 8, generator=generator),
        "encode": encode,
        "decode": decode,
        "vae": SimpleNamespace(encode=encode, decode=decode),
    }


def run_blocks(page: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a page's Python as one program, its maps learned in few steps; how many blocks there are."""
    for module in ("atlas.atlas", "density_ratio.latent_map"):
        monkeypatch.setattr(f"latent_atlas.{module}.MapConfig", QUICK_MAP)
    blocks, names = BLOCK.findall(page.read_text()), given()
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    return len(blocks)
