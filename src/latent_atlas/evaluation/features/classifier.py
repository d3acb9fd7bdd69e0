"""Features of a classifier trained on the labels of the images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas import progress
from latent_atlas.errors import UserError, checked
from latent_atlas.evaluation.features.base import Extractor, Features
from latent_atlas.nn.init import initial_weights
from latent_atlas.shapes import ByteImages, Labels, batched, to_float

__all__ = ["Classifier", "train_classifier"]

WIDTH = 128  # features of a classifier


@dataclass(frozen=True)
class Classifier(Extractor):
    """A small convolutional classifier trained on the labels of the images.

    Attributes:
        name: What to print beside a number: its width and its accuracy on held-out images.
        accuracy: Accuracy on held-out images, in [0, 1].
        network: Images in [0, 1] to logits.
    """

    name: str
    accuracy: float
    network: nn.Sequential

    @torch.no_grad()
    def features(self, images: ByteImages) -> Features:
        """The last hidden layer, shape (n, 128)."""
        return self._of_each(self.network[:-1], images)

    @torch.no_grad()
    def classify(self, images: ByteImages) -> Labels:
        """The likeliest class of each image."""
        return self._of_each(self.network, images).argmax(1)

    def _of_each(self, layers: nn.Module, images: ByteImages) -> Tensor:
        """The layers' output on the CPU, one row per image."""
        return batched(lambda part: layers(_as_float(part, self._device)).cpu(), images, 512)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


@checked
def train_classifier(
    images: ByteImages,
    labels: Labels,
    held_out: tuple[Tensor, Tensor],
    *,
    epochs: int = 3,
    generator: torch.Generator,
) -> Classifier:
    """Train a classifier.

    Arguments:
        images, labels: Training data; labels from 0, none missing.
        held_out: Images and labels for the accuracy.
        epochs: Passes over the images.
        generator: Source of all randomness, on the CPU.

    Raises:
        UserError: an image has no label, or all have the same.
    """
    if labels.min() < 0 or labels.max() < 1:
        raise UserError("a classifier needs two or more classes and a label for every image")
    with initial_weights(int(torch.randint(2**62, (), generator=generator))):
        network = _network(images.shape[1], int(labels.max()) + 1)
    batch = min(128, len(images))
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in progress.steps("classifier", range(epochs)):
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: len(images) // batch * batch].split(batch):
            loss = F.cross_entropy(
                network(_as_float(images[rows], torch.device("cpu"))), labels[rows]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    trained = Classifier("", 0.0, network.eval())
    accuracy = (trained.classify(held_out[0]) == held_out[1]).float().mean().item()
    return Classifier(
        f"{WIDTH} features of a classifier with {100 * accuracy:.1f} % accuracy",
        accuracy,
        trained.network,
    )


def _network(channels: int, classes: int) -> nn.Sequential:
    """Three strided convolutions, global average pooling and a linear layer."""
    layers: list[nn.Module] = []
    for before, after in ((channels, 32), (32, 64), (64, WIDTH)):
        layers += [
            nn.Conv2d(before, after, 3, stride=2, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _as_float(images: ByteImages, device: torch.device) -> Tensor:
    return to_float(images.to(device)).contiguous(memory_format=torch.channels_last)
