"""What every page has: a head that lets no request out, one style sheet, a title, and sections."""

from html import escape
from importlib.resources import files

__all__ = ["html", "section"]


def html(*, title: str, kicker: str, lead: str, sections: str) -> str:
    """A whole page that stands alone.

    Arguments:
        title: What it is about, as text.
        kicker: The line above the title, as text.
        lead: The line below it, as markup.
        sections: The rest, as markup.
    """
    style = files("latent_atlas.report").joinpath("report.css").read_text(encoding="utf-8")
    # The policy makes the browser itself refuse any request, whatever text has found its way into the page.
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)} – Latent Atlas</title>
<style>
{style}</style>
</head>
<body>
<header>
<p class="kicker">{escape(kicker)}</p>
<h1>{escape(title)}</h1>
<p class="lead">{lead}</p>
</header>
<main>
{sections}</main>
</body>
</html>
"""


def section(title: str, content: str) -> str:
    """A section of markup under its title; nothing where there is nothing to show."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n" if content else ""
