"""Draws from any density: `draw(density, n, sampler=...)` returns `Draws`."""

from latent_atlas.sampling.draw import SAMPLERS, Draws, draw

__all__ = ["SAMPLERS", "Draws", "draw"]
