"""The tests' own shape checks: a wrong shape fails, in every test anew."""

import pytest
import torch
from jaxtyping import TypeCheckError

from latent_atlas.density.toys.clusters import two_clusters
from latent_atlas.sampling.convergence import split_r_hat
from shape_checks import CALLS


@pytest.mark.parametrize("test", ["first", "second"])
def test_a_wrong_shape_is_refused_though_many_right_ones_came_before(test: str) -> None:
    with pytest.raises(TypeCheckError, match="trace"):
        split_r_hat(torch.zeros(20, 3))
    for _ in range(CALLS):
        split_r_hat(torch.zeros(20, 3, 1))


def test_methods_are_checked_too() -> None:
    with pytest.raises(TypeCheckError):
        two_clusters(2, 2.4).log_prob(torch.zeros(3, 1, 2, dtype=torch.int64))
