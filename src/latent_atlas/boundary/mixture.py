"""Several boundaries at once: each fake code comes from one of them."""

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.boundary.between import BetweenBoundary
from latent_atlas.boundary.box import BoxBoundary
from latent_atlas.boundary.gaussian import DiagonalBoundary, GaussianBoundary, PriorBoundary
from latent_atlas.boundary.gaussian_mixture import GaussianMixtureBoundary
from latent_atlas.boundary.kernel import KernelBoundary
from latent_atlas.boundary.low_density import LowDensityBoundary
from latent_atlas.config.density_ratio import MapConfig, mixture_parts
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values

__all__ = ["PARTS", "MixtureBoundary"]

PARTS: dict[str, type[Boundary]] = {
    kind.name: kind
    for kind in (
        PriorBoundary,
        BoxBoundary,
        KernelBoundary,
        LowDensityBoundary,
        BetweenBoundary,
        DiagonalBoundary,
        GaussianBoundary,
        GaussianMixtureBoundary,
    )
}
"""Every boundary that can be part of a mixture, by name."""


class MixtureBoundary(Boundary):
    """r(z) = Σ_i w_i r_i(z): a code of part i with probability w_i.

    Its log-density is known where every part's is.
    """

    name = "mixture"

    def __init__(self, parts: list[Boundary], weights: Tensor) -> None:
        """Arguments: the k parts, of different kinds; and w (k,), positive with sum 1."""
        # In the order of their names, so that a reloaded mixture draws the same.
        order = sorted(range(len(parts)), key=lambda i: parts[i].name)
        self.parts = parts = [parts[i] for i in order]
        self.weights = weights[order]
        self.dimension = parts[0].dimension
        self.covers = any(part.covers for part in parts)
        self.has_log_prob = all(part.has_log_prob for part in parts)
        unknown = [
            f"log r is unknown because part '{part.name}' has no log-density"
            for part in parts
            if not part.has_log_prob
        ]
        warnings = [f"part '{part.name}': {part.warning}" for part in parts if part.warning]
        self.warning = "; ".join(unknown + warnings) or None

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
        """Rebuild each part from its tensors, named by the part, a dot and their own name."""
        groups: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, own = key.partition(".")
            groups.setdefault(name, {})[own] = tensor
        weights = torch.stack([groups[name].pop("share") for name in groups])
        return cls([PARTS[name].load(dimension, group) for name, group in groups.items()], weights)

    def _log_parts(self, latents: Latents) -> Tensor:
        """log w_i r_i(z), shape (k, n)."""
        if not self.has_log_prob:
            raise UserError(f"boundary '{self.name}' has no log-density: {self.warning}")
        log_probs = torch.stack([part.log_prob(latents) for part in self.parts])
        return log_probs + self.weights.log()[:, None]

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over the parts.

        Raises:
            UserError: a part has no log-density.
        """
        return self._log_parts(latents).logsumexp(dim=0)

    def score(self, latents: Latents) -> Latents:
        """Σ_i P(i|z) grad log r_i(z); 0 where all parts are 0; errors as for `log_prob`."""
        shares = self._log_parts(latents).softmax(dim=0).nan_to_num(0)
        slopes = torch.stack([part.score(latents) for part in self.parts])
        return (shares[..., None] * slopes).sum(dim=0)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw each code from a random part."""
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
