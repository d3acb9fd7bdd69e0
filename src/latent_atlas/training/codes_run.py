"""A run from anyone's codes to map, with no images and no model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from latent_atlas.codes.files import CodeSet
from latent_atlas.config.run import Config
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import pick_device
from latent_atlas.runs import Run, write_tensors

__all__ = ["fit"]


def fit(
    collection: CodeSet, config: Config, run: Run, *, log: Callable[[dict[str, Any]], None]
) -> LatentMap:
    """Learn the map of a collection, and leave both in the run folder.

    The folder becomes a run with its last file, config.json: a fit is begun again where it was interrupted.

    Arguments:
        collection: The codes; the share `config.data.held_out` of them is only judged by.
        config: Of the map; the seed and the device are those of its train section.
        run: A folder that `Run.claim` has made.
        log: Called with each record written to log.jsonl; `steps` says where learning ends.

    Raises:
        UserError: no map can be learned from such codes, or so; the sentence says why.
    """
    generator = torch.Generator(pick_device(config.train.device)).manual_seed(config.train.seed)
    run.rewind_log(0)

    def record(entry: dict[str, Any]) -> None:
        full = {"phase": "map", "steps": config.map.steps, **entry}
        run.log(full)
        log(full)

    train, held_out = collection.split(config.data.held_out, generator=generator)
    settings = {
        "config": config.map,
        "held_out": held_out.codes,
        "generator": generator,
        "log": record,
    }
    latent_map = LatentMap.fit(*train.arrays(), warn=False, **settings)
    _keep_codes({"train": train, "held_out": held_out}, run)
    latent_map.save(run.file("map.safetensors"))
    run.begin(replace(config, model=replace(config.model, latent_dim=latent_map.dimension)))
    return latent_map


def _keep_codes(parts: dict[str, CodeSet], run: Run) -> None:
    """Write the codes and what is known of them into the run folder."""
    tensors = {}
    for part, some in parts.items():
        tensors[f"{part}.means"] = some.codes.means
        if some.codes.log_variances is not None:
            tensors[f"{part}.log_variances"] = some.codes.log_variances
        if some.labels is not None:
            tensors[f"{part}.labels"] = some.labels
    write_tensors(run.file("codes.safetensors"), tensors)
    counts = {f"n_{part}": len(some.codes) for part, some in parts.items()}
    names = list(parts["train"].label_names)
    run.write_json("manifest.json", {"n": sum(counts.values()), **counts, "label_names": names})
