"""A run from images to map, read top to bottom."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_atlas.codes.codec import squared_errors
from latent_atlas.codes.posterior import Codes
from latent_atlas.config.run import Config
from latent_atlas.config.training import TrainConfig
from latent_atlas.data.imageset import ImageSet
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import Engine, stop_request
from latent_atlas.errors import Interrupted, UserError
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run, read_tensors, write_tensors
from latent_atlas.shapes import ByteImages, Images, Values
from latent_atlas.training.step import Batch, TrainStep

__all__ = ["Diverged", "train"]

Log = Callable[[dict[str, Any]], None]

ADVICE = (
    "the last good checkpoint, if there was one, is kept: lower train.learning_rate or raise train.r1 and train.r2, "
    "and train into another --out"
)
EXAMPLES = 256  # held-out images kept in the run folder, so that it can be shown without its source
EXAMPLE_BYTES = 16 * 2**20
RESIDENT_BYTES = 2**31  # image sets up to this size live on the device


class Diverged(UserError):
    """A loss is not finite; the last checkpoint before it stays."""


def train(
    images: ImageSet, config: Config, run: Run, *, log: Log, resume: bool = False
) -> LatentMap:
    """Train the networks, then the map, leave both in the run folder, and return the map.

    Arguments:
        images: The collection; its held-out part is only encoded and judged by.
        config: The whole configuration.
        run: A folder that `Run.begin` has made a run.
        log: Called with each record written to log.jsonl; `steps` says where its phase ends.
        resume: Continue from the folder's state, if it has one.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        Diverged: a loss became NaN or infinite; the last checkpoint stays.
        UserError: the images are not those the run began with.
    """
    _same_images(images, run)

    def record(entry: dict[str, Any]) -> None:
        run.log(entry)
        log(entry)

    learning, held_out = images.train, images.test
    _keep_examples(held_out, run)
    model = train_model(learning.images, config, run, log=record, resume=resume)
    codes = {
        "train": encode_all(model, learning.images),
        "held_out": encode_all(model, held_out.images),
    }
    _keep_codes(
        codes,
        learning,
        held_out,
        squared_errors(model.decode, held_out.images, codes["held_out"].means),
        run,
    )
    growing = run.file("growing.safetensors")
    latent_map = fit_map(
        model,
        codes["train"],
        codes["held_out"],
        config,
        log=record,
        watch=lambda so_far: so_far.save(growing),
    )
    growing.unlink(missing_ok=True)
    latent_map.save(run.file("map.safetensors"))
    return latent_map


def train_model(images: ByteImages, config: Config, run: Run, *, log: Log, resume: bool) -> VAEGAN:
    """Train E, G and D_x, and D_z where it learns beside them; arguments and errors as for `train`."""
    t = config.train
    engine = Engine(t.device, t.precision, compile=t.compile)
    learner = TrainStep(config, engine)
    history = _History(t, min(t.batch_size, len(images)), log)
    step = _restore(learner, history, run) if resume else 0
    run.rewind_log(step)
    batches = _Batches(images, t, engine.device)
    checkpoint: Checkpoint | None = None
    with stop_request() as stop:
        while step < t.steps and not stop:
            step += 1
            generator = seeded(t.seed, 1, step, device=engine.device)
            history.add(step, learner.step(Batch(batches(step), step, generator)))
            if (
                checkpoint is not None
            ):  # the weights are known to be good once the losses after them are
                history.check()
                checkpoint.write(run)
                checkpoint = None
            if step % t.log_every == 0 or step == t.steps:
                history.flush(step)
            if step % t.checkpoint_every == 0:
                checkpoint = Checkpoint.of(learner, history, step)
        history.check()
        Checkpoint.of(learner, history, step).write(run)
        if stop:
            raise Interrupted(
                f"stopped after step {step} of {t.steps}, and saved; --resume goes on from there"
            )
    model = learner.finished()
    write_tensors(run.file("model.safetensors"), model.state_dict())
    return model


@dataclass(frozen=True)
class Checkpoint:
    """All that resuming needs, as it was after a step."""

    step: int
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, learner: TrainStep, history: "_History", step: int) -> "Checkpoint":
        """A copy, which later steps do not change."""
        tensors = learner.tensors() | history.tensors()
        return cls(step, {name: value.detach().clone() for name, value in tensors.items()})

    def write(self, run: Run) -> None:
        """Replace the run's state.

        Raises:
            Diverged: a weight is not finite.
        """
        bad = [name for name, value in self.tensors.items() if not value.isfinite().all()]
        if bad:
            raise Diverged(
                f"the weights '{bad[0]}' are not finite after step {self.step}; {ADVICE}"
            )
        write_tensors(run.file("state.safetensors"), self.tensors, {"step": str(self.step)})


def seeded(seed: int, *position: int, device: torch.device) -> torch.Generator:
    """A generator for one place of the run.

    The randomness of a step depends on the seed and the step alone, so a resumed run needs no memory of it.
    """
    key = seed
    for number in position:
        key = (key * 6_364_136_223_846_793_005 + number + 1_442_695_040_888_963_407) % 2**63
    return torch.Generator(device).manual_seed(key)


@torch.no_grad()
def encode_all(model: VAEGAN, images: ByteImages, batch: int = 512) -> Codes:
    """Means and log-variances of all images, on the model's device."""
    device = next(model.parameters()).device
    parts = [model.encoder(_as_float(part, device)) for part in images.split(batch)]
    return Codes(
        torch.cat([means for means, _ in parts]), torch.cat([spread for _, spread in parts])
    )


