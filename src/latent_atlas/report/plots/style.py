"""The house style: a figure measured in pixels, its type and its colours.

Each artist is given its own size and colour. `rcParams` and pyplot stay untouched, even through
`rc_context`: they belong to the whole process, and a server draws from several threads.
"""

import io
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from latent_atlas.errors import printable
from latent_atlas.files import write_bytes

__all__ = [
    "DPI",
    "INK",
    "LINES",
    "MARGIN",
    "PAPER",
    "RULE",
    "SIGNAL",
    "SOFT",
    "WIDTH",
    "Length",
    "LineStyle",
    "beside",
    "blank",
    "drawable",
    "fonts",
    "head",
    "label_axes",
    "paste",
    "place",
    "png",
    "points",
    "save",
    "short",
    "style_ticks",
    "text_width",
    "title_height",
    "write",
    "write_title",
]

DPI = 200
WIDTH = 2000  # pixels of a full-width picture: twice what a README shows, so that type stays sharp
MARGIN = 30  # pixels around everything

FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans KR",
    "Noto Sans JP",
    "Noto Sans SC",
    "Nanum Gothic",
    "NanumGothic",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Apple SD Gothic Neo",
    "Hiragino Sans",
    "PingFang SC",
    "Malgun Gothic",
    "Yu Gothic",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
"""Fonts of Linux, macOS and Windows; each character is drawn in the first that has it."""
LONGEST = 32  # characters of a name in a picture

INK = "#1d2329"
SOFT = "#5b6570"
RULE = "#d4d9df"
PAPER = "#ffffff"
SIGNAL = "#d55e00"
"""Off-manifold frames, and nothing else, have this colour (vermilion of Okabe and Ito)."""


Length = int | float
"""Pixels, or points; whole or not."""


class LineStyle(NamedTuple):
    """How one line differs from the others, in colour and without colour."""

    color: str
    dashes: tuple[float, tuple[float, ...]] | Literal["-"]
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """The same in the words of matplotlib's lines."""
        return {"color": self.color, "linestyle": self.dashes, "marker": self.marker}


