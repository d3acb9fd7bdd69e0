"""Bounds of one request, so that every answer is bounded in time and memory."""

from dataclasses import dataclass

__all__ = ["EMBEDDED", "FEW", "LIMITS", "Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, and how many may wait."""

    bytes: int = 16 * 2**20
    """Of a request's body."""
    held: int = 128 * 2**20
    """Bytes of all bodies at one time; bodies of at most `small` bytes are taken beyond it."""
    small: int = 2**16
    values: int = 2**20
    """Numbers and other values in one body; fewer where `codes` codes of the atlas have fewer."""
    keys: int = 1_000
    """Names of values in one body; as many other values are allowed beside those of codes."""
    arrival: float = 30.0
    """Seconds that a body may take to arrive."""
    pixels: int = 50_000_000
    """Of an image, before it is decoded."""
    side: int = 20_000
    """Pixels along either side of an image, before it is decoded."""
    uploads: int = 8
    """Images that wait to be decoded; the next is refused."""
    codes: int = 1_024
    """In a request that lists codes."""
    rows: int = 100_000
    """Real codes in one answer."""
    frames: int = 129
    waypoints: int = 16
    planners: int = 8
    """Paths of one request."""
    resolution: int = 512
    """Pixels along each side of a plane."""
    arrows: int = 32
    """Arrows along each side of a plane."""
    thumbnails: int = 256
    samples: int = 256
    neighbours: int = 64
    coordinate: float = 1e4
    """Largest absolute value of a coordinate: codes are of order one."""
    seconds: float = 30.0
    """Of computation for one request, after which it is stopped."""
    waiting: int = 64
    """Requests in either queue, of quick and of slow work; the next is refused."""


LIMITS = Limits()
FEW = 16
"""Codes that are decoded, drawn or compared at once; more are slow work."""
EMBEDDED = (50, 200_000)
"""The fewest and the most codes that can be laid out in the plane."""
