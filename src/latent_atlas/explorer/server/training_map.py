"""The map of a run in training, as far as it is."""

from typing import Any

import torch

from latent_atlas.attributes.directions import principal_components
from latent_atlas.boundary.gaussian import PriorBoundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.density_ratio.fit import preview
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.explorer.cache import window_of
from latent_atlas.explorer.server.safetensors_response import Arrays
from latent_atlas.explorer.server.training_preview import STATE, weights_of
from latent_atlas.geometry.planes import Plane, chart
from latent_atlas.nn.latent_discriminator import Ensemble
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import ByteImages, Latents, to_float
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE

__all__ = ["grown", "growth"]

GROWING, EXAMPLES = "growing.safetensors", "examples.safetensors"
RESOLUTION = 96  # pixels along each side
AROUND = 0.25  # of the side of the codes, where the density falls off
BATCH = 32  # images encoded at a time


def grown(run: Run) -> int | None:
    """When the map last changed, in milliseconds; None before there is one."""
    files = [run.file(name) for name in (STATE, GROWING)]
    if not (
        files[0].is_file() and run.file(EXAMPLES).is_file() and run.config().model.latent_dim > 1
    ):
        return None
    return max(file.stat().st_mtime_ns // 10**6 for file in files if file.is_file())


@torch.no_grad()
def growth(run: Run) -> Arrays:
    """Held-out examples on the plane in which their codes vary most, and the map there so far.

    While E trains, the codes and D_z are those of the last checkpoint, where D_z exists only if it
    trains beside E. Later, D_z is that of its last check.

    Raises:
        UserError: there is no checkpoint.
    """
    kept, _ = read_tensors(run.file(EXAMPLES))
    if run.file(GROWING).is_file():
        learned, _ = read_tensors(run.file("codes.safetensors"), prefix="held_out.means")
        step, codes = None, learned["held_out.means"][: len(kept["images"])]
        so_far = LatentMap.load(run.file(GROWING))
    else:
        step, codes, so_far = _at_checkpoint(run, kept["images"])
    plane = _plane(codes, kept["images"])
    window = window_of(plane, codes, AROUND)
    arrays = {"xy": plane.project(codes), "origin": plane.origin, "axes": plane.axes}
    arrays |= {"labels": kept["labels"]} if "labels" in kept else {}
    names = (run.read_json("manifest.json") or {}).get("label_names", [])
    facts: dict[str, Any] = {
        "step": step,
        "window": vars(window),
        "threshold": None,
        "classes": names,
    }
    if so_far is not None:
        fields = chart(so_far, plane, window, RESOLUTION).fields
        arrays |= fields
        facts["threshold"] = so_far.threshold(OFF_MANIFOLD_SHARE) if "log_prob" in fields else None
    return Arrays(arrays, facts)


def _at_checkpoint(run: Run, images: ByteImages) -> tuple[int, Latents, LatentMap | None]:
    """The step, the codes of the images by the averaged encoder, and the map, if D_z trains too."""
    config = run.config()
    tensors, about = read_tensors(run.file(STATE), prefix="average/encoder.")
    model = VAEGAN(config.model, config.map).eval()
    model.encoder.load_state_dict(weights_of(tensors, "average/encoder."))
    parts = [model.encoder(to_float(some)) for some in images.split(BATCH)]
    codes = Codes(*(torch.cat(column) for column in zip(*parts, strict=True)))
    if config.train.mode == "separate":
        return int(about["step"]), codes.means, None
    tensors, _ = read_tensors(run.file(STATE), prefix="model/latent_discriminator.")
    model.latent_discriminator.load_state_dict(weights_of(tensors, "model/latent_discriminator."))
    codes_of_map = codes.points() if config.map.z_real == "means" else codes
    so_far = preview(
        Ensemble([model.latent_discriminator]), codes_of_map, PriorBoundary(model.dimension)
    )
    return int(about["step"]), codes.means, LatentMap(*so_far[:4])


def _plane(codes: Latents, images: ByteImages) -> Plane:
    """The plane in which the codes vary most, aligned with the principal components of the images.

    While E trains, the principal components of the codes change their order and signs from one
    checkpoint to the next. Those of the images are fixed; so the axes are rotated or mirrored to
    agree with them as well as possible.

    References:
        A generalized solution of the orthogonal Procrustes problem, Schönemann 1966.
    """
    plane = Plane(codes.mean(dim=0), principal_components(codes, 2)[0])
    pixels = images.flatten(1).float()
    fixed = (pixels - pixels.mean(dim=0)) @ principal_components(pixels, 2)[0].T
    u, _, v = torch.linalg.svd(fixed.T @ plane.project(codes))
    return Plane(plane.origin, u @ v @ plane.axes)
