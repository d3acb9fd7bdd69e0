"""Parses, calls one function, prints one result."""

from latent_atlas.cli.parser import main

__all__ = ["main"]
