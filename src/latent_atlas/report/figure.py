"""A picture inside a page."""

from base64 import b64encode
from html import escape

__all__ = ["figure"]


def figure(content: bytes, alt: str, caption: str) -> str:
    """A picture with its caption.

    Arguments:
        content: A PNG file.
        alt: What it shows, as text, for those who do not see it.
        caption: What to look for, as markup.
    """
    # Half its pixels: the pictures are drawn at twice the resolution of a page.
    width = int.from_bytes(content[16:20], "big") // 2
    data = b64encode(content).decode()
    return (
        f'<figure><div class="picture"><img width="{width}" style="--width: {width}px" alt="{escape(alt)}" '
        f'src="data:image/png;base64,{data}"></div><figcaption>{caption}</figcaption></figure>\n'
    )