def fit_map(
    model: VAEGAN,
    codes: Codes,
    held_out: Codes,
    config: Config,
    *,
    log: Log,
    watch: Callable[[LatentMap], None] | None = None,
) -> LatentMap:
    """Learn D_z on the finished codes (mode separate), or take the D_z that learned beside the encoder.

    The latter has seen the codes of the running encoder, the map is of the averaged one: they meet where the learning
    rates have fallen to zero.
    """
    if config.map.z_real == "means":
        held_out = held_out.points()
    generator = seeded(config.train.seed, 2, device=codes.means.device)
    if config.train.mode != "separate":
        return LatentMap.from_network(model.latent_discriminator, held_out, generator=generator)
    return LatentMap.fit(
        codes.means,
        codes.log_variances,
        config=config.map,
        held_out=held_out,
        generator=generator,
        warn=False,
        log=lambda entry: log({"phase": "map", "steps": config.map.steps, **entry}),
        watch=watch,
    )


class _Batches:
    """The images of each step: an epoch is a permutation that depends on the seed and its number alone."""

    def __init__(self, images: ByteImages, config: TrainConfig, device: torch.device) -> None:
        self.images = images.to(device) if images.numel() <= RESIDENT_BYTES else images
        self.seed = config.seed
        self.size = min(config.batch_size, len(images))
        self.per_epoch = len(images) // self.size
        self.device = device
        self.epoch = -1
        self.order = torch.empty(0, dtype=torch.long)

    def __call__(self, step: int) -> Images:
        epoch, position = divmod(step - 1, self.per_epoch)
        if epoch != self.epoch:
            self.epoch = epoch
            generator = seeded(self.seed, 0, epoch, device=torch.device("cpu"))
            self.order = torch.randperm(len(self.images), generator=generator)
        rows = self.order[position * self.size : (position + 1) * self.size]
        images = _as_float(self.images[rows.to(self.images.device)], self.device)
        return images.contiguous(memory_format=torch.channels_last)


