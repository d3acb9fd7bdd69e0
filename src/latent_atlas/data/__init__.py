"""Images in: a named data set, folder, archive or array becomes one `ImageSet`."""

from latent_atlas.data.adhoc import read_images
from latent_atlas.data.decode import Square, open_image
from latent_atlas.data.imageset import ImageSet, Reject
from latent_atlas.data.load import load_images, probe_source

__all__ = [
    "ImageSet",
    "Reject",
    "Square",
    "load_images",
    "open_image",
    "probe_source",
    "read_images",
]
