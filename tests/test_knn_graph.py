"""Shortest paths over codes: the arc of a ring, two clusters apart, and what does not change them."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel.path_info import GraphInfo
from latent_atlas.travel.planners.knn_graph import Graph, shortest_routes
from latent_atlas.travel.polyline import arc_lengths


def constant(latents: Tensor) -> Tensor:
    return torch.ones(len(latents))


def on_the_ring(angles: Tensor, radius: float = 2.0) -> Tensor:
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def ring_codes(count: int = 300) -> Tensor:
    return on_the_ring(2 * math.pi * torch.arange(count) / count)


def test_a_path_over_a_ring_of_codes_follows_the_shorter_arc() -> None:
    start, end = on_the_ring(torch.tensor([0.1, 0.0])), on_the_ring(torch.tensor([2.6, -1.0]))
    points, info = shortest_routes(constant, ring_codes(), start, end, neighbours=4, frames=33)
    torch.testing.assert_close(
        arc_lengths(points)[-1], torch.tensor([2 * 2.5, 2 * 1.0]), rtol=5e-3, atol=0
    )
    torch.testing.assert_close(points.norm(dim=2), torch.full((33, 2), 2.0), rtol=5e-3, atol=0)
    assert info == GraphInfo(codes=300, edges=600, components=1)
    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)


def test_a_cost_turns_the_path_to_the_other_side() -> None:
    start, end = on_the_ring(torch.tensor([0.0])), on_the_ring(torch.tensor([2.8]))

    def costly_above(latents: Tensor) -> Tensor:
        return 1 + 9 * (latents[:, 1] > 0.3)

    over, _ = shortest_routes(constant, ring_codes(), start, end, neighbours=10, frames=17)
    under, _ = shortest_routes(costly_above, ring_codes(), start, end, neighbours=10, frames=17)
    assert over[8, 0, 1] > 1.9
    assert under[8, 0, 1] < -1.9


@pytest.mark.parametrize(("halfway", "straight"), [(4.7, True), (4.75, False)])
def test_an_edge_across_a_void_is_weighed_by_simpson_s_rule(halfway: float, straight: bool) -> None:
    # 3 (1 + 4 c + 1) / 6 = 1 + 2 c across the void; 2 sqrt(1.5² + 5²) = 10.44 around it.
    codes, start, end = (
        torch.tensor([[1.5, 5.0], [1.5, 6.0]]),
        torch.tensor([[0.0, 0.0]]),
        torch.tensor([[3.0, 0.0]]),
    )

    def cost(latents: Tensor) -> Tensor:
        return torch.where((latents - torch.tensor([1.5, 0.0])).norm(dim=1) < 1, halfway, 1.0)

    points, _ = shortest_routes(cost, codes, start, end, neighbours=10, frames=3)
    torch.testing.assert_close(points[1], torch.tensor([[1.5, 0.0 if straight else 5.0]]))


def test_two_clusters_apart_are_joined_by_their_nearest_pair(generator: torch.Generator) -> None:
    codes = two_clusters(2, distance=20.0).sample(400, generator=generator)
    left, right = codes[codes[:, 0] < 0], codes[codes[:, 0] > 0]
    start, end = left[:3] + 0.01, right[:3] + 0.01
    points, info = shortest_routes(constant, codes, start, end, neighbours=8, frames=2_001)
    assert info.components == 2
    nearest = torch.cdist(left, right)
    a, b = divmod(int(nearest.argmin()), len(right))
    for code in (left[a], right[b]):  # every journey passes both ends of the bridge
        assert ((points - code).norm(dim=2).min(dim=0).values < 0.02).all()
    assert torch.equal(points[-1], end)


def test_many_components_become_one(generator: torch.Generator) -> None:
    places = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0)) * 10
    codes = (places[:, None] + 0.1 * torch.randn(36, 5, 2, generator=generator)).flatten(0, 1)
    points, info = shortest_routes(constant, codes, codes[:1], codes[-1:], neighbours=3, frames=65)
    assert info.components == 36
    assert points.isfinite().all()
    assert points.diff(dim=0).norm(dim=2).max() < 10


def test_ends_that_are_codes_start_there() -> None:
    codes = ring_codes(60)
    points, _ = shortest_routes(constant, codes, codes[:1], codes[15:16], neighbours=1, frames=9)
    torch.testing.assert_close(points.norm(dim=2), torch.full((9, 1), 2.0), rtol=5e-3, atol=0)
    assert arc_lengths(points)[-1].item() == pytest.approx(math.pi, rel=5e-3)


def test_the_order_of_the_codes_does_not_matter(generator: torch.Generator) -> None:
    codes = torch.randn(300, 3, generator=generator)
    start, end = torch.randn(2, 4, 3, generator=generator)
    points, _ = shortest_routes(constant, codes, start, end, neighbours=10, frames=9)
    shuffled = codes[torch.randperm(300, generator=generator)]
    again, _ = shortest_routes(
        constant, torch.cat([shuffled, shuffled[:50]]), start, end, neighbours=10, frames=9
    )
    assert torch.equal(points, again)


def test_a_journey_does_not_pass_through_the_ends_of_others(generator: torch.Generator) -> None:
    codes = ring_codes(40)
    start, end = on_the_ring(torch.tensor([0.0])), on_the_ring(torch.tensor([3.0]))
    others = on_the_ring(torch.linspace(0.05, 2.95, 80), radius=1.9)  # a shorter way, were it one
    alone, _ = shortest_routes(constant, codes, start, end, neighbours=3, frames=9)
    starts, ends = torch.cat([start, others[:-1]]), torch.cat([end, others[1:]])
    together, _ = shortest_routes(constant, codes, starts, ends, neighbours=3, frames=9)
    torch.testing.assert_close(together[:, :1], alone)


def test_ends_nearer_to_each_other_than_to_codes_go_straight() -> None:
    start, end = torch.tensor([[0.3, 0.0]]), torch.tensor([[-0.3, 0.1]])
    points, _ = shortest_routes(constant, ring_codes(), start, end, neighbours=10, frames=5)
    torch.testing.assert_close(
        points, torch.lerp(start, end, torch.linspace(0, 1, 5)[:, None, None])
    )


def test_more_codes_than_the_most_are_drawn_from(generator: torch.Generator) -> None:
    codes = torch.randn(500, 2, generator=generator)
    arguments = (constant, codes, codes[:1], codes[1:2])
    size = {"neighbours": 10, "max_codes": 100, "frames": 5}
    first, info = shortest_routes(*arguments, **size, generator=torch.Generator().manual_seed(3))
    second, _ = shortest_routes(*arguments, **size, generator=torch.Generator().manual_seed(3))
    assert info.codes == 100
    assert torch.equal(first, second)
    with pytest.raises(UserError, match="500 codes are more than the graph's 100"):
        shortest_routes(*arguments, **size)


def test_codes_far_from_zero_and_few_codes_make_a_graph() -> None:
    codes = ring_codes(40)
    start, end = on_the_ring(torch.tensor([0.0])), on_the_ring(torch.tensor([2.0]))
    near, _ = shortest_routes(
        constant, codes.double(), start.double(), end.double(), neighbours=4, frames=9
    )
    far, _ = shortest_routes(
        constant, codes + 1_000, start + 1_000, end + 1_000, neighbours=4, frames=9
    )
    torch.testing.assert_close(far - 1_000, near.float(), atol=1e-3, rtol=0)
    two, info = shortest_routes(constant, codes[:2], start, end, neighbours=10, frames=9)
    assert info == GraphInfo(codes=2, edges=1, components=1)
    assert two.isfinite().all()


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (torch.zeros(9, 2), "1 different codes make no graph"),
        (torch.zeros(9, 3), "2 coordinates need a graph of such codes; these have 3"),
        (torch.full((9, 2), math.nan), "not finite"),
    ],
)
def test_codes_that_make_no_graph_get_one_sentence(codes: Tensor, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        shortest_routes(
            constant, codes, torch.zeros(1, 2), torch.ones(1, 2), neighbours=10, frames=3
        )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"neighbours": 0}, "0 neighbours make no graph"), ({"max_codes": 1}, "at most 1 codes")],
)
def test_a_graph_without_edges_is_refused(settings: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Graph(**settings)
