"""Shortest paths over a graph of real codes, whose edges stay near the population.

Such a path goes round voids, however wide, and zigzags from code to code: it is twice as long as
    the
straight line in 16 dimensions. It is where a geodesic can start from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from jaxtyping import Int
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, Points, Trace, as_rows, batched
from latent_atlas.travel.path_info import GraphInfo, PlannerInfo
from latent_atlas.travel.planners.base import Codes, Resources
from latent_atlas.travel.planners.geodesic import Geodesic, cost, threshold_of
from latent_atlas.travel.polyline import resample

__all__ = ["Graph", "shortest_routes"]

HIGHEST_COST = 1e6  # of a place where the density is 0, so that a route is a sum of finite edges
SOURCES = 64  # paths whose distances to all codes are in memory at once
ROWS = 1_024  # codes whose distances to all codes are
BATCH = 65_536  # codes whose cost is computed at a time

Edges = Int[Tensor, "2 _"]  # numbers of the codes that each edge leaves and enters


@checked
@dataclass(frozen=True)
class Graph(Geodesic):
    """The shortest route over real codes by the cost of `Geodesic`, shortened to a geodesic.

    Attributes:
        strength, share, threshold, widths, nodes, iterations, tolerance: As for `Geodesic`. Without
            a threshold, `share` of `codes` lies below it.
        codes: Real codes, shape (m, d). They have to be given; an atlas gives those that its map
            was fitted to.
        neighbours: How many nearest codes each code is joined to, and each end of a path; 1 or
            more.
        max_codes: Maximal number of codes; of more, so many are drawn at random. 2 or more.
        refine: Whether the route is shortened; without, the route itself is the path.
    """

    name: ClassVar[str] = "graph"

    codes: ArrayLike | None = None
    neighbours: int = 10
    max_codes: int = 10_000
    refine: bool = True

    def __post_init__(self) -> None:
        """Refuse graphs without edges."""
        super().__post_init__()
        if self.neighbours < 1:
            raise UserError(
                f"codes joined to {self.neighbours} neighbours make no graph; choose 1 or more"
            )
        if self.codes is not None:
            object.__setattr__(self, "codes", as_rows(self.codes).detach())
        if self.max_codes < 2:
            raise UserError(
                f"a graph of at most {self.max_codes} codes has no edges; choose max_codes of 2 "
                "or more"
            )

    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
        initial: Trace | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """See `Planner.plan`; the generator draws the codes if there are more than `max_codes`.

        Raises:
            UserError: there are no codes, or they make no graph.
        """
        if self.codes is None:
            raise UserError("planner 'graph' was given no codes; use Graph(codes=...)")
        check_codes(self.codes, start)
        how = self.completed(density, Resources())
        route, size = shortest_routes(
            how.edge_cost(density),
            self.codes,
            start,
            end,
            neighbours=self.neighbours,
            max_codes=self.max_codes,
            frames=max(frames, self.nodes) if self.refine else frames,
            generator=generator,
        )
        if not self.refine:
            return route, PlannerInfo(graph=size)
        points, info = super(Graph, how).plan(
            density, start, end, frames=frames, generator=generator, initial=route
        )
        return points, replace(info, graph=size)

    def edge_cost(self, density: Density) -> Callable[[Tensor], Tensor]:
        """c of codes (m, d), finite everywhere."""
        assert self.threshold is not None
        threshold, strength = self.threshold, self.strength

        def finite_cost(latents: Tensor) -> Tensor:
            costs = cost(density.log_prob(latents), threshold, strength)
            return costs.nan_to_num(HIGHEST_COST, HIGHEST_COST)

        return finite_cost

    def completed(self, density: Density, resources: Resources) -> "Graph":
        """The same planner with codes of a run unless it has some, and with a threshold."""
        how = cast("Graph", super().completed(density, resources))
        if how.codes is None:
            how = replace(how, codes=resources.codes)
        if how.codes is None or how.threshold is not None:
            return how
        codes = how.codes
        return replace(how, threshold=threshold_of(density, codes, how.share))


@torch.no_grad()
def shortest_routes(
    cost: Callable[[Tensor], Tensor],
    codes: Codes,
    start: Latents,
    end: Latents,
    *,
    neighbours: int,
    max_codes: int = 10_000,
    frames: int,
    generator: torch.Generator | None = None,
) -> tuple[Points, GraphInfo]:
    r"""Minimise Σ w(a, b) over the edges from z_A to z_B, by Dijkstra's algorithm.

    The weight w(a, b) = |b - a| (c(a) + 4 c((a + b) / 2) + c(b)) / 6 is the integral of the cost c
    along the edge by Simpson's rule. Every code is joined to its nearest ones. An end is joined to
    its own, and to the other end if that is as near. No path goes through the ends of another.
    Where this leaves several components, the shortest edges that connect them are added: more
    neighbours would change the graph where it is sound.

    References:
        A note on two problems in connexion with graphs, Dijkstra 1959; for paths along data, A
        Global Geometric Framework for Nonlinear Dimensionality Reduction, Tenenbaum et al. 2000.

    Arguments:
        cost: c(z) of codes (m, d) is (m,), positive and finite.
        codes: Real codes, shape (m, d); those that repeat count once.
        start, end: Shape (n, d).
        neighbours, max_codes: As for `Graph`.
        frames: Points of each path, at equal distances.
        generator: Draws the codes if there are more than `max_codes`.

    Returns:
        The paths, shape (frames, n, d), with exact ends, and the size of the graph.

    Raises:
        UserError: there are fewer than 2 different codes, they do not match the ends or are not
            finite, or there are more than `max_codes` and no generator.
    """
    codes = _chosen(codes, start, max_codes, generator)
    m, n = len(codes), len(start)
    nodes = torch.cat([codes, start, end])
    # Far from 0 the distances of near codes would be lost to rounding.
    centred = nodes - codes.mean(dim=0)
    pairs = _neighbour_pairs(centred[:m], min(neighbours, m - 1))
    count, labels = _components(pairs, centred[:m])
    pairs = torch.cat([pairs, _bridges(centred[:m], count, labels)], dim=1)
    edges = torch.cat([pairs, _joins(centred, m, n, min(neighbours, m)), pairs.flip(0)], dim=1)
    route = _routes(edges, _weights(cost, nodes, edges), m, n)
    points = resample(nodes[route.to(nodes.device)], frames)
    return points, GraphInfo(codes=m, edges=pairs.shape[1], components=count)


def check_codes(codes: Codes, start: Latents) -> None:
    """Refuse codes that are not in the space of the paths.

    Raises:
        UserError: they have another dimension, or are not finite.
    """
    if codes.shape[1] != start.shape[1]:
        raise UserError(
            f"paths between codes of {start.shape[1]} coordinates need a graph of such codes; "
            f"these have {codes.shape[1]}"
        )
    if not codes.isfinite().all():
        raise UserError(
            "the codes of the graph have coordinates that are not finite; leave those codes out"
        )


def _chosen(
    codes: Codes, start: Latents, max_codes: int, generator: torch.Generator | None
) -> Tensor:
    """Different codes, `max_codes` of them if there are more."""
    check_codes(codes, start)
    if len(codes) > max_codes:
        if generator is None:
            raise UserError(
                f"{len(codes)} codes are more than the graph's {max_codes}; "
                "give a generator that draws them"
            )
        order = torch.randperm(len(codes), generator=generator, device=generator.device)
        codes = codes[order[:max_codes].to(codes.device)]
    codes = codes.unique(dim=0).to(start)
    if len(codes) < 2:
        raise UserError(f"{len(codes)} different codes make no graph; give 2 or more")
    return codes


def _nearest(places: Latents, codes: Codes, count: int) -> tuple[Tensor, Tensor]:
    """Distances to the `count` codes nearest to each place, and their numbers, (n, count) each."""
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
    """Edges from each start to its nearest codes, to each end from those, and between near ends.

    They lead away from starts and into ends only, so that no path goes through another's ends.
    """
    start, end = nodes[m:].chunk(2)
    a_far, a_near = _nearest(start, nodes[:m], count)
    b_far, b_near = _nearest(end, nodes[:m], count)
    a = torch.arange(m, m + n, device=nodes.device)
    b = a + n
    near = (end - start).norm(dim=1) <= torch.maximum(a_far[:, -1], b_far[:, -1])
    leaving = torch.stack([a[:, None].expand_as(a_near), a_near]).flatten(1)
    arriving = torch.stack([b_near, b[:, None].expand_as(b_near)]).flatten(1)
    return torch.cat([leaving, arriving, torch.stack([a[near], b[near]])], dim=1)


def _components(pairs: Edges, codes: Latents) -> tuple[int, Tensor]:
    """How many components the edges make of the codes, and the component of each code, (m,)."""
    # Here, because loading it takes half a second that other planners save.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    tails, heads = pairs.cpu().numpy()
    matrix = coo_matrix((tails >= 0, (tails, heads)), shape=(len(codes), len(codes)))
    count, labels = connected_components(matrix, directed=False)
    return count, torch.from_numpy(labels).long().to(codes.device)


def _bridges(codes: Latents, count: int, labels: Tensor) -> Edges:
    """The shortest edges that connect the components: their minimum spanning tree."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    if count == 1:
        return torch.empty(2, 0, dtype=torch.long, device=codes.device)
    apart = codes.new_full((count, count), torch.inf)
    for rows in torch.arange(len(codes), device=codes.device).split(ROWS):
        distances = torch.cdist(codes[rows], codes)
        to_component = distances.new_full((len(rows), count), torch.inf).scatter_reduce(
            1, labels.expand_as(distances), distances, "amin"
        )
        own = labels[rows][:, None].expand_as(to_component)
        apart.scatter_reduce_(0, own, to_component, "amin")
    # The tree takes 0 for no edge, which rounding can make of a distance.
    apart = apart.clamp_min(torch.finfo(apart.dtype).tiny).fill_diagonal_(0)
    tree = minimum_spanning_tree(apart.cpu().numpy()).tocoo()
    bridges = [
        _closest(codes, labels == a, labels == b) for a, b in zip(tree.row, tree.col, strict=True)
    ]
    return torch.stack(bridges, dim=1)


