"""The tests' own shape checks: a wrong shape fails, in every test anew."""

import pytest
import torch
from jaxtyping import TypeCheckError

from latent_atlas.geometry.planes import Plane
from latent_atlas.travel.polyline import arc_lengths
from shape_checks import CALLS


@pytest.mark.parametrize("test", ["first", "second"])
def test_a_wrong_shape_is_refused_though_many_right_ones_came_before(test: str) -> None:
    with pytest.raises(TypeCheckError, match="points"):
        arc_lengths(torch.zeros(20, 3))
    for _ in range(CALLS):
        arc_lengths(torch.zeros(20, 3, 1))


def test_methods_are_checked_too() -> None:
    with pytest.raises(TypeCheckError):
        Plane(torch.zeros(2), torch.eye(2)).project(torch.zeros(3, 1, 2, dtype=torch.int64))
