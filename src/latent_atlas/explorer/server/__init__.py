"""The explorer's server: `make_app(atlas)` serves the page and answers its requests."""

from latent_atlas.explorer.demo.atlas import demo_atlas
from latent_atlas.explorer.server.app import make_app
from latent_atlas.explorer.server.limits import Limits

__all__ = ["Limits", "demo_atlas", "make_app"]