class _History:
    """The losses since the last record; read from the device only when a record or a checkpoint is due."""

    def __init__(self, config: TrainConfig, batch_size: int, log: Log) -> None:
        self.steps = config.steps
        self.batch_size = batch_size
        self.log = log
        self.pending: dict[str, list[tuple[int, Tensor]]] = {}
        self.clock = time.perf_counter()
        self.steps_timed = 0

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        self.steps_timed += 1
        for name, value in losses.items():
            self.pending.setdefault(name, []).append((step, value))

    def check(self) -> dict[str, Tensor]:
        """The pending losses by name, all of them finite.

        Raises:
            Diverged: one is not.
        """
        series = {
            name: torch.stack([v for _, v in pairs]).cpu() for name, pairs in self.pending.items()
        }
        bad = [
            (self.pending[name][int((~values.isfinite()).nonzero()[0])][0], name)
            for name, values in series.items()
            if not values.isfinite().all()
        ]
        if bad:
            step, name = min(bad)
            raise Diverged(f"the loss '{name}' is not finite at step {step}; {ADVICE}")
        return series

    def flush(self, step: int) -> None:
        """Write one record: the mean of each loss since the last one."""
        means = {name: values.mean().item() for name, values in self.check().items()}
        seconds = time.perf_counter() - self.clock
        speed = self.steps_timed * self.batch_size / seconds
        self.log(
            {
                "phase": "model",
                "step": step,
                "steps": self.steps,
                **means,
                "images_per_second": speed,
            }
        )
        self.pending.clear()
        self.clock, self.steps_timed = time.perf_counter(), 0

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs to write the same records."""
        return {
            f"history/{name}": torch.tensor(
                [[step, value.item()] for step, value in pairs], dtype=torch.float64
            )
            for name, pairs in self.pending.items()
        }

    def restore(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        for place, rows in tensors.items():
            if place.startswith("history/"):
                values = rows[:, 1].float().to(device)
                pairs = list(zip(rows[:, 0].int().tolist(), values, strict=True))
                self.pending[place.removeprefix("history/")] = pairs


def _restore(learner: TrainStep, history: _History, run: Run) -> int:
    """Put the saved state back and return its step; 0 if nothing was saved yet."""
    if not run.file("state.safetensors").is_file():
        return 0
    # Read on the CPU: each part then goes where it belongs, and Adam's step counts belong there.
    tensors, metadata = read_tensors(run.file("state.safetensors"))
    learner.restore(tensors)
    history.restore(tensors, learner.engine.device)
    return int(metadata["step"])


def _same_images(images: ImageSet, run: Run) -> None:
    """Note which images the run is made from, or refuse others than it began with."""
    manifest = images.manifest()
    before = run.read_json("manifest.json")
    if before is not None and before["digest"] != manifest["digest"]:
        raise UserError(
            f"the images are not those the run began with ({before['n']} then, {manifest['n']} now); "
            "restore them or train into another --out"
        )
    run.write_json("manifest.json", manifest)


def _keep_examples(held_out: ImageSet, run: Run) -> None:
    """Write some held-out images into the run folder, so that it can be seen early what becomes of them."""
    count = min(EXAMPLES, max(16, EXAMPLE_BYTES // held_out.images[0].numel()))
    labels = {} if held_out.labels is None else {"labels": held_out.labels[:count]}
    write_tensors(run.file("examples.safetensors"), {"images": held_out.images[:count], **labels})


def _keep_codes(
    codes: dict[str, Codes], learning: ImageSet, held_out: ImageSet, errors: Values, run: Run
) -> None:
    """Write the codes of all images, and the errors of those held out, into the run folder."""
    tensors = {}
    for part, image_set in (("train", learning), ("held_out", held_out)):
        tensors[f"{part}.means"] = codes[part].means
        tensors[f"{part}.log_variances"] = codes[part].log_variances
        if image_set.labels is not None:
            tensors[f"{part}.labels"] = image_set.labels
    tensors["held_out.errors"] = errors
    write_tensors(run.file("codes.safetensors"), tensors)


def _as_float(images: ByteImages, device: torch.device) -> Images:
    """Bytes to numbers in [0, 1] on the device."""
    return images.to(device, non_blocking=True).float() / 255
