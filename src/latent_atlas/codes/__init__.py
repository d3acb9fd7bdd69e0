"""Any autoencoder or embedding, its posteriors, and files of codes."""

from latent_atlas.codes.files import CodeSet, read_collection
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder

__all__ = ["Autoencoder", "CodeSet", "Codes", "read_collection"]
