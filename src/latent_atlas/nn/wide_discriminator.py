"""D_z of wide codes: a mixture in their leading principal coordinates, and a learned part."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.nn.mixture_reference import MixtureReference
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
        """Arguments: m, 0 or more; N(0, I) until `fit`, and always without a coordinate."""
        super().__init__()
        self.dimension = dimension
        self.register_buffer("scales", torch.ones(SCALES))
        self.register_buffer("log_weights", torch.zeros(SCALES).log_softmax(0))

    def fit(self, squares: Values) -> None:
        """Find s_j and π_j by squared lengths |v|², shape (n,), of real codes."""
        if self.dimension == 0:
            return
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
        logs, scales = self._logs(squares, cos, sin)
        slope = 0.5 - 0.5 * (logs.softmax(dim=1) / scales).sum(dim=1)
        return logs.logsumexp(dim=1) + 0.5 * squares.squeeze(1), slope

    def _logs(self, squares: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """log π_j N(v; 0, s_j(t)) without its constant, (n, j), and s_j(t)."""
        scales = cos.square() * self.scales + sin.square()
        logs = self.log_weights - 0.5 * (self.dimension * scales.log() + squares / scales)
        return logs, scales

    def scale(self, squares: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """s (n, 1), the geometric mean of the s_j that |v|² (n, 1) tells at a noise level."""
        shares = self._logs(squares, cos, sin)[0].softmax(dim=1)
        return (shares * self.scales.log()).sum(dim=1, keepdim=True).exp()


class WideDiscriminator(nn.Module):
    r"""l(w, t) = cos(t) f(A_kᵀw, t) + g(Aᵀw, t) + log p_t(v) - log N(v; 0, I).

    A (d, K) spans the leading coordinates u = Aᵀw. There g is the log-ratio of a Gaussian mixture,
    in closed form at every noise level, and f is what a discriminator of the first k of them has
    learned beyond the mixture. The rest, v = w - A Aᵀw - B Bᵀw, is a `ScaleMixture`, exact at every
    noise level. B spans what no code has: there the density is that of the boundary.

    The rest is independent of the leading coordinates, or, with `shared_scale`, has its scale s in
    common with them: f and g then describe u / √s, and so many coordinates v tell s all but
    exactly. At noise, u / √s_t with s_t = cos²(t) s + sin²(t) has the noise angle whose tangent is
    tan(t) / √s.
    """

    axes: Tensor
    null: Tensor

    def __init__(
        self,
        learned: LatentDiscriminator,
        mixture: MixtureReference,
        rest: ScaleMixture,
        axes: Tensor,
        null: Tensor,
        *,
        shared_scale: bool,
    ) -> None:
        """Arguments: D_z of k dimensions, without a reference; g; p; A and B, orthonormal."""
        super().__init__()
        self.learned = learned
        self.mixture = mixture
        self.rest = rest
        self.shared_scale = shared_scale
        self.register_buffer("axes", axes)
        self.register_buffer("null", null)

    @torch.no_grad()
    def lower(self, nats: float) -> None:
        """As `LatentDiscriminator.lower`."""
        self.learned.lower(nats)

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """Logits, shape (n,), of whitened codes (n, d) at noise angles (n,) or (1,); None is 0."""
        if angles is None:
            angles = latents.new_zeros(1)
        u, v = self._parts(latents)
        squares, (cos, sin) = v.square().sum(dim=1, keepdim=True), _cos_sin(angles)
        logit = self.rest(squares, cos, sin)[0]
        if self.shared_scale:
            root = self.rest.scale(squares, cos, sin).sqrt()
            width = ((cos * root).square() + sin.square()).sqrt()  # ONNX has no hypot
            angles = torch.atan2(sin, cos * root).squeeze(1)
            logit = logit + 0.5 * (1 - width.pow(-2)).mul(u.square()).sum(dim=1)
            logit = logit - u.shape[1] * width.log().squeeze(1)
            u = u / width
        learned = self.learned.beyond_reference(u[:, : self._k], angles)
        return logit + learned + self.mixture(u, *_cos_sin(angles))

    @torch.no_grad()
    def of_rest(self, latents: Latents) -> tuple[Values, Values]:
        """What the density of whitened codes (n, d) has of v alone, and |v|, shape (n,) each.

        It is log p(v) - log N(v; 0, I), less log √s for each leading coordinate that has the scale.
        """
        u, v = self._parts(latents)
        squares = v.square().sum(dim=1, keepdim=True)
        cos, sin = squares.new_ones(1, 1), squares.new_zeros(1, 1)
        log_ratio = self.rest(squares, cos, sin)[0]
        if self.shared_scale:
            scales = self.rest.scale(squares, cos, sin).squeeze(1)
            log_ratio = log_ratio - 0.5 * u.shape[1] * scales.log()
        return log_ratio, squares.squeeze(1).sqrt()

    @torch.no_grad()
    def at(self, angle: Angles) -> Callable[[Latents], tuple[Values, Latents]]:
        """As `LatentDiscriminator.at`."""
        if self.shared_scale:
            return partial(self._shared_at, angle)
        learned, mixture, cos_sin = self.learned.at(angle), self.mixture.at(angle), _cos_sin(angle)

        @torch.no_grad()
        def function(latents: Latents) -> tuple[Values, Latents]:
            u, v = self._parts(latents)
            logit, slope = mixture(u)
            more, further = learned(u[:, : self._k])
            slope[:, : self._k] += further
            rest, along = self.rest(v.square().sum(dim=1, keepdim=True), *cos_sin)
            return logit + more + rest, slope @ self.axes.T + 2 * along[:, None] * v

        return function

    def _shared_at(self, angle: Angles, latents: Latents) -> tuple[Values, Latents]:
        """Each code has an angle of its own then, so that autograd is as fast as a closed form."""
        with torch.inference_mode(False), torch.enable_grad():
            w = latents.detach().clone().requires_grad_()
            logit = self(w, angle)
            (slope,) = torch.autograd.grad(logit.sum(), w)
        return logit.detach(), slope

    @property
    def _k(self) -> int:
        return len(self.learned.mean)

    def _parts(self, latents: Latents) -> tuple[Float[Tensor, "n k"], Latents]:
        """u = Aᵀw and v."""
        u = latents @ self.axes
        v = latents - u @ self.axes.T
        return u, v - (v @ self.null) @ self.null.T if self.null.numel() else v


def _cos_sin(angles: Angles) -> tuple[Tensor, Tensor]:
    return angles.cos()[:, None], angles.sin()[:, None]