LINES = (
    LineStyle("#0072b2", "-", "o"),
    LineStyle("#e69f00", (0.0, (5.0, 1.6)), "s"),
    LineStyle("#009e73", (0.0, (1.4, 1.2)), "^"),
    LineStyle("#cc79a7", (0.0, (6.0, 1.4, 1.4, 1.4)), "D"),
    LineStyle("#56b4e9", (0.0, (9.0, 2.0)), "v"),
    LineStyle("#000000", (0.0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "P"),
)
"""The other Okabe-Ito colours, distinct under common colour blindness; taken in turn."""


def blank(width: int, height: int) -> Figure:
    """An empty figure of exactly so many pixels."""
    # A hundredth of a pixel more: the canvas truncates, and 1999.9999 would lose a column.
    figure = Figure(figsize=((width + 0.01) / DPI, (height + 0.01) / DPI), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: Length, top: Length, width: Length, height: Length) -> Axes:
    """Axes over a box of the figure.

    Arguments:
        left, top: The box's upper left corner, in pixels from that of the figure.
        width, height: Its size in pixels.
    """
    across, up = figure.bbox.width, figure.bbox.height
    box = (left / across, 1 - (top + height) / up, width / across, height / up)
    return figure.add_axes(box, facecolor=PAPER)


def paste(figure: Figure, left: int, top: int, canvas: UInt8[np.ndarray, "h w 3"]) -> AxesImage:
    """Show a canvas of pixels one to one, its upper left corner at (left, top)."""
    height, width = canvas.shape[:2]
    axes = place(figure, left, top, width, height)
    axes.set_axis_off()
    return axes.imshow(canvas, interpolation="nearest", aspect="auto")


def points(pixels: Length) -> float:
    """A length in points, the unit of line widths and type."""
    return pixels * 72 / DPI


def write(
    figure: Figure, left: Length, top: Length, text: str, size: Length = 9, **style: Any
) -> Text:
    """Write plain text, its upper left corner at (left, top) pixels unless `style` aligns it
    otherwise.
    """
    settings: dict[str, Any] = {"color": INK, "va": "top", "ha": "left", **style}
    across, up = figure.bbox.width, figure.bbox.height
    # parse_math off: a file named "a$b$" is text, not a formula.
    return figure.text(
        left / across,
        1 - top / up,
        drawable(text),
        fontsize=size,
        fontfamily=fonts(),
        parse_math=False,
        **settings,
    )


def title_height(title: str | None) -> int:
    """Pixels that a title takes at the top of a picture, margin included."""
    return MARGIN if title is None else MARGIN + 64


def write_title(figure: Figure, title: str | None) -> None:
    """Write the picture's title in its upper left corner, if it has one."""
    if title is not None:
        write(figure, MARGIN, MARGIN - 4, title, size=12.5, weight="bold")


def text_width(text: str, size: Length = 9, weight: str = "normal") -> int:
    """Width in pixels of one line of text."""
    font = FontProperties(family=fonts(), size=size, weight=weight)
    width = text_to_path.get_text_width_height_descent(drawable(text), font, False)[0]
    return int(np.ceil(width * DPI / 72))


@cache
def fonts() -> list[str]:
    """The house's font, and those of this machine that have more characters."""
    there = set(font_manager.get_font_names())
    return [name for name in FAMILIES if name in there]


@cache
def _characters() -> frozenset[int]:
    """The characters that these fonts have."""
    paths = [font_manager.findfont(FontProperties(family=name)) for name in fonts()]
    return frozenset(code for path in paths for code in font_manager.get_font(path).get_charmap())


def drawable(text: str) -> str:
    r"""The text with escapes for characters that no font here has, which would be drawn as boxes.

    Examples:
        >>> drawable("caf\udce9"), drawable("Ä\ue000")
        ('caf\\xe9', 'Ä\\ue000')
    """
    known = _characters()
    return "".join(
        c if ord(c) in known or c.isspace() else c.encode("unicode_escape").decode("ascii")
        for c in printable(text)
    )


def short(name: str, most: int = LONGEST) -> str:
    """A name as it is drawn, with its middle left out where it is long.

    Examples:
        >>> short("a" * 20 + "b" * 20, 9)
        'aaaa…bbbb'
    """
    name = drawable(" ".join(name.split()))
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}…{name[len(name) - (most - 1) // 2 :]}"


def label_axes(axes: Axes, x_label: str = "", y_label: str = "") -> None:
    """Give axes the house's ticks, frame and labels."""
    style_ticks(axes)
    for spine in axes.spines.values():
        spine.set(color=RULE, linewidth=0.8)
    for axis, text in ((axes.xaxis, x_label), (axes.yaxis, y_label)):
        axis.set_label_text(
            drawable(text), fontsize=9, color=INK, fontfamily=fonts(), parse_math=False
        )
        axis.labelpad = 4


def style_ticks(axes: Axes) -> None:
    """Give ticks and their labels the house's colours and sizes."""
    axes.tick_params(
        colors=SOFT,
        labelcolor=SOFT,
        labelsize=8,
        length=3,
        width=0.6,
        labelfontfamily=fonts(),
    )


def head(axes: Axes, text: str, unit: str, beyond: Length | None = None) -> None:
    """Write a panel's heading above it, and what it measures.

    Arguments:
        unit: Below the heading; or, with `beyond`, in its line.
        beyond: Pixels from the panel's right edge to the end of the unit.
    """
    settings: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "baseline",
        "parse_math": False,
        "annotation_clip": False,
        "fontfamily": fonts(),
    }
    text, unit = drawable(text), drawable(unit)
    lift = points(18)
    if beyond is None:
        axes.annotate(unit, (0, 1), (0, lift), fontsize=8, color=SOFT, **settings)
        lift += points(38)
    else:
        axes.annotate(
            unit, (1, 1), (points(beyond), lift), fontsize=8, color=SOFT, ha="right", **settings
        )
    axes.annotate(text, (0, 1), (0, lift), fontsize=10, weight="bold", color=INK, **settings)


def beside(figure: Figure, axes: Axes, gap: Length, width: Length) -> Axes:
    """Axes as high as these, `gap` pixels to their right and `width` pixels wide."""
    box = axes.bbox
    return place(figure, box.x1 + gap, figure.bbox.height - box.y1, width, box.height)


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png", facecolor=PAPER)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG.

    Returns:
        The path, for a result line.
    """
    write_bytes(path, png(figure))
    return path
