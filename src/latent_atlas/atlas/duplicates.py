"""Copies and near-duplicates among the images of a collection."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from latent_atlas.atlas.collection import Collection
from latent_atlas.codes.neighbours import nearest_others
from latent_atlas.display import Tabular
from latent_atlas.errors import require

__all__ = ["SHARE", "Duplicates", "Group", "find_duplicates"]

SHARE = 0.3
"""Of the typical distance to the nearest other image, within which two are near-duplicates."""
NEAREST = 8  # images that each is compared with exactly


@dataclass(frozen=True)
class Group:
    """Images that are alike.

    Attributes:
        rows: Their numbers in the collection, ascending, two or more.
        exact: Whether all have the same pixels.
        distance: The largest distance between the code of one and that of the first.
    """

    rows: tuple[int, ...]
    exact: bool
    distance: float


@dataclass(frozen=True)
class Duplicates(Tabular):
    """The groups of a collection.

    Attributes:
        groups: Copies first, then by distance.
        typical: Median distance from an image to the nearest one that differs from it.
        within: The distance below which two images are near-duplicates.
    """

    groups: tuple[Group, ...]
    typical: float
    within: float

    def columns(self) -> dict[str, Any]:
        """Of each image of a group: the group, its number in the collection, and other facts."""
        rows = [(i, row, g.exact, g.distance) for i, g in enumerate(self.groups) for row in g.rows]
        names = ("group", "row", "exact", "distance")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}

    def numbers(self, names: Any) -> dict[str, Any]:
        """The groups as JSON values; `names` are those of all images."""
        groups = [
            {"names": [names[row] for row in g.rows], "exact": g.exact, "distance": g.distance}
            for g in self.groups
        ]
        return {"typical": self.typical, "within": self.within, "groups": groups}


def find_duplicates(collection: Collection, share: float = SHARE) -> Duplicates:
    """Group images with equal pixels, or with codes nearer to each other than is usual.

    Two images are near-duplicates if the distance between their codes is at most `share` of the
    typical one: the median, over all images, of the distance to the nearest other. Groups are what
    such pairs connect.

    Arguments:
        collection: The images; those that have no code on the map are compared too.
        share: Above 0 and below 1.

    Raises:
        UserError: the share is out of range.
    """
    require(0 < share < 1, f"the share is {share}; choose one between 0 and 1, such as {SHARE}")
    codes = collection.all_codes()
    found = nearest_others(codes, NEAREST)
    distances, other = found.distances.numpy(), found.rows.numpy()
    nearest = np.where(distances > 0, distances, np.inf).min(axis=1)
    differs = np.isfinite(nearest)
    typical = float(np.median(nearest[differs])) if differs.any() else 0.0
    near = distances <= share * typical
    first = np.arange(len(codes))[:, None].repeat(distances.shape[1], axis=1)
    copies = _same_digest(collection.digests)
    edges = (np.concatenate([first[near], copies[0]]), np.concatenate([other[near], copies[1]]))
    ones = np.ones(len(edges[0]), bool)
    _, group = connected_components(coo_matrix((ones, edges), shape=(len(codes), len(codes))))
    members = _groups(group)
    groups = [_group(rows, codes, collection.digests) for rows in members]
    ordered = sorted(groups, key=lambda one: (not one.exact, one.distance, one.rows))
    return Duplicates(tuple(ordered), typical, share * typical)


def _same_digest(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each image with the first one of the same pixels."""
    _, first, which = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    return np.arange(len(digests)), first[which.reshape(-1)]


def _groups(group: np.ndarray) -> list[np.ndarray]:
    """The rows of each number that occurs twice or more."""
    order = group.argsort(kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [part for part in parts if len(part) > 1]


def _group(rows: np.ndarray, codes: Tensor, digests: np.ndarray) -> Group:
    chosen = codes[torch.from_numpy(rows)]
    distance = (chosen - chosen[0]).norm(dim=1).max().item()
    exact = bool((digests[rows] == digests[rows[0]]).all())
    return Group(tuple(rows.tolist()), exact, distance)
