"""A run from given codes to a latent map, without images and without a VAE-GAN."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from latent_atlas.codes.files import CodeSet
from latent_atlas.config.run import Config
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import pick_device
from latent_atlas.runs import Run
from latent_atlas.training.run_files import write_codes

__all__ = ["fit"]


def fit(
    collection: CodeSet, config: Config, run: Run, *, log: Callable[[dict[str, Any]], None]
) -> LatentMap:
    """Fit the map of given codes and write both into the run folder.

    config.json is written last and makes the folder a run: a fit that was interrupted starts anew.

    Arguments:
        collection: The codes; a share `config.data.held_out` of them is held out from training.
        config: The map section is used, and the seed and the device of the train section.
        run: A folder that `Run.claim` has made.
        log: Called with each record of log.jsonl; `steps` in it is where training ends at most.

    Raises:
        UserError: no map can be fitted to these codes with these settings.
    """
    with run.hold():
        return _fit(collection, config, run, log)


def _fit(
    collection: CodeSet, config: Config, run: Run, log: Callable[[dict[str, Any]], None]
) -> LatentMap:
    """What `fit` does in the folder held for it."""
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
    parts = {"train": train, "held_out": held_out}
    write_codes({name: (part.codes, part.labels) for name, part in parts.items()}, run)
    counts = {f"n_{name}": len(part.codes) for name, part in parts.items()}
    about = {"n": sum(counts.values()), **counts, "label_names": list(train.label_names)}
    run.write_json("manifest.json", about)
    run.count_records()
    latent_map.save(run.file("map.safetensors"))
    run.begin(replace(config, model=replace(config.model, latent_dim=latent_map.dimension)))
    return latent_map
