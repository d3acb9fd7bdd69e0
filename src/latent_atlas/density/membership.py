r"""Membership: whether a code looks like a real one, and not like a point between two of them.

A density alone cannot tell. In a dense latent space the middle between two codes may be *more*
likely than either, and still be a place where no real code lies: real codes lie on a shell. So a
small set of statistics s(z) is asked together,

    log-odds(z) = a + <b, s> + <s, C s>,
    s = (log q(z), log q_w(z), |y(z)|, log |y(E(G(z))) - y(z)|),

with q_w the density with noise of standard deviation w, and y the code whitened by the real codes'
mean and covariance. The last one asks what the decoder G shows: an image that no code stands for is
encoded by E as another one. a, b and C are a logistic regression between real codes and points
between them, on straight lines and on turns round their mean.

References:
    Density of States Estimation for Out-of-Distribution Detection, Morningstar et al. 2021, for
    several statistics of a density; Detecting Out-of-Distribution Inputs Using Typicality,
    Nalisnick et al. 2019; Algorithmic Learning in a Random World, Vovk et al. 2005, for p-values by
    held-out codes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.moments import cholesky
from latent_atlas.errors import checked, counted, require
from latent_atlas.shapes import ArrayLike, Latents, Mask, Values, as_rows, batched

__all__ = ["FEWEST", "Membership", "points_between"]

BATCH = 4_096
BEYOND = 0.5  # of the way from the middle real code to the last one, in a statistic
DECODED = 600  # codes that it is fitted to, and points between them, where each is decoded
FAKES = 3  # points between codes for each code
EDGE = 0.1  # of a line or turn at either end, where a point is hardly between
FEWEST = 40  # codes
FOLDS = 4  # in which log-odds of real codes are computed by a regression on the others
LEAST_MOVED = 1e-6  # standard deviations, so that the logarithm of a change is finite
MOST = 5_000  # codes that it is fitted to
WIDTH = 0.4  # of the noise; measured on digits (d = 8) and Fashion-MNIST (d = 16)

Features = Float[Tensor, "n k"]


@dataclass(frozen=True, eq=False)
class Membership:
    """How surely a code is one of the real ones.

    Attributes:
        density: q.
        cycle: E(G(z)) of codes (n, d), without gradients; None where there is no decoder.
        mean, factor: m and L of the real codes, whose covariance is L Lᵀ, (d,) and (d, d).
        real: Statistics of the real codes, each column ascending, shape (m, k).
        bias, weights: a, shape (1,); b, then C row by row, shape (k + k (k + 1) / 2,).
        known: Log-odds of real codes by regressions that were not fitted to them, ascending.
        auroc: How well these tell real codes from points between them, in [0, 1]; 0.5 is by chance.
    """

    density: Density
    cycle: Callable[[Latents], Latents] | None
    mean: Tensor
    factor: Tensor
    real: Float[Tensor, "m k"]
    bias: Tensor
    weights: Tensor
    known: Values
    auroc: float

    @classmethod
    @checked
    def fit(
        cls,
        density: Density,
        codes: ArrayLike,
        *,
        cycle: Callable[[Latents], Latents] | None = None,
        generator: torch.Generator,
    ) -> "Membership":
        """Learn the membership of codes of one kind, such as means of held-out images.

        Arguments:
            density: q, with a log-density; its noise level w is used if it has noise levels.
            codes: Real codes that q was not fitted to, shape (m, d), m of 40 or more. Of more than
                5,000, or 600 if they are to be decoded, so many are drawn.
            cycle: E(G(z)), what codes (n, d) become by decoding and encoding.
            generator: Draws the points between codes, and the folds.

        Raises:
            UserError: there are too few codes, or q has no log-density.
        """
        codes = as_rows(codes, density.dimension).detach()
        require(len(codes) >= FEWEST, f"membership needs {FEWEST} codes or more, not {len(codes)}")
        require(
            density.has_log_prob, "membership needs a log-density; fit a map with boundary='prior'"
        )
        bad = int((~codes.isfinite().all(dim=1)).sum())
        require(not bad, f"{counted(bad, 'code is', 'codes are')} not finite; leave them out")
        order = torch.randperm(len(codes), generator=generator, device=generator.device)
        most = MOST if cycle is None else DECODED
        real = codes[order[:most].to(codes.device)]
        mean, factor = (moment.to(real) for moment in cholesky(real))
        between = FAKES * len(real) if cycle is None else min(FAKES * len(real), DECODED)
        fake = points_between(real, between, mean, generator=generator)
        empty = real.new_zeros(0)
        raw = cls(density, cycle, mean, factor, empty[:, None], empty, empty, empty, auroc=0.5)
        seen = raw._seen(torch.cat([real, fake]))
        raw = replace(raw, real=seen[: len(real)].sort(dim=0).values)
        return raw._regressed(raw._products(seen), len(real))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the statistics, in their order."""
        names = ["log-density"]
        if self.density.noise_levels:
            names.append(f"log-density with noise {WIDTH:g}")
        names.append("distance from the mean")
        if self.cycle is not None:
            names.append("change by decoding and encoding")
        return tuple(names)

    def statistics(self, latents: ArrayLike) -> Features:
        """s(z), in nats where they are log-densities, else in standard deviations, shape (n, k).

        They have a gradient, but for the last one where there is a decoder.

        Raises:
            UserError: these are no codes of the density, also of the methods that ask it.
        """
        latents = as_rows(latents, self.density.dimension).to(self.mean)
        found = [self.density.log_prob(latents), self._white(latents - self.mean).norm(dim=1)]
        if self.density.noise_levels:
            found.insert(1, self.density.noised(WIDTH).log_prob(latents))
        if self.cycle is not None:
            again = as_rows(self.cycle(latents.detach()), self.density.dimension).to(latents)
            require(
                again.shape == latents.shape,
                f"cycle made {counted(len(again), 'code')} of {len(latents)}; give a function that "
                "decodes and encodes each of them",
            )
            moved = self._white(again - latents).norm(dim=1)
            found.append(moved.clamp_min(LEAST_MOVED).log())
        return torch.stack(found, dim=1)

    def log_odds(self, latents: ArrayLike) -> Values:
        """Log-odds that a code is real and not between two, shape (n,)."""
        return self._products(self.statistics(latents)) @ self.weights + self.bias

    def p_value(self, latents: ArrayLike) -> Values:
        """Share of real codes with lower log-odds than each code, in [0, 1], shape (n,).

        Of real codes 5 % have a p-value below 0.05. Far beyond all real codes, where the regression
        has seen nothing, it is 0: much less likely than any, farther from the mean, or more changed
        by decoding and encoding.
        """
        return self.compared(latents)[0]

    def _outside(self, statistics: Features) -> Mask:
        """Whether a code is far beyond all real ones in any statistic, or overflows."""
        likely = torch.tensor([name.startswith("log-density") for name in self.names])
        middle = self.real.median(dim=0).values
        least, most = (middle + (1 + BEYOND) * (self.real[i] - middle) for i in (0, -1))
        within = torch.where(likely.to(least.device), statistics >= least, statistics <= most)
        return ~within.all(dim=1)

    def parts(self, latents: ArrayLike) -> dict[str, Values]:
        """By the name of each statistic, the share of real codes at least as far out, shape (n,).

        It is two-sided, twice the share on the nearer side, in [0, 1]: both an unusually low and an
        unusually high log-density give a small share.
        """
        return self.compared(latents)[1]

    def compared(self, latents: ArrayLike) -> tuple[Values, dict[str, Values]]:
        """`p_value` and `parts`, for which each code is decoded and encoded once."""
        seen = self._seen(latents)
        odds = self._products(seen) @ self.weights + self.bias
        odds = odds.masked_fill(self._outside(seen), -torch.inf).contiguous()
        p_value = torch.searchsorted(self.known, odds) / len(self.known)
        rank = torch.searchsorted(self.real.T.contiguous(), seen.T.contiguous()) / len(self.real)
        parts = 2 * torch.minimum(rank, 1 - rank)
        return p_value, dict(zip(self.names, parts, strict=True))

    @torch.no_grad()
    def _seen(self, latents: ArrayLike) -> Features:
        """The statistics, some codes at a time and without gradients."""
        rows = as_rows(latents, self.density.dimension)
        return batched(self.statistics, rows, BATCH if self.cycle is None else DECODED)

    def _white(self, offsets: Latents) -> Latents:
        """Differences of codes in standard deviations, without their correlations."""
        return torch.linalg.solve_triangular(self.factor, offsets.T, upper=False).T

    def _products(self, statistics: Features) -> Float[Tensor, "n p"]:
        """The standardised statistics, and all products of two of them."""
        spread = self.real.std(dim=0)
        s = (statistics - self.real.mean(dim=0)) / torch.where(spread > 0, spread, 1)
        i, j = torch.triu_indices(s.shape[1], s.shape[1])
        return torch.cat([s, s[:, i] * s[:, j]], dim=1)

    def _regressed(self, products: Float[Tensor, "n p"], real: int) -> "Membership":
        """Fit the regression; the first `real` rows are of real codes."""
        from sklearn.linear_model import LogisticRegression  # loading it takes seconds
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import cross_val_predict

        x, y = products.double().cpu().numpy(), np.arange(len(products)) < real
        regression = LogisticRegression(class_weight="balanced", max_iter=1_000)
        unseen = np.asarray(
            cross_val_predict(regression, x, y, cv=FOLDS, method="decision_function")
        )
        regression.fit(x, y)
        return replace(
            self,
            weights=torch.as_tensor(np.ravel(regression.coef_)).to(products),
            bias=torch.as_tensor(np.ravel(regression.intercept_)).to(products),
            known=torch.as_tensor(np.sort(unseen[:real])).to(products),
            auroc=float(roc_auc_score(y, unseen)),
        )


def points_between(
    codes: Float[Tensor, "m d"], n: int, mean: Tensor, *, generator: torch.Generator
) -> Latents:
    """`n` points between random pairs of codes: half on lines, half on turns round their mean.

    At a share s of the way, uniform in [0.1, 0.9], the point on the line is (1 - s) a + s b. That
    on the turn lies in its direction from the mean m, at a distance of (1 - s) |a - m| + s |b - m|.
    The middle of a line is nearer to m than real codes are; on a turn only the direction tells.

    Arguments:
        codes: Real codes, shape (m, d).
        n: How many points.
        mean: m, shape (d,).
        generator: Draws pairs and places.
    """

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).to(codes)

    a, b = (codes[(draw(n) * len(codes)).long()] - mean for _ in range(2))
    s = EDGE + (1 - 2 * EDGE) * draw(n, 1)
    line = torch.lerp(a, b, s)
    radius = torch.lerp(a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True), s)
    turned = radius * F.normalize(line, dim=1)
    on_line = torch.arange(n, device=codes.device)[:, None] < n // 2
    return mean + torch.where(on_line, line, turned)