def _closest(codes: Latents, some: Tensor, others: Tensor) -> Tensor:
    """The numbers of the two codes that are closest, one of each component, shape (2,)."""
    tails, heads = some.nonzero()[:, 0], others.nonzero()[:, 0]
    distances, nearest = zip(
        *(torch.cdist(codes[part], codes[heads]).min(dim=1) for part in tails.split(ROWS)),
        strict=True,
    )
    tail = torch.cat(distances).argmin()
    return torch.stack([tails[tail], heads[torch.cat(nearest)[tail]]]).sort().values


def _weights(cost: Callable[[Tensor], Tensor], nodes: Latents, edges: Edges) -> Tensor:
    """w of each edge, shape (e,); the cost of each place is computed once."""
    low, high = edges.min(dim=0).values, edges.max(dim=0).values
    numbers, position = (low * len(nodes) + high).unique(return_inverse=True)
    a, b = numbers // len(nodes), numbers % len(nodes)
    at_nodes = batched(cost, nodes, BATCH)
    halfway = batched(cost, (nodes[a] + nodes[b]) / 2, BATCH)
    weights = (nodes[b] - nodes[a]).norm(dim=1) * (at_nodes[a] + 4 * halfway + at_nodes[b]) / 6
    return weights[position]


def _routes(edges: Edges, weights: Tensor, m: int, n: int) -> Tensor:
    """Nodes on the shortest way from each start m + i to its end m + n + i, shape (steps, n).

    Ways with fewer nodes repeat the start.
    """
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
