"""A run from images to a latent map, read from top to bottom."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latent_atlas.codes.augmented import Change, with_copies
from latent_atlas.codes.codec import reconstruction_errors
from latent_atlas.codes.posterior import Codes, as_codes
from latent_atlas.config.run import Config
from latent_atlas.data.imageset import ImageSet
from latent_atlas.data.pixels import batches
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.density_ratio.train import training_precision
from latent_atlas.device import Engine, pick_device, pick_precision
from latent_atlas.errors import Interrupted
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.progress import doing
from latent_atlas.runs import Run, write_tensors
from latent_atlas.shapes import Pixels, to_float
from latent_atlas.training.batches import Batches, seeded_generator
from latent_atlas.training.history import Checkpoint, History, Log, restore
from latent_atlas.training.interrupt import stop_request
from latent_atlas.training.processes import ALONE, Processes
from latent_atlas.training.run_files import check_images, write_codes, write_examples
from latent_atlas.training.step import TrainStep

__all__ = ["assist", "encode_all", "fit_map", "take_steps", "train", "train_model"]

FEW_DECAY = 1.0  # weight decay of D_z where it learns from copies of few images, too


def train(
    images: ImageSet,
    config: Config,
    run: Run,
    *,
    log: Log,
    resume: bool = False,
    processes: Processes = ALONE,
) -> LatentMap:
    """Train the networks, encode all images, fit the map of their codes, and return the map.

    No other process can write into the folder meanwhile. Of several processes that train together,
    the first calls this function, and the others call `assist`.

    Arguments:
        images: The image set; its held-out part is not trained on.
        config: The whole configuration.
        run: A folder that `Run.begin` has made a run.
        log: Called with each record of log.jsonl; `steps` in it is where its phase ends.
        resume: Whether to continue from the run's last checkpoint, if there is one.
        processes: Those that train the networks; they part when these are finished.

    Raises:
        Interrupted: Ctrl-C or SIGTERM in any process; the state is saved.
        Diverged: a loss became NaN or infinite; the last checkpoint is kept.
        UserError: the images are not those the run began with, or another process trains here.
    """
    with run.hold():
        return _train(images, config, run, log, resume, processes)


def assist(images: ImageSet, config: Config, *, resume: bool = False, processes: Processes) -> None:
    """Train the networks together with the first process, which alone has the run.

    Arguments and errors: as in `train`.
    """
    train_model(images.train.images, config, None, log=_silent, resume=resume, processes=processes)


def _silent(entry: dict[str, Any]) -> None:
    """Log nothing."""


def _train(
    images: ImageSet, config: Config, run: Run, log: Log, resume: bool, processes: Processes
) -> LatentMap:
    """The three parts of `train`, in the folder held for them."""

    def record(entry: dict[str, Any]) -> None:
        run.log(entry)
        log(entry)

    # The networks.
    check_images(images, run)
    config = _with_precision(config, run)
    learning, held_out = images.train, images.test
    write_examples(held_out, run)
    model = train_model(
        learning.images, config, run, log=record, resume=resume, processes=processes
    )
    try:
        return _map(model, learning, held_out, config, run, record)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped after the networks were trained, and before the map was finished; --resume "
            "keeps the networks and fits the map"
        ) from None


def _map(
    model: VAEGAN, learning: ImageSet, held_out: ImageSet, config: Config, run: Run, record: Log
) -> LatentMap:
    """The codes and the map of trained networks, written into the run."""
    # The codes.
    doing("encoding the images")
    train_codes, held_out_codes = (encode_all(model, x.images) for x in (learning, held_out))
    errors = reconstruction_errors(model.decode, held_out.images, held_out_codes.means)
    parts = {
        "train": (train_codes, learning.labels),
        "held_out": (held_out_codes, held_out.labels),
    }
    write_codes(parts, run, errors)

    # Of few images, changed copies, so that D_z does not learn single codes by heart.
    copied, change = _with_copies(model, learning.images, train_codes, held_out_codes, config)
    if change is not None:
        run.note_copies(str(change))

    # The map; the explorer shows growing.safetensors meanwhile.
    growing = run.file("growing.safetensors")
    latent_map = fit_map(
        model,
        train_codes,
        held_out_codes,
        config,
        copied=copied,
        log=record,
        watch=lambda so_far: so_far.save(growing),
    )
    growing.unlink(missing_ok=True)
    run.count_records()
    latent_map.save(run.file("map.safetensors"))
    return latent_map


def _with_precision(config: Config, run: Run) -> Config:
    """The configuration with precisions instead of "auto", which the run keeps from now on.

    A run keeps those that it began with, also on another machine; a new one measures.
    """
    kept, device = run.config(), pick_device(config.train.device)
    networks, d_z = config.train.precision, config.map.precision
    if networks == "auto":
        networks = pick_precision(kept.train.precision, device)
    if d_z == "auto":
        d_z = training_precision(kept.map, device)
    settled = replace(
        config,
        train=replace(config.train, precision=networks),
        map=replace(config.map, precision=d_z),
    )
    if settled != config:
        run.begin(settled)
    return settled


def train_model(
    images: Pixels,
    config: Config,
    run: Run | None,
    *,
    log: Log,
    resume: bool,
    processes: Processes = ALONE,
) -> VAEGAN:
    """Train E, G and D_x, and D_z in the joint modes; arguments and errors as in `train`.

    The processes do the same, step by step; those without a run write nothing.
    """
    t = config.train
    device = processes.device(t.device)
    precision = processes.first(lambda: pick_precision(t.precision, device))
    engine = Engine(t.device, precision, compile=t.compile)
    train_step = TrainStep(config, engine, processes)
    batch_of = Batches(images, t, engine.device, processes)
    take_steps(train_step, batch_of, run, log=log, resume=resume)
    model = train_step.finished()
    if run is not None:
        write_tensors(run.file("model.safetensors"), model.state_dict())
    return model


def take_steps(
    train_step: TrainStep,
    batch_of: Batches,
    run: Run | None,
    *,
    log: Log,
    resume: bool,
    again: str = "--resume",
) -> None:
    """Take all steps of a run, from its last checkpoint if it is resumed.

    Arguments:
        train_step: The networks.
        batch_of: The batch of each step.
        run: Where checkpoints are; None in a process without the run.
        log, resume: As for `train`.
        again: What goes on after an interruption.

    Raises:
        Interrupted, Diverged: as for `train`.
    """
    # Set up.
    t, processes = train_step.config, train_step.processes
    history = History(t.steps, batch_of.size, log, processes)

    # Resume.
    step = restore(train_step, history, run) if resume else 0
    if run is not None:
        run.rewind_log(step)

    # Train. Only a finite loss of the next step shows that the weights of a step are good, so a
    # checkpoint is taken at its step and written one step later.
    checkpoint: Checkpoint | None = None
    with stop_request() as stop:
        while step < t.steps and not train_step.done and not processes.any(bool(stop)):
            doing("networks", step, t.steps)
            step += 1
            history.add(step, train_step.step(batch_of(step)))
            if checkpoint is not None:
                history.check()
                checkpoint.write(run)
                checkpoint = None
            if step % t.log_every == 0 or step == t.steps or train_step.done:
                history.flush(step)
            if step % t.checkpoint_every == 0:
                checkpoint = Checkpoint.of(train_step, history, step)

        # Save, whether all steps are done or the user asked to stop.
        history.check()
        Checkpoint.of(train_step, history, step).write(run)
        if processes.any(bool(stop)):
            processes.leave()
            raise Interrupted(
                f"stopped after step {step} of {t.steps}, and saved; {again} goes on from there"
            ) from stop.cause
    processes.leave()


@torch.no_grad()
def encode_all(model: VAEGAN, images: Pixels, batch: int = 512) -> Codes:
    """Means and log-variances of all images, on the model's device."""
    parts = [_encoded(model, part) for part in batches(images, batch)]
    means, log_variances = zip(*parts, strict=True)
    return Codes(torch.cat(means), torch.cat(log_variances))


