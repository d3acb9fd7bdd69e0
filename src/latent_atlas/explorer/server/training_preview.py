"""Reconstructions and samples of a run in training, by its last checkpoint."""

import torch
from torch import Tensor

from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import png
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import to_float

__all__ = ["STATE", "newest", "sketch", "weights_of"]

SHOWN = 16  # images of each kind
STATE = "state.safetensors"


def newest(run: Run) -> int | None:
    """The step of the last checkpoint; None where there is none yet."""
    if not run.file(STATE).is_file():
        return None
    return int(read_tensors(run.file(STATE), prefix=None)[1]["step"])


@torch.no_grad()
def sketch(run: Run) -> bytes:
    """Held-out images, their reconstructions, and decoded prior samples, as a PNG file.

    The prior samples are the same codes every time, so successive pictures show how G changes.

    Raises:
        UserError: there is no checkpoint.
    """
    config = run.config()
    tensors, about = read_tensors(run.file(STATE), prefix="average/")
    model = VAEGAN(config.model, config.map).eval()
    for name in ("encoder", "decoder"):
        getattr(model, name).load_state_dict(weights_of(tensors, f"average/{name}."))
    rows: dict[str, Tensor] = {}
    if run.file("examples.safetensors").is_file():
        originals = to_float(read_tensors(run.file("examples.safetensors"))[0]["images"][:SHOWN])
        rows = {"held out": originals, "decoded": model.reconstruct(originals)}
    draws = torch.randn(SHOWN, model.dimension, generator=torch.Generator().manual_seed(0))
    rows["from the prior"] = model.decode(draws)
    images = {name: some.clamp(0, 1).numpy() for name, some in rows.items()}
    return png(comparison_sheet(images, f"after {int(about['step']):,} steps"))


def weights_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights of one network."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
