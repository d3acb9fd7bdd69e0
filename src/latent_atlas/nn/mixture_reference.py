"""The log-ratio of a Gaussian mixture to N(0, I), in closed form at every noise level."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.shapes import Angles, Latents, Values

__all__ = ["MixtureReference"]


class MixtureReference(nn.Module):
    r"""g(z, t) = log Σ_j π_j N(z; cos(t) μ_j, cos²(t) Σ_j + sin²(t) I) - log N(z; 0, I).

    It is where D_z begins: the noised mixture's own log-ratio, which is 0 at t = π/2.
    """

    log_weights: Tensor
    means: Tensor
    bases: Tensor
    variances: Tensor

    def __init__(self, latent_dim: int, components: int) -> None:
        """Arguments: d, and the number of Gaussians; all are N(0, I) until `set`."""
        super().__init__()
        self.register_buffer("log_weights", torch.zeros(components).log_softmax(0))
        self.register_buffer("means", torch.zeros(components, latent_dim))
        self.register_buffer("bases", torch.eye(latent_dim).repeat(components, 1, 1))
        self.register_buffer("variances", torch.ones(components, latent_dim))

    def set(self, mixture: GaussianMixture) -> None:
        """Take the weights, means and covariances of a mixture of full covariances."""
        factors = mixture.scales.double()
        variances, bases = torch.linalg.eigh(factors @ factors.mT)
        self.log_weights.copy_(mixture.weights.log())
        self.means.copy_(mixture.means)
        self.bases.copy_(bases)
        self.variances.copy_(variances)

    def forward(self, latents: Latents, cos: Tensor, sin: Tensor) -> Values:
        """Nats, shape (n,), of codes (n, d) at cosines and sines (m, 1), where m divides n.

        Code i is at the angle i mod m.
        """
        logs = self._parts(latents, cos, sin)[0]
        return logs.logsumexp(dim=0) + 0.5 * latents.square().sum(dim=1)

    @torch.no_grad()
    def slope(
        self, latents: Latents, cos: Tensor, sin: Tensor, count: int | None = None
    ) -> tuple[Values, Float[Tensor, "k d"]]:
        """As `forward`, and the gradients (count, d) at the first codes, by default at all."""
        logs, white = self._parts(latents, cos, sin)
        shares = logs[:, :count].softmax(dim=0)[..., None]
        slope = latents[:count] - (white[:, :count].mul_(shares) @ self.bases.mT).sum(dim=0)
        return logs.logsumexp(dim=0) + 0.5 * latents.square().sum(dim=1), slope

    def _parts(self, latents: Latents, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """log π_j N(z; ...) without its constant, (j, n), and Σ_j(t)^(-1) (z - m_j) turned."""
        # Not under autocast: a difference of large squares, of which bf16 would leave nothing.
        with torch.autocast(latents.device.type, enabled=False):
            centres = self.means[:, None] @ self.bases
            latents = latents.to(self.means)
            # By `shape`, since `len` would fix the number of rows of a graph that is exported.
            times = latents.shape[0] // cos.shape[0]
            given = torch.cat([latents, cos.repeat(times, 1)], dim=1)
            main = given @ torch.cat([self.bases, -centres], dim=1)
            variances = torch.addcmul(sin.square(), cos.square(), self.variances[:, None])
            each = (-1, cos.shape[0])
            white = (main.unflatten(1, each) / variances[:, None]).flatten(1, 2)
            parts = torch.linalg.vecdot(white, main).unflatten(1, each)
            parts = (parts + variances.log().sum(dim=2)[:, None]).flatten(1)
            return self.log_weights[:, None] - 0.5 * parts, white

    @torch.no_grad()
    def at(self, angle: Angles) -> Callable[..., tuple[Values, Latents]]:
        """g (n,) of codes (n, d) at one angle (1,), and its gradient (n, d)."""
        cos, sin = angle.cos(), angle.sin()
        variances = cos.square() * self.variances + sin.square()
        whitening = self.bases * variances.rsqrt()[:, None]
        centres = cos * (self.means[:, None] @ whitening)
        constants = self.log_weights - 0.5 * variances.log().sum(dim=1)

        def function(
            latents: Latents, count: int | None = None
        ) -> tuple[Values, Float[Tensor, "k d"]]:
            white = latents @ whitening - centres
            logs = constants[:, None] - 0.5 * white.square().sum(dim=2)
            shares = logs[:, :count].softmax(dim=0)[..., None]
            slope = latents[:count] - (shares * (white[:, :count] @ whitening.mT)).sum(dim=0)
            return logs.logsumexp(dim=0) + 0.5 * latents.square().sum(dim=1), slope

        return function