def _encoded(model: VAEGAN, images: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log-variances of one batch, of bytes or of floats in [0, 1]."""
    return model.encoder(to_float(images.to(next(model.parameters()).device)))


@torch.no_grad()
def _with_copies(
    model: VAEGAN, images: Pixels, codes: Codes, held_out: Codes, config: Config
) -> tuple[Codes | None, Change | None]:
    """The codes with those of copies, if a D_z of samples is to be fitted, and they do not harm."""
    if config.train.mode != "separate" or config.map.z_real == "means" or not config.map.augment:
        return None, None
    copied, change = with_copies(
        codes,
        images,
        held_out,
        lambda some: Codes(*_encoded(model, some)),
        generator=seeded_generator(config.train.seed, 3, device=torch.device("cpu")),
    )
    return (None if change is None else copied), change


def fit_map(
    model: VAEGAN,
    codes: Codes,
    held_out: Codes,
    config: Config,
    *,
    copied: Codes | None = None,
    log: Log,
    watch: Callable[[LatentMap], None] | None = None,
) -> LatentMap:
    """Fit D_z to the finished codes (mode separate), or take the D_z trained beside the encoder.

    The latter was trained on codes of the running encoder, while the map is one of the averaged
    encoder's codes; the two encoders meet as the learning rates fall to zero.

    Arguments:
        model: The finished networks.
        codes, held_out: Codes to fit, and codes to stop and calibrate by.
        config: The whole configuration.
        copied: The codes with those of copies, which D_z learns from instead, if there are copies.
        log: Called with each record.
        watch: Called at each check with the map as it is then.
    """
    if config.map.z_real == "means":
        held_out = held_out.points()
    generator = seeded_generator(config.train.seed, 2, device=codes.means.device)
    shape = config.model.code_shape
    if config.train.mode != "separate":
        return LatentMap.from_network(
            model.latent_discriminator, held_out, shape=shape, generator=generator
        )
    settings = {
        "generator": generator,
        "log": lambda entry: log({"phase": "map", "steps": config.map.steps, **entry}),
        "watch": watch,
    }
    if copied is None:
        return LatentMap.fit(
            *codes.shaped(shape),
            config=config.map,
            held_out=held_out,
            warn=False,
            **settings,
        )
    # It is by the codes of the images themselves whether there are enough.
    _, found = as_codes(codes.means, codes.log_variances)
    few = config.map
    if few.weight_decay is None:
        few = replace(few, weight_decay=FEW_DECAY)
    return LatentMap.fit_checked(
        copied, held_out, few, shape=shape, warnings=tuple(found), **settings
    )
