"""HTML pages from the templates beside this file; whatever text goes into one is escaped."""

from base64 import b64encode
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from latent_atlas.errors import printable

__all__ = ["Picture", "render"]


class Picture(NamedTuple):
    """A figure of a page."""

    png: bytes
    """Its file, drawn at twice the resolution of the page."""
    alt: str
    """What it shows, for readers who do not see it."""
    caption: str = ""
    title: str = ""
    """The first words of the caption, in bold."""

    @property
    def width(self) -> int:
        """Of the page's pixels: half of those of the file."""
        return int.from_bytes(self.png[16:20], "big") // 2

    @property
    def address(self) -> str:
        """The file as a data address, so that the page sends no request."""
        return f"data:image/png;base64,{b64encode(self.png).decode()}"


def render(template: str, **values: Any) -> str:
    """A page as text that any name can be part of.

    Arguments:
        template: A file of `report/templates`.
        values: What it shows, by the names it uses; a name that is missing is an error.
    """
    return printable(_environment().get_template(template).render(values))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("latent_atlas.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
