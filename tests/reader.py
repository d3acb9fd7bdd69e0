"""A reader of the documentation: what they have who read it, and how they run its Python blocks."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.codes.posterior import Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density_ratio import fit, latent_map
from latent_atlas.density_ratio.fit import FittedRatio
from latent_atlas.sampling import MALA
from latent_atlas.sampling.registry import SAMPLERS

__all__ = ["ROOT", "run_blocks"]

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
QUICK = {"width": 16, "depth": 1, "steps": 40, "check_every": 20, "batch_size": 128}  # maps


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
    """Run a page's Python as one program, all that it learns learned in few steps; how many blocks there are."""

    def fit_quickly(train: Codes, test: Codes, config: MapConfig, **rest: Any) -> FittedRatio:
        return fit.fit_density_ratio(train, test, replace(config, **QUICK), **rest)

    monkeypatch.setattr(latent_map, "fit_density_ratio", fit_quickly)
    monkeypatch.setattr(ClassProbe, "fit", partial(ClassProbe.fit, steps=100))
    monkeypatch.setitem(SAMPLERS, "mala", partial(MALA, warmup=20, thin=2))
    blocks, names = BLOCK.findall(page.read_text()), given()
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    return len(blocks)
