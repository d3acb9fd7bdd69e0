"""Networks of the Hugging Face hub, or of a folder, as makers of codes."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latent_atlas.errors import UserError, require

__all__ = ["PREFIX", "HuggingFaceFeatures", "full_name"]

PREFIX = "hf:"
SIDE = 224  # in pixels, where the processor names none
POOLER = "pooler."  # in the names of weights


def full_name(name: str) -> str:
    """The name of a model with the absolute path of its folder, if it is one."""
    folder = Path(name.removeprefix(PREFIX)).expanduser()
    return PREFIX + str(folder.absolute()) if name.startswith(PREFIX) and folder.is_dir() else name


class HuggingFaceFeatures(nn.Module):
    """RGB images (n, 3, h, w) in [0, 1] to the features of a pretrained network, shape (n, d).

    The images are resized, cropped and scaled as the network was trained, by the processor that
    comes with it. The features are, of these, the first that the network has: image features that
    compare with texts (CLIP, SigLIP), its pooled output, the state of its class token, or the mean
    of its last states.

    Attributes:
        side: Of the square images that the processor neither shrinks nor enlarges, in pixels.
    """

    def __init__(self, name: str) -> None:
        """Load the network and its processor.

        Arguments:
            name: "hf:OWNER/NAME" on the hub, "hf:OWNER/NAME@REVISION", or "hf:FOLDER".

        Raises:
            UserError: transformers is not installed, the model cannot be had, has no image
                processor, or lacks some of its weights.
        """
        super().__init__()
        require(
            importlib.util.find_spec("transformers") is not None,
            f"'{name}' is loaded by the package transformers, which is not installed; "
            "pip install 'latent-atlas[transformers]'",
        )
        hub, transformers = map(importlib.import_module, ("huggingface_hub", "transformers"))
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        place, _, revision = name.removeprefix(PREFIX).partition("@")
        try:
            if not Path(place).is_dir():
                place = hub.snapshot_download(
                    place, revision=revision or None, allow_patterns=["*.json", "*.safetensors"]
                )
            self._processor = transformers.AutoImageProcessor.from_pretrained(place, backend="pil")
            self.network, report = transformers.AutoModel.from_pretrained(
                place, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
        # The libraries raise many types, from their own to those of HTTP clients.
        except Exception as error:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            raise UserError(
                f"cannot load '{name}' ({reason}); give an image model whose weights are "
                "safetensors: by its name on the Hugging Face hub, if this machine reaches it, or "
                "by the folder of its files, hf:FOLDER"
            ) from None
        self._encode: Any = getattr(self.network, "get_image_features", self.network)
        require(
            self._encode is not self.network or self.network.main_input_name == "pixel_values",
            f"'{name}' is no model of images; give another one, such as hf:facebook/dinov2-small",
        )
        absent = sorted(report["missing_keys"])
        if absent and all(key.startswith(POOLER) for key in absent):
            self.network.pooler = None  # it was made at random
        else:
            require(not absent, f"'{name}' lacks weights, such as {absent and absent[0]}")
        self.side = self._side()
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images, shape (n, d)."""
        pixels = (255 * images).round().to(torch.uint8).cpu().numpy()
        inputs = self._processor(
            images=list(pixels), return_tensors="pt", input_data_format="channels_first"
        )
        seen = inputs["pixel_values"].to(images.device)
        return self._pooled(self._encode(pixel_values=seen))

    def _pooled(self, output: Any) -> Tensor:
        """One row per image of what the network returns."""
        if isinstance(output, Tensor):
            return output
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        states = output.last_hidden_state
        if states.ndim == 4:  # (n, d, h, w), of a convolutional network
            return states.mean(dim=(2, 3))
        has_class_token = any("cls_token" in key for key, _ in self.network.named_parameters())
        return states[:, 0] if has_class_token else states.mean(dim=1)

    def _side(self) -> int:
        """The side that the processor makes of squares before it crops them."""
        size = dict(self._processor.size or self._processor.crop_size)
        return int(size.get("shortest_edge") or size.get("height") or SIDE)
