"""Paths as film strips, and their metrics in words."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.errors import checked
from latent_atlas.report.plots.film_strip import Strip, strips_picture
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE, frame_log_probs
from latent_atlas.travel.path import LatentPath

__all__ = ["describe", "draw_travel"]

FAR = 100.0  # length over the straight line from which on a path is taken to be closed


@checked
def draw_travel(atlas: Atlas, paths: Mapping[str, LatentPath]) -> Figure:
    """Film strips of the paths of several planners, with their log-density below."""
    threshold = atlas.map.threshold(OFF_MANIFOLD_SHARE)
    title = None
    if atlas.collection is not None:
        title = "Frames as the nearest real images"
        if atlas.model is not None:
            title = "Decoded frames, above the nearest real images"
    strips = [_strip(atlas, row, path, threshold) for row, path in paths.items()]
    return strips_picture(strips, threshold, title)


def describe(path: LatentPath) -> str:
    """The metrics of a single path in words."""
    numbers = path.numbers()
    if "moved" in numbers:
        return (
            f"moved by {numbers['moved']:.2f}"
            if numbers["moved"] > 0
            else "above the density threshold already"
        )
    counted = len(path.points) - 2 or 2  # the inner frames, or both ends
    words = [f"{round(numbers['off_manifold'] * counted)} of {counted} off-manifold"]
    if others := round(numbers.get("non_members", 0) * counted):
        words.append(f"{others} unlike real codes")
    if numbers["length_ratio"] < FAR:
        words.append(f"{numbers['length_ratio']:.2f} × straight")
    if numbers["distance_left"] > 5e-4:
        words.append(f"{100 * numbers['distance_left']:.0f} % of the distance left")
    if "reached" in numbers:
        words.append(f"{100 * numbers['reached']:.0f} % of the change")
    if numbers.get("broken", 0) > 0:
        words.append(f"{100 * numbers['broken']:.0f} % of frames do not keep it")
    if "chosen" in numbers:
        words.append(f"by {numbers['chosen']}")
    return ", ".join(words)


def _strip(atlas: Atlas, row: str, path: LatentPath, threshold: float) -> Strip:
    log_probs = frame_log_probs(atlas.map, path.points)[:, 0].cpu().numpy()
    real = None
    if atlas.model is not None and atlas.collection is not None and path.nearest is not None:
        real = atlas.collection.thumbnails(path.nearest.rows[:, 0]).numpy()
    frames = path.strip().cpu().numpy()
    return Strip(row, frames, log_probs, log_probs < threshold, describe(path), real)
