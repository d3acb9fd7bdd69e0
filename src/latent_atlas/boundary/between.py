"""Points between two real codes, where a dense latent space shows mixtures of images."""

from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents

__all__ = ["BetweenBoundary"]

CODES = 10_000  # that are kept to draw pairs from


class BetweenBoundary(Boundary):
    r"""z_fake lies between two random real codes a and b, at a uniform share s of the way.

    Half of the fakes are on the line, (1 - s) a + s b. The other half are on the turn round the
    mean m of the codes: in the direction of the point on the line from m, and at the distance
    |z - m|² = (1 - s) |a - m|² + s |b - m|². The middle of a line is nearer to m than real codes
    are, and often likelier by any density of codes; on a turn only the direction tells.

    Its density is an integral over all pairs, without a closed form: this D_z gives realness and
    confusion, and no log q.
    """

    name = "between"
    has_log_prob = False
    covers = False
    warning = "it is an integral over all pairs of codes, without a closed form"

    def __init__(self, codes: Latents) -> None:
        """Arguments: real codes, shape (m, d), m of 2 or more."""
        self.codes = codes
        self.dimension = codes.shape[1]

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "BetweenBoundary":
        """Keep 10,000 of the codes; no setting of the map matters."""
        order = torch.randperm(len(real), generator=generator, device=generator.device)
        return cls(real[order[:CODES]].clone())

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "BetweenBoundary":
        """Rebuild from the codes."""
        return cls(**tensors)

    def log_prob(self, latents: Latents) -> NoReturn:
        """None has a value.

        Raises:
            UserError: always.
        """
        raise UserError(f"boundary '{self.name}' has no log-density: {self.warning}")

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Half of the fakes on lines, half on turns."""
        device, count = generator.device, len(self.codes)
        first = torch.randint(count, (n,), generator=generator, device=device)
        others = torch.randint(1, count, (n,), generator=generator, device=device)
        centre = self.codes.mean(dim=0)
        a, b = self.codes[first] - centre, self.codes[(first + others) % count] - centre
        s = torch.rand(n, 1, generator=generator, device=device)
        points = a.lerp(b, s)
        squares = a.square().sum(dim=1, keepdim=True).lerp(b.square().sum(dim=1, keepdim=True), s)
        turned = F.normalize(points, dim=1) * squares.sqrt()
        on_line = torch.rand(n, 1, generator=generator, device=device) < 0.5
        return centre + torch.where(on_line, points, turned)

    def tensors(self) -> dict[str, Tensor]:
        """The codes."""
        return {"codes": self.codes}
