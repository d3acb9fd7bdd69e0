"""The images and the random numbers of each step.

Both depend on the seed and on the number of the step alone, so a resumed run does not have to save
where in the data or in a random stream it was, and the number of processes does not matter.
"""

import torch
from torch import Tensor

from latent_atlas.config.run import TrainConfig
from latent_atlas.data.pixels import PackedImages
from latent_atlas.shapes import ByteImages, Images, Latents, Pixels, to_float
from latent_atlas.training.processes import ALONE, Processes
from latent_atlas.training.step import Batch

__all__ = ["Batches", "as_float", "seeded_generator"]

RESIDENT_BYTES = 2**31  # image sets up to this size are kept on the device


class Batches:
    """The batch of each step: every epoch is a new permutation of the images.

    Attributes:
        size: Images in a batch of all processes; those left over at the end of an epoch are
            skipped.
    """

    def __init__(
        self,
        images: Pixels,
        config: TrainConfig,
        device: torch.device,
        processes: Processes = ALONE,
        codes: Latents | None = None,
    ) -> None:
        """Arguments: the training images; batch size and seed; where the batches are needed; the
        processes that share each; the images' codes where these are given, shape (n, d).

        Raises:
            UserError: the processes cannot share a batch equally.
        """
        self.images = resident(images, device)
        self.seed = config.seed
        self.size = min(config.batch_size, len(images))
        self.processes = processes
        processes.share_of(self.size)
        self.device = device
        self.codes = codes
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def __call__(self, step: int) -> Batch:
        """The batch of a step, counted from 1: of its images, those of this process."""
        epoch, position = divmod(step - 1, len(self.images) // self.size)
        if epoch != self._epoch:
            self._epoch = epoch
            generator = seeded_generator(self.seed, 0, epoch, device=torch.device("cpu"))
            self._order = torch.randperm(len(self.images), generator=generator)
        whole = self._order[position * self.size : (position + 1) * self.size]
        rows = self.processes.share(whole)
        if isinstance(self.images, Tensor):
            rows = rows.to(self.images.device)
        images = as_float(self.images[rows], self.device)
        return Batch(
            images.contiguous(memory_format=torch.channels_last),
            step,
            seeded_generator(self.seed, 1, step, device=self.device),
            None if self.codes is None else self.codes[rows.to(self.codes.device)].to(self.device),
        )


def resident(images: Pixels, device: torch.device) -> Pixels:
    """The images where they are read for batches.

    That is the device if they are few. On a CPU, packed images stay on the disk.
    """
    if images.nbytes > RESIDENT_BYTES or (
        isinstance(images, PackedImages) and device.type == "cpu"
    ):
        return images
    return images[:].to(device)


def seeded_generator(seed: int, *position: int, device: torch.device) -> torch.Generator:
    """A generator for one place of a run, such as a step; it always gives the same numbers.

    Arguments:
        seed: Of the run.
        position: What distinguishes the place from all others.
        device: Of the generator.
    """
    key = seed
    for number in position:
        key = (key * 6_364_136_223_846_793_005 + number + 1_442_695_040_888_963_407) % 2**63
    return torch.Generator(device).manual_seed(key)


def as_float(images: ByteImages, device: torch.device) -> Images:
    """Bytes 0 to 255 as numbers in [0, 1] on the device."""
    return to_float(images.to(device, non_blocking=True))
