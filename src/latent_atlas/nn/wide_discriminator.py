"""D_z of wide codes: learned in their leading principal coordinates, in closed form in the rest."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.shapes import Angles, Latents, Values

__all__ = ["ScaleMixture", "WideDiscriminator"]

SCALES = 64  # Gaussians of the mixture
STEPS = 300  # of expectation maximisation


class ScaleMixture(nn.Module):
    r"""v ~ Σ_j π_j N(0, s_j I) in m dimensions: any law of |v|² at least as wide as chi-squared.

    Codes of many coordinates differ in length more than a Gaussian's do: one heavy-tailed law of
    |v|² for all of them says most of what a density of so many coordinates can say.
    """

    scales: Tensor
    log_weights: Tensor

    def __init__(self, dimension: int) -> None:
        """Arguments: m, 1 or more; N(0, I) until `fit`."""
        super().__init__()
        self.dimension = dimension
        self.register_buffer("scales", torch.ones(SCALES))
        self.register_buffer("log_weights", torch.zeros(SCALES).log_softmax(0))

    def fit(self, squares: Values) -> None:
        """Find s_j and π_j by squared lengths |v|², shape (n,), of real codes."""
        means = squares.double() / self.dimension
        least, most = (means.quantile(q).clamp_min(1e-6).log() for q in (0.001, 0.999))
        # Between the ends, and somewhat beyond: a Gaussian's own width at this dimension.
        margin = (2 / self.dimension) ** 0.5
        scales = torch.linspace(0, 1, SCALES, dtype=torch.float64).to(means)
        scales = (least - margin + (most - least + 2 * margin) * scales).exp()
        logs = -0.5 * self.dimension * (scales.log() + means[:, None] / scales)
        log_weights = torch.zeros_like(scales).log_softmax(0)
        for _ in range(STEPS):  # of which each raises the likelihood
            shares = (logs + log_weights).softmax(dim=1)
            log_weights = shares.mean(dim=0).clamp_min(1e-30).log().log_softmax(0)
        self.scales.copy_(scales)
        self.log_weights.copy_(log_weights)

    def forward(self, squares: Tensor, cos: Tensor, sin: Tensor) -> tuple[Values, Values]:
        """log p_t - log N(0, I) by |v|² (n, 1) at noise (n, 1) or (1, 1), and its derivative."""
        scales = cos.square() * self.scales + sin.square()
        logs = self.log_weights - 0.5 * (self.dimension * scales.log() + squares / scales)
        slope = 0.5 - 0.5 * (logs.softmax(dim=1) / scales).sum(dim=1)
        return logs.logsumexp(dim=1) + 0.5 * squares.squeeze(1), slope

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Standard deviations sqrt(s_j) of `n` draws, shape (n, 1)."""
        drawn = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        return self.scales[drawn, None].sqrt()


class WideDiscriminator(nn.Module):
    r"""l(w, t) = l_k(Aᵀw, t) + log p_t(v) - log N(v; 0, I),    v = w - A Aᵀw.

    A (d, k) spans the leading coordinates, in which a discriminator of k dimensions learns; the
    rest of w is a `ScaleMixture`, independent of them and exact at every noise level.
    """

    axes: Tensor

    def __init__(self, leading: LatentDiscriminator, axes: Tensor) -> None:
        """Arguments: D_z of k dimensions; A, of orthonormal columns, in whitened coordinates."""
        super().__init__()
        self.leading = leading
        self.rest = ScaleMixture(axes.shape[0] - axes.shape[1])
        self.register_buffer("axes", axes)

    @torch.no_grad()
    def lower(self, nats: float) -> None:
        """As `LatentDiscriminator.lower`."""
        self.leading.lower(nats)

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """Logits, shape (n,), of whitened codes (n, d) at noise angles (n,) or (1,); None is 0."""
        if angles is None:
            angles = latents.new_zeros(1)
        u = latents @ self.axes
        rest, _ = self.rest(self._squares(latents, u), angles.cos()[:, None], angles.sin()[:, None])
        return self.leading(u, angles) + rest

    @torch.no_grad()
    def at(self, angle: Angles) -> Callable[[Latents], tuple[Values, Latents]]:
        """As `LatentDiscriminator.at`."""
        leading, cos, sin = self.leading.at(angle), angle.cos()[:, None], angle.sin()[:, None]

        @torch.no_grad()
        def function(latents: Latents) -> tuple[Values, Latents]:
            u = latents @ self.axes
            logit, slope = leading(u)
            rest, along = self.rest(self._squares(latents, u), cos, sin)
            outwards = 2 * along[:, None]
            return logit + rest, outwards * latents + (slope - outwards * u) @ self.axes.T

        return function

    @staticmethod
    def _squares(latents: Latents, u: Float[Tensor, "n k"]) -> Tensor:
        """|v|², shape (n, 1)."""
        squares = latents.square().sum(dim=1, keepdim=True) - u.square().sum(dim=1, keepdim=True)
        return squares.clamp_min(0)
