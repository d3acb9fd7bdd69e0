"""Shortest paths over a graph of real codes: whoever goes from neighbour to neighbour stays with the population.

Such a path finds the way round voids, however far, and zigzags on it from code to code: twice the straight line in 16
dimensions. It is where a continuous planner starts from.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Points
from latent_atlas.travel.path import resample

__all__ = ["Codes", "Graph", "check_codes", "graph"]

SOURCES = 64  # journeys whose distances to all codes are held in memory at once
ROWS = 1_024  # codes whose distances to all codes are
BATCH = 65_536  # codes whose cost is asked for at a time

Codes = Float[Tensor, "m _"]  # the graph's own, beside the n journeys
Edges = Int[Tensor, "2 _"]  # numbers of the codes that each edge leaves and enters


@dataclass(frozen=True)
class Graph:
    """How codes are joined.

    Attributes:
        neighbours: How many nearest codes each code is joined to, and so is each end of a journey.
        most: How many codes make the graph; of more, so many are drawn at random.
    """

    neighbours: int = 10
    most: int = 10_000

    def __post_init__(self) -> None:
        """Refuse graphs without edges."""
        if self.neighbours < 1:
            raise UserError(
                f"codes joined to {self.neighbours} neighbours make no graph; choose 1 or more"
            )
        if self.most < 2:
            raise UserError(
                f"a graph of at most {self.most} codes has no edges; choose most of 2 or more"
            )


@torch.no_grad()
def graph(
    cost: Callable[[Tensor], Tensor],
    codes: Codes,
    start: Latents,
    end: Latents,
    how: Graph,
    *,
    frames: int,
    generator: torch.Generator | None = None,
) -> tuple[Points, dict[str, float | bool]]:
    r"""Minimise Σ w(a, b) over the edges from z_A to z_B, by Dijkstra's algorithm:

    w(a, b) = |b - a| (c(a) + 4 c((a + b) / 2) + c(b)) / 6,

    the integral of the cost c along the edge by Simpson's rule. Every code is joined to its nearest ones; an end is
    joined to its own, and to the other end where that is as near. No journey goes through another's ends. Where
    this leaves components apart, the shortest edges that make one of them are added: more neighbours would change the
    graph where it is sound, and two far clusters need as many as there are codes.

    References:
        A note on two problems in connexion with graphs, Dijkstra 1959; for paths along data, A Global Geometric
        Framework for Nonlinear Dimensionality Reduction, Tenenbaum et al. 2000.

    Arguments:
        cost: c(z) of codes (m, d) is (m,), positive and finite.
        codes: Real codes, shape (m, d); those that repeat count once.
        start, end: Shape (n, d).
        how: Neighbours and size.
        frames: Points of each path, at equal distances.
        generator: Draws the codes where there are more than `how.most`.

    Returns:
        Shape (frames, n, d) with exact ends, and of the graph: its `codes`, its `edges`, and its `components` before
        they were joined, 1 where the codes hang together.

    Raises:
        UserError: there are fewer than 2 different codes, they do not match the ends or are not finite, or there are
            more than `how.most` and no generator.
    """
    codes = _chosen(codes, start, how.most, generator)
    m, n = len(codes), len(start)
    nodes = torch.cat([codes, start, end])
    centred = nodes - codes.mean(
        dim=0
    )  # far from 0 the distances of near codes would be lost to rounding
    pairs = _neighbour_pairs(centred[:m], min(how.neighbours, m - 1))
    bridges, components = _bridges(centred[:m], pairs)
    pairs = torch.cat([pairs, bridges], dim=1)
    edges = torch.cat([pairs, _joins(centred, m, n, min(how.neighbours, m)), pairs.flip(0)], dim=1)
    route = _routes(edges, _weights(cost, nodes, edges), m, n)
    points = resample(nodes[route.to(nodes.device)], frames)
    return points, {
        "codes": float(m),
        "edges": float(pairs.shape[1]),
        "components": float(components),
    }


def check_codes(codes: Codes, start: Latents) -> None:
    """Refuse codes that are not of the journeys' space.

    Raises:
        UserError: they have another dimension, or are not finite.
    """
    if codes.shape[1] != start.shape[1]:
        raise UserError(
            f"journeys of {start.shape[1]} coordinates need codes of as many; these have {codes.shape[1]}"
        )
    if not codes.isfinite().all():
        raise UserError(
            "the codes of the graph have coordinates that are not finite; leave those codes out"
        )


def _chosen(codes: Codes, start: Latents, most: int, generator: torch.Generator | None) -> Tensor:
    """Different codes, `most` of them if there are more, or one sentence saying why they make no graph."""
    check_codes(codes, start)
    if len(codes) > most:
        if generator is None:
            raise UserError(
                f"{len(codes)} codes are more than the graph's {most}; give a generator that chooses them"
            )
        codes = codes[
            torch.randperm(len(codes), generator=generator, device=generator.device)[:most].to(
                codes.device
            )
        ]
    codes = codes.unique(dim=0).to(start)
    if len(codes) < 2:
        raise UserError(f"{len(codes)} different codes make no graph; give 2 or more")
    return codes


def _nearest(places: Latents, codes: Codes, count: int) -> tuple[Tensor, Tensor]:
    """Distances to the `count` codes nearest to each place, and their numbers, shape (n, count) each."""
    found = [torch.cdist(part, codes).topk(count, largest=False) for part in places.split(ROWS)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def _neighbour_pairs(codes: Latents, count: int) -> Edges:
    """Each pair of codes once, where either is among the `count` nearest of the other."""
    heads = _nearest(codes, codes, count + 1)[1]  # one of them is the code itself
    tails = torch.arange(len(codes), device=codes.device)[:, None].expand_as(heads)
    pairs = torch.stack([torch.minimum(tails, heads), torch.maximum(tails, heads)]).flatten(1)
    numbered = (pairs[0] * len(codes) + pairs[1])[pairs[0] < pairs[1]].unique()
    return torch.stack([numbered // len(codes), numbered % len(codes)])


def _joins(nodes: Latents, m: int, n: int, count: int) -> Edges:
    """Edges from each start to its nearest codes, from those of each end to it, and from a start to an end as near.

    They lead away from starts and into ends only, so that no journey goes through another's ends.
    """
    start, end = nodes[m:].chunk(2)
    a_far, a_near = _nearest(start, nodes[:m], count)
    b_far, b_near = _nearest(end, nodes[:m], count)
    a, b = (
        torch.arange(m, m + n, device=nodes.device),
        torch.arange(m + n, m + 2 * n, device=nodes.device),
    )
    near = (end - start).norm(dim=1) <= torch.maximum(a_far[:, -1], b_far[:, -1])
    leaving = torch.stack([a[:, None].expand_as(a_near), a_near]).flatten(1)
    arriving = torch.stack([b_near, b[:, None].expand_as(b_near)]).flatten(1)
    return torch.cat([leaving, arriving, torch.stack([a[near], b[near]])], dim=1)


def _bridges(codes: Latents, pairs: Edges) -> tuple[Edges, int]:
    """The shortest edges that make one component of all, and how many components there were: Borůvka's algorithm.

    Each component but the largest is joined to the code nearest to it outside, until one is left.
    """
    bridges = pairs[:, :0]
    components, labels = _components(pairs, codes)
    count = components
    while count > 1:
        bridges = torch.cat([bridges, _shortest_ways_out(codes, labels)], dim=1)
        count, labels = _components(torch.cat([pairs, bridges], dim=1), codes)
    return bridges, components


def _components(pairs: Edges, codes: Latents) -> tuple[int, Tensor]:
    """How many components the edges make of the codes, and the number of each code's, shape (m,)."""
    from scipy.sparse import (
        csr_matrix,  # here, because loading it takes half a second that other planners save
    )
    from scipy.sparse.csgraph import connected_components

    tails, heads = pairs.cpu().numpy()
    matrix = csr_matrix((np.ones(len(tails)), (tails, heads)), shape=(len(codes), len(codes)))
    count, labels = connected_components(matrix, directed=False)
    return count, torch.from_numpy(labels).to(codes.device)


