"""The images of an atlas as one Parquet file, for viewers of embeddings.

| column | type | content |
|---|---|---|
| `name` | text | of the image |
| `code` | list of d floats | mu(x) |
| `x`, `y` | float | the code on its first two principal components |
| `log_prob` | float | log q in nats; only with a density |
| `rarity` | float | by `Atlas.rarity`: high values are rare |
| `anomaly_score`, `p_value` | float | by `Atlas.anomaly` of the code |
| `label` | text or null | the class; only with classes |
| `image` | struct of `bytes` and `path` | a PNG; only where codes can be shown |

An image is the thumbnail of a collection, and otherwise the decoded code: a run keeps no images.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from sklearn.decomposition import PCA
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.distributed.parquet import image_table, write_table
from latent_atlas.errors import printable
from latent_atlas.shapes import Latents

__all__ = ["write_images"]

BATCH = 512  # images that are shown at a time


@torch.no_grad()
def write_images(atlas: Atlas, path: Path) -> int:
    """Write a row for each of `Atlas.real_images`, and return how many there are.

    Raises:
        UserError: pyarrow is not installed, or the file cannot be written.
    """
    codes, names = atlas.real_images
    plane = PCA(2 if codes.shape[1] > 1 else 1, random_state=0).fit_transform(codes.cpu().numpy())
    numbers = dict(zip("xy", torch.from_numpy(plane).float().unbind(dim=1), strict=False))
    if atlas.map.has_log_prob:
        numbers["log_prob"] = atlas.map.log_prob(codes)
    numbers["rarity"] = atlas.rarity()
    scored = atlas.anomaly(codes)
    for name in ("anomaly_score", "p_value"):
        numbers[name] = torch.from_numpy(getattr(scored, name))
    shown = [] if atlas.shown_shape is None else [*_pictures(atlas, codes)]
    told = tuple(map(printable, names))
    write_table(image_table(told, codes, numbers, shown, _labels(atlas)), path)
    return len(names)


def _labels(atlas: Atlas) -> list[str]:
    """The class of each of the real images, "" where it is not known; or none."""
    parts = ("held_out",) if atlas.collection is None else (*atlas.collection.rows,)
    if not atlas.label_names or not all(part in atlas.labels for part in parts):
        return []
    numbers = torch.cat([atlas.labels[part] for part in parts]).tolist()
    return [atlas.label_names[number] if number >= 0 else "" for number in numbers]


def _pictures(atlas: Atlas, codes: Latents) -> Iterator[bytes]:
    for some in codes.split(BATCH):
        yield from map(_png, atlas.pictures(some))


def _png(image: Tensor) -> bytes:
    """The content of a PNG file, of an image (c, h, w) in [0, 1]."""
    pixels = (255 * image.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()
