"""The command line: parse, call one function, print one result."""

from latent_atlas.cli.entry import main

__all__ = ["main"]
