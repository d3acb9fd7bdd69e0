"""A run from given codes to a latent map, without images and without a VAE-GAN."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latent_atlas.codes.files import CodeSet
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.sample import KEPT, sample_codes
from latent_atlas.codes.stream import CodeFiles
from latent_atlas.config.run import Config
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import pick_device
from latent_atlas.runs import Run
from latent_atlas.shapes import Labels
from latent_atlas.training.run_files import write_codes

__all__ = ["fit"]

OVER = 2  # codes drawn for each that the training steps take


class Prepared(NamedTuple):
    """What is to be done with some codes.

    Attributes:
        parts: Codes and class numbers that the run keeps, by part.
        about: The content of manifest.json.
        fit_map: Fits the map, given `generator` and `log`.
        rows: Numbers of the codes in the arrays as they were given, by part.
    """

    parts: dict[str, tuple[Codes, Labels | None]]
    about: dict[str, Any]
    fit_map: Callable[..., LatentMap]
    rows: dict[str, Tensor]


def fit(
    collection: CodeSet | CodeFiles,
    config: Config,
    run: Run,
    *,
    log: Callable[[dict[str, Any]], None],
    embedded: Mapping[str, Any] | None = None,
) -> LatentMap:
    """Fit the map of given codes and write both into the run folder.

    config.json is written last and makes the folder a run: a fit that was interrupted starts anew.

    Arguments:
        collection: The codes; a share `config.data.held_out` of them is held out from training. Of
            those in `CodeFiles` a sample is drawn, and a part of it stays in the run.
        config: The map section is used, and the seed and the device of the train section.
        run: A folder that `Run.claim` has made.
        log: Called with each record of log.jsonl; `steps` in it is where training ends at most.
        embedded: Where the run has thumbnails of the images: what manifest.json says of them.

    Raises:
        UserError: no map can be fitted to these codes with these settings.
    """
    with run.hold():
        generator = torch.Generator(pick_device(config.train.device)).manual_seed(config.train.seed)
        run.rewind_log(0)

        def record(entry: dict[str, Any]) -> None:
            full = {"phase": "map", "steps": config.map.steps, **entry}
            run.log(full)
            log(full)

        if isinstance(collection, CodeFiles):
            prepared = _sampled(collection, config, generator)
        else:
            prepared = _split(collection, config, generator)
        parts, about, fit_map, rows = prepared
        latent_map = fit_map(generator=generator, log=record)
        write_codes(parts, run, rows=None if embedded is None else rows)
        run.write_json("manifest.json", about | dict(embedded or {}))
        run.count_records()
        latent_map.save(run.file("map.safetensors"))
        run.begin(replace(config, model=replace(config.model, latent_dim=latent_map.dimension)))
        return latent_map


def _split(collection: CodeSet, config: Config, generator: torch.Generator) -> Prepared:
    """All codes, split at random."""
    train, held_out = collection.split(config.data.held_out, generator=generator)
    parts = {"train": train, "held_out": held_out}
    counts = {f"n_{name}": len(part.codes) for name, part in parts.items()}
    about = {"n": sum(counts.values()), **counts, "label_names": list(train.label_names)}
    settings = {"config": config.map, "held_out": held_out.codes, "warn": False}
    return Prepared(
        {name: (part.codes, part.labels) for name, part in parts.items()},
        about,
        partial(LatentMap.fit, *train.arrays(), **settings),
        {name: part.rows for name, part in parts.items()},
    )


def _sampled(files: CodeFiles, config: Config, generator: torch.Generator) -> Prepared:
    """A sample of the codes, which has several for each that training draws."""
    draws = config.map.steps * config.map.batch_size
    found = sample_codes(files, config.data.held_out, max(OVER * draws, KEPT))
    counts = {f"n_{name}": count for name, count in found.count.items()}
    about = {
        "n": files.count,
        **counts,
        "label_names": list(found.label_names),
        "path": str(files.place.absolute()),
        "fitted_to": {"train": len(found.train), "held_out": len(found.held_out)},
    }
    train, held_out = (some.to(generator.device) for some in (found.train, found.held_out))
    settings = {"shape": files.shape, "warnings": found.warnings}
    fit_map = partial(LatentMap.fit_checked, train, held_out, config.map, **settings)
    return Prepared(found.kept, about, fit_map, {})
