"""What every page is made of: a frame that sends no request, sections, and figures."""

from base64 import b64encode
from html import escape
from importlib.resources import files

__all__ = ["figure", "framed", "section"]


def framed(kicker: str, heading: str, lead: str, content: str) -> str:
    """A whole page, with its style inside.

    Arguments:
        kicker, heading: Plain text.
        lead, content: HTML.
    """
    style = files("latent_atlas.report").joinpath("report.css").read_text(encoding="utf-8")
    # The policy makes the browser itself refuse any request, whatever text has found its way into the page.
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(heading)} – Latent Atlas</title>
<style>
{style}</style>
</head>
<body>
<header>
<p class="kicker">{escape(kicker)}</p>
<h1>{escape(heading)}</h1>
<p class="lead">{lead}</p>
</header>
<main>
{content}</main>
</body>
</html>
"""


def section(title: str, content: str) -> str:
    """A heading and HTML below it; nothing where there is nothing below."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n" if content else ""


def figure(content: bytes, alt: str, caption: str) -> str:
    """A PNG inside the page, described by plain text and captioned in HTML."""
    # Half its pixels: the pictures are drawn at twice the resolution of a page.
    width = int.from_bytes(content[16:20], "big") // 2
    data = b64encode(content).decode()
    return (
        f'<figure><div class="picture"><img width="{width}" style="--width: {width}px" alt="{escape(alt)}" '
        f'src="data:image/png;base64,{data}"></div><figcaption>{caption}</figcaption></figure>\n'
    )
