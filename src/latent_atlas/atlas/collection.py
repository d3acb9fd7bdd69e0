"""The images that codes are of: what an atlas shows beside a decoder, or without one."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from latent_atlas.attributes.base import Attribute
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.codes.embedder import Embedder, digest_of, embedder
from latent_atlas.codes.neighbours import NeighbourIndex, Neighbours, nearest_codes
from latent_atlas.data.decode import Square
from latent_atlas.data.load import square_of
from latent_atlas.data.packed import mapped
from latent_atlas.data.pixels import PackedImages, PackedNames, batches
from latent_atlas.errors import require
from latent_atlas.files import read_object
from latent_atlas.runs import Run
from latent_atlas.shapes import (
    ArrayLike,
    ByteImages,
    Films,
    Images,
    Latents,
    Pixels,
    Points,
    as_images,
    to_float,
)
from latent_atlas.travel.path import LatentPath, NearestImages

__all__ = ["FOLDER", "THUMBNAIL", "Collection", "thumbnails"]

FOLDER = "embeddings"
THUMBNAIL = 64  # side in pixels
PIECE = 512  # images that are reduced at a time
AGAIN = "restore it, or `latent-atlas embed` into another --out"


class Collection:
    """Thumbnails and names of real images, of which some have codes on a map.

    Attributes:
        images: Thumbnails of all images, (n, c, h, w), on the disk.
        names: Of all images.
        digests: Of the pixels of all images at full size, shape (n, 16): equal for equal pictures.
        rows: Numbers of the images that have a code, by part.
        on_map: The same numbers, part after part, shape (m,).
        codes: The codes of these images, shape (m, d).
    """

    def __init__(
        self,
        folder: Path,
        rows: dict[str, Tensor],
        codes: dict[str, Latents],
        side: int = THUMBNAIL,
    ) -> None:
        """Open what `latent-atlas embed` wrote.

        Arguments:
            folder: The folder `embeddings` of a run.
            rows: Numbers of the images by part.
            codes: Their codes by part, shape (m, d) each.
            side: At which images are shown, in pixels, at most as large as they are kept: that of
                a decoder's.

        Raises:
            UserError: the folder is missing or damaged, or is one of other codes.
        """
        manifest = folder / "manifest.json"
        require(manifest.is_file(), f"{manifest} is missing, which names the images; {AGAIN}")
        about = read_object(manifest, AGAIN)
        shards = [mapped(folder / shard["file"]) for shard in about["shards"]]
        whole = "".join(shard["sha256"] for shard in about["shards"])
        self.images = PackedImages([shard["images"] for shard in shards], whole)
        self.names = PackedNames([(shard["names"], shard["name_offsets"]) for shard in shards])
        self.digests = np.concatenate([shard["digests"] for shard in shards])
        self._means = [shard["means"] for shard in shards]
        self._run = Run(folder.parent)
        self.rows = rows
        self._side = side
        self.on_map = torch.cat([*rows.values()]).cpu()
        self.codes = torch.cat([*codes.values()])
        require(
            int(self.on_map.max()) < len(self.images),
            f"{folder} does not have the images of this run; {AGAIN}",
        )

    @cached_property
    def embedder(self) -> tuple[Embedder, Square]:
        """The model that made the codes, and what images become before it sees them.

        Raises:
            UserError: the model is not there, or has changed since.
        """
        about = (self._run.read_json("manifest.json") or {}).get("embedder") or {}
        require(bool(about), f"{self._run.path} does not say which model made its codes; {AGAIN}")
        name = about["model"]
        require(
            digest_of(name) == about["weights"],
            f"model '{name}' has changed since it made the codes of {self._run.path}, so its codes "
            "are others; restore it, or embed the collection again",
        )
        square = square_of(self._run.config().data, about["image_size"], about["channels"])
        return embedder(name, str(self.codes.device), about["precision"]), square

    def embed(self, images: ArrayLike) -> Latents:
        """Codes of images by the model that made the others, shape (n, d).

        Arguments:
            images: Shape (n, c, s, s) or (c, s, s), in [0, 1] or bytes in 0..255, of 1 to 4
                channels; s is the side of the squares that the run's images became.

        Raises:
            UserError: the images have another shape; or as for `embedder`.
        """
        model, square = self.embedder
        images = as_images(images)
        images = images[None] if images.ndim == 3 else images
        require(
            images.ndim == 4
            and images.shape[1] in (1, 2, 3, 4)
            and images.shape[2:] == (square.size, square.size),
            f"images must have shape (n, 3, {square.size}, {square.size}), as the model "
            f"'{model.name}' of this run sees them; these have {tuple(images.shape)}",
        )
        return model(images)

    @cached_property
    def _index(self) -> NeighbourIndex:
        return NeighbourIndex(self.codes)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(c, h, w) of a thumbnail."""
        channels, side, _ = self.images.shape[1:]
        return channels, min(side, self._side), min(side, self._side)

    def all_codes(self) -> Latents:
        """The codes of all images, also of those that are not on the map, shape (n, d)."""
        return torch.from_numpy(np.concatenate(self._means))

    def code(self, name: str) -> Tensor | None:
        """The code (d,) of an image by its name, or of the image of which it is a copy.

        None if there is no such image on the map.
        """
        if name not in self._numbers:
            return None
        number = self._numbers[name]
        alike = (self.digests[self.on_map.numpy()] == self.digests[number]).all(axis=1).nonzero()[0]
        return self.codes[int(alike[0])] if len(alike) else None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names[:])}

    def nearest(self, latents: Latents, k: int) -> Neighbours:
        """The images whose codes are nearest to codes (n, d); rows are numbers of images."""
        found = self._index.nearest(latents, k)
        return Neighbours(found.distances, self.on_map[found.rows.cpu()])

    def shown(self, latents: Latents) -> Images:
        """The nearest image to each code, shape (n, c, h, w), in [0, 1]."""
        return self.thumbnails(self.nearest(latents, 1).rows[:, 0])

    def pixels(self, rows: Tensor, side: int) -> Pixels:
        """Images by their numbers with such a side in pixels, in bytes; on the disk if they can."""
        some = self.images.at(rows.cpu())
        if side == some.shape[-1]:
            return some
        return torch.cat([thumbnails(part, side) for part in batches(some, PIECE)])

    def thumbnails(self, rows: Tensor) -> Images:
        """Images by their numbers, in [0, 1]."""
        return to_float(thumbnails(self.images[rows.cpu().numpy()], self._side))

    def shown_along(self, path: LatentPath, kept: Sequence[Attribute]) -> LatentPath:
        """The path with the images of its frames, by `along`.

        Arguments:
            path: The path.
            kept: Attributes that it keeps. Its images have the class of its start if that is one,
                unless no image is read as one of that class.
        """
        points = path.points
        alike = torch.ones(points.shape[1], len(self.codes), dtype=torch.bool)
        probes = [one for one in kept if isinstance(one, ClassProbe)]
        for probe in probes:
            classes = (probe.classify(some).cpu() for some in (points[0], self.codes))
            alike &= torch.eq(*torch.meshgrid(*classes, indexing="ij"))
        among = [row.nonzero()[:, 0] for row in alike]
        of_a_class = bool(probes) and all(map(len, among))
        films, nearest = self.along(points, among if of_a_class else None)
        path = replace(path, images=films.to(points.device), nearest=nearest)
        fewest = min(map(len, among)) if of_a_class else len(self.codes)
        if len(points) <= fewest:
            return path
        of = " of a class" if of_a_class else ""
        several = f"{len(points)} frames are shown by {fewest} images{of}, so images repeat"
        return replace(path, warnings=(*path.warnings, several))

    def along(
        self, points: Points, among: Sequence[Tensor] | None = None
    ) -> tuple[Films, NearestImages]:
        """Images of the frames of paths, each at most once along a path while there are enough.

        The pairs of a frame and an image are taken in the order of their distances, so a frame that
        is the code of an image shows it. Frames at the same place show the same image.

        Arguments:
            points: Codes, shape (frames, n, d).
            among: For each path the numbers, in `codes`, of the images that may be shown, one or
                more; None is all of them.

        Returns:
            The images (frames, n, c, h, w), and which they are.
        """
        allowed = [None] * points.shape[1] if among is None else among
        paths = [self._along(*pair) for pair in zip(points.unbind(dim=1), allowed, strict=True)]
        distances = torch.stack([one.distances[:, 0] for one in paths], dim=1)
        rows = torch.stack([one.rows[:, 0] for one in paths], dim=1)
        films = self.thumbnails(rows.flatten()).unflatten(0, rows.shape)
        return films, NearestImages(distances, rows)

    def _along(self, path: Latents, among: Tensor | None) -> Neighbours:
        places, place = path.unique(dim=0, return_inverse=True)
        if among is None:
            found = self.nearest(places, len(places))
        else:
            found = nearest_codes(places, self.codes[among], len(places))
            found = Neighbours(found.distances, self.on_map[among.cpu()][found.rows.cpu()])
        taken = _each_once(found.distances.cpu().numpy(), found.rows.numpy())
        columns = torch.from_numpy(taken)[:, None].to(place.device)
        return Neighbours(
            found.distances.gather(1, columns)[place],
            found.rows.gather(1, columns.cpu())[place.cpu()],
        )


def thumbnails(images: ByteImages, side: int = THUMBNAIL) -> UInt8[Tensor, "n c s s"]:
    """The images with such a side in pixels, or as they are if they are smaller."""
    if images.shape[-1] <= side:
        return images
    small = F.interpolate(images.float(), (side, side), mode="area")
    return small.round().to(torch.uint8)


def _each_once(distances: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each of n places the column of an image that no other has, the nearest pair first.

    Where there are fewer images than places, the rest take their nearest.

    Examples:
        >>> _each_once(np.array([[1.0, 3.0], [2.0, 9.0]]), np.array([[7, 8], [7, 8]]))
        array([0, 1])
    """
    chosen, used = np.full(len(rows), -1), set()
    for pair in distances.ravel().argsort(kind="stable").tolist():
        place, column = divmod(pair, rows.shape[1])
        if chosen[place] < 0 and (row := int(rows[place, column])) not in used:
            chosen[place] = column
            used.add(row)
    return np.maximum(chosen, 0)