def _shortest_ways_out(codes: Latents, labels: Tensor) -> Edges:
    """For each component but the largest, the shortest edge from it to another."""
    tails = (labels != labels.bincount().argmax()).nonzero()[:, 0]
    nearest = []
    for part in tails.split(ROWS):
        inside = labels[part][:, None] == labels
        nearest.append(torch.cdist(codes[part], codes).masked_fill(inside, torch.inf).min(dim=1))
    distances, heads = (
        torch.cat([x.values for x in nearest]),
        torch.cat([x.indices for x in nearest]),
    )
    order = distances.argsort()
    _, first = np.unique(labels[tails[order]].cpu().numpy(), return_index=True)
    chosen = order[torch.from_numpy(first).to(order.device)]
    # Two components may choose the same edge, one each way.
    return torch.stack([tails[chosen], heads[chosen]]).sort(dim=0).values.unique(dim=1)


def _weights(cost: Callable[[Tensor], Tensor], nodes: Latents, edges: Edges) -> Tensor:
    """w of each edge, shape (e,); each place is asked for its cost once."""
    low, high = edges.min(dim=0).values, edges.max(dim=0).values
    numbers, position = (low * len(nodes) + high).unique(return_inverse=True)
    a, b = numbers // len(nodes), numbers % len(nodes)
    at_nodes = torch.cat([cost(part) for part in nodes.split(BATCH)])
    halfway = torch.cat([cost(part) for part in ((nodes[a] + nodes[b]) / 2).split(BATCH)])
    weights = (nodes[b] - nodes[a]).norm(dim=1) * (at_nodes[a] + 4 * halfway + at_nodes[b]) / 6
    return weights[position]


def _routes(edges: Edges, weights: Tensor, m: int, n: int) -> Tensor:
    """Nodes on the shortest way from each start m + i to its end m + n + i, (steps, n); short ways repeat the start."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    tails, heads = edges.cpu().numpy()
    matrix = csr_matrix(
        (weights.cpu().double().numpy(), (tails, heads)), shape=(m + 2 * n, m + 2 * n)
    )
    routes = []
    for starts in torch.arange(m, m + n).split(SOURCES):
        _, before = dijkstra(matrix, indices=starts.numpy(), return_predecessors=True)
        previous, steps = torch.from_numpy(before).long(), [starts + n]
        while (steps[-1] != starts).any():
            earlier = previous.gather(1, steps[-1][:, None])[:, 0]
            steps.append(torch.where(steps[-1] == starts, starts, earlier))
        routes.append(torch.stack(steps[::-1]))
    longest = max(len(route) for route in routes)
    waits = [route[:1].expand(longest - len(route), -1) for route in routes]
    return torch.cat([torch.cat(both) for both in zip(waits, routes, strict=True)], dim=1)
