"""Several boundaries at once: each fake code comes from one of them."""

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.boundary.box import BoxBoundary
from latent_atlas.boundary.gaussian import DiagonalBoundary, GaussianBoundary, PriorBoundary
from latent_atlas.boundary.gaussian_mixture import GaussiansBoundary
from latent_atlas.boundary.kernel import KernelBoundary
from latent_atlas.boundary.low_density import LowDensityBoundary
from latent_atlas.config.density_ratio import MapConfig, mixture_parts
from latent_atlas.density.base import Density
from latent_atlas.shapes import Latents, Values

__all__ = ["PARTS", "Mixed", "MixtureBoundary"]

PARTS: dict[str, type[Boundary]] = {
    kind.name: kind
    for kind in (
        PriorBoundary,
        BoxBoundary,
        KernelBoundary,
        LowDensityBoundary,
        DiagonalBoundary,
        GaussianBoundary,
        GaussiansBoundary,
    )
}
"""Every boundary that can be part of a mixture, by name."""


class Mixed(Density):
    """r(z) = Σ_i w_i r_i(z)."""

    def __init__(self, weights: Tensor, densities: list[Density]) -> None:
        """Arguments: w (k,), positive with sum 1; and the k densities r_i."""
        self.weights = weights
        self.densities = densities
        self.dimension = densities[0].dimension

    def _log_parts(self, latents: Latents) -> Tensor:
        """log w_i r_i(z), shape (k, n)."""
        return (
            torch.stack([density.log_prob(latents) for density in self.densities])
            + self.weights.log()[:, None]
        )

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over the parts."""
        return self._log_parts(latents).logsumexp(dim=0)

    def score(self, latents: Latents) -> Latents:
        """Σ_i P(i|z) grad log r_i(z); 0 where all parts are 0."""
        shares = self._log_parts(latents).softmax(dim=0).nan_to_num(0)
        slopes = torch.stack([density.score(latents) for density in self.densities])
        return (shares[..., None] * slopes).sum(dim=0)


class MixtureBoundary(Boundary):
    """r(z) = Σ_i w_i r_i(z): a code of part i with probability w_i.

    Its density exists where all parts have one.
    """

    name = "mixture"

    def __init__(self, parts: list[Boundary], weights: Tensor) -> None:
        """Arguments: the k parts, of different kinds; and w (k,), positive with sum 1."""
        order = sorted(
            range(len(parts)), key=lambda i: parts[i].name
        )  # so that a reloaded mixture draws the same
        self.parts = parts = [parts[i] for i in order]
        self.weights = weights[order]
        self.dimension = parts[0].dimension
        self.covers = any(part.covers for part in parts)
        densities = [part.density for part in parts if part.density is not None]
        self.density = Mixed(self.weights, densities) if len(densities) == len(parts) else None
        closed = [
            f"there is no log r, for part '{part.name}' has none"
            for part in parts
            if part.density is None
        ]
        notes = [f"part '{part.name}': {part.note}" for part in parts if part.note is not None]
        self.note = "; ".join(closed + notes) or None

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "MixtureBoundary":
        """Fit each part of `config.parts`."""
        shares = mixture_parts(config.parts)
        parts = [PARTS[name].fit(real, config, generator=generator) for name in shares]
        return cls(parts, torch.tensor(list(shares.values())).to(real))

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "MixtureBoundary":
        """Rebuild each part from its tensors, which bear its name and a dot before their own."""
        groups: dict[str, dict[str, Tensor]] = {}
        for place, tensor in tensors.items():
            name, _, own = place.partition(".")
            groups.setdefault(name, {})[own] = tensor
        weights = torch.stack([groups[name].pop("share") for name in groups])
        return cls([PARTS[name].load(dimension, group) for name, group in groups.items()], weights)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """A random part's draw."""
        part = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        codes = torch.empty(n, self.dimension, device=generator.device)
        for i in part.unique().tolist():
            rows = part == i
            codes[rows] = self.parts[i].sample(int(rows.sum()), generator=generator)
        return codes

    def tensors(self) -> dict[str, Tensor]:
        """Each part's tensors and its weight, `share`, after its name and a dot."""
        tensors: dict[str, Tensor] = {}
        for part, weight in zip(self.parts, self.weights, strict=True):
            tensors |= {f"{part.name}.{name}": value for name, value in part.tensors().items()}
            tensors[f"{part.name}.share"] = weight
        return tensors
