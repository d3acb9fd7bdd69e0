"""Attributes learned from labels: small networks on codes, with their accuracy on held-out
codes.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.attributes.base import Attribute, AttributeValues
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import (
    ArrayLike,
    Labels,
    Latents,
    Scalar,
    as_array,
    as_floats,
    as_labels,
    as_rows,
)

__all__ = ["MARGIN", "ClassProbe", "Network", "ValueProbe"]

AGAIN = 3  # times fewer steps for a network that goes on learning at another noise
BATCH = 256
CHECKED_EVERY = 100  # steps
FEWEST = 20  # labelled codes
# Share of the codes that decide when to stop, and as many again that the accuracy is measured on.
HELD_OUT = 0.1
MARGIN = math.log(99)  # log-odds of 99 %
NOISES = (0.5, 1.0, 1.5, 2.0)  # of the codes a class is learned from, in their standard deviations
RATE = 3e-3  # highest learning rate
SURE = 0.2  # share of real codes that are as surely of their class as those of a path have to be
WIDTH = 128

Outputs = Float[Tensor, "n k"]
Loss = Callable[[Tensor, Tensor], Scalar]


@dataclass(frozen=True, eq=False)
class Network:
    """f(z) = W_3 s(W_2 s(W_1 (z - m) / c + b_1) + b_2) + b_3 with s(h) = h sigmoid(h).

    Attributes:
        mean, scale: m and c, shape (d,).
        weights, biases: W_i (out, in) and b_i (out,).
    """

    mean: Tensor
    scale: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def initial(cls, latents: Latents, outputs: int, *, generator: torch.Generator) -> "Network":
        """W_i ~ N(0, 1 / in) and b_i = 0, for inputs such as `latents`."""
        sizes = (latents.shape[1], WIDTH, WIDTH, outputs)
        draws = [
            torch.randn(after, before, generator=generator, device=generator.device)
            / math.sqrt(before)
            for before, after in itertools.pairwise(sizes)
        ]
        spread = latents.std(dim=0)
        spread = torch.where(spread > 0, spread, 1.0)  # a constant coordinate says nothing
        return cls(
            latents.mean(dim=0),
            spread,
            tuple(draws),
            tuple(torch.zeros_like(w[:, 0]) for w in draws),
        )

    def __call__(self, latents: Latents) -> Outputs:
        """f(z), shape (n, k), with the precision and on the device of `latents`."""
        hidden = (latents - self.mean.to(latents)) / self.scale.to(latents)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = F.linear(F.silu(hidden) if i else hidden, weight.to(latents), bias.to(latents))
        return hidden

    def frozen(self) -> "Network":
        """A copy that learns no more."""
        weights, biases = (
            tuple(p.detach().clone() for p in parts) for parts in (self.weights, self.biases)
        )
        return replace(self, weights=weights, biases=biases)


@dataclass(frozen=True, eq=False)
class ClassProbe(Attribute):
    """a_c(z) = log p(c|z) / (1 - p(c|z)): the log-odds of each class against all others.

    To keep it is to keep one class: a_c(z) >= margin for the class c of A, and no bound on the
    others. A path goes as far as the probe allows, and so finds its errors. A probe that is fitted
    to noised codes has fewer of them nearby, and an image classifier agrees with it more often. The
    noise of a class is as much as leaves a fifth of its real codes above the margin.

    References:
        Learning from codes with noise: Certified Adversarial Robustness via Randomized Smoothing,
            Cohen et al. 2019.

    Attributes:
        network: Logits of the classes, f(z).
        names: Of the classes.
        accuracy: Share of held-out codes classified right, in [0, 1].
        cross_entropy: Of held-out codes in nats.
        margin: Log-odds in nats that the class kept is to have: log 99, a probability of 99 %, or
            what a fifth of real codes reach where fewer are so sure.
        labels: The class to keep on each path, shape (n,); None for the likeliest class of each
            z_A.
        name: What the attribute is called.
    """

    network: Network
    names: tuple[str, ...]
    accuracy: float
    cross_entropy: float
    margin: float = MARGIN
    labels: Labels | None = None
    name: str = "class"

    @classmethod
    @checked
    def fit(
        cls,
        latents: ArrayLike,
        labels: ArrayLike,
        names: Sequence[str] = (),
        *,
        noise: float | None = None,
        steps: int = 1500,
        generator: torch.Generator,
    ) -> "ClassProbe":
        """Learn the classes of codes.

        Arguments:
            latents: Codes, shape (n, d), on the generator's device.
            labels: Class numbers from 0, shape (n,); codes with -1 are left out.
            names: Of the classes; by default their numbers.
            noise: Standard deviation of what is added to the codes it learns from, in units of
                theirs, 0 or more; None is the most of 0.5, 1, 1.5 and 2 that leaves a fifth of
                those kept for stopping above log 99.
            steps: Of optimisation, on batches of 256.
            generator: Source of all randomness.

        Raises:
            UserError: there are too few labelled codes, or they are all of one class.
        """
        latents = as_rows(latents).detach()
        labels = as_labels(labels, len(latents), names).to(latents.device)
        known = labels >= 0
        latents, labels = latents[known].float(), labels[known].long()
        classes = int(labels.max()) + 1 if len(labels) else 0
        if len(labels) < FEWEST or len(labels.unique()) < 2:
            raise UserError(
                f"a probe of classes needs {FEWEST} or more labelled codes of two or more "
                f"classes; there are "
                f"{len(labels)} of {len(labels.unique())}"
            )
        train, stop, test = _parts(len(latents), generator)
        network, learned = Network.initial(latents[train], classes, generator=generator), None
        data = _Data(latents, labels, train, stop, F.cross_entropy)
        for level in NOISES if noise is None else (noise,):
            network = _learn(
                network,
                data,
                steps if learned is None else max(steps // AGAIN, 1),
                generator,
                noise=level,
            )
            with torch.no_grad():
                surest = (
                    _log_odds(network(latents[stop]))
                    .gather(1, labels[stop, None])
                    .quantile(1 - SURE)
                    .item()
                )
            if learned is not None and surest < MARGIN:
                break
            learned = network, min(surest, MARGIN)
        assert learned is not None  # the first always is
        network, margin = learned
        with torch.no_grad():
            logits = network(latents[test])
        accuracy = (logits.argmax(dim=1) == labels[test]).float().mean().item()
        names = tuple(names) or tuple(str(c) for c in range(classes))
        return cls(network, names, accuracy, F.cross_entropy(logits, labels[test]).item(), margin)

    def _checked_codes(self, latents: ArrayLike) -> Latents:
        return as_rows(latents, len(self.network.mean))

    def values(self, latents: Latents) -> AttributeValues:
        """f_c(z) - log Σ_{o ≠ c} exp f_o(z), shape (n, classes)."""
        return _log_odds(self.network(latents))

    @torch.no_grad()
    def classify(self, latents: Latents) -> Labels:
        """The likeliest class of each code, shape (n,)."""
        return self.network(latents).argmax(dim=1)

    @checked
    def keeping(
        self, labels: ArrayLike | None = None, *, margin: float | None = None
    ) -> "ClassProbe":
        """The same probe, keeping the class of each path's label, or of z_A, with a margin."""
        kept = None if labels is None else torch.atleast_1d(as_array(labels))
        kept = None if kept is None else as_labels(kept, len(kept), self.names)
        return replace(self, labels=kept, margin=self.margin if margin is None else margin)

    @torch.no_grad()
    def bounds(self, start: Latents, tolerance: float) -> tuple[AttributeValues, AttributeValues]:
        """a_c(z) >= margin for one class each, whatever the tolerance; each (n, classes).

        Raises:
            UserError: there is not one label for each start.
        """
        kept = self.classify(start) if self.labels is None else self.labels.to(start.device)
        if kept.shape != start.shape[:1]:
            raise UserError(
                f"keeping classes takes a label for each start; there are {len(kept)} for "
                f"{len(start)}"
            )
        lower = torch.full_like(self.values(start), -math.inf)
        lower.scatter_(1, kept[:, None], self.margin)
        return lower, torch.full_like(lower, math.inf)


@dataclass(frozen=True, eq=False)
class ValueProbe(Attribute):
    """a(z) = m + s f(z): a number that images have, such as an age or a width, from their codes.

    Attributes:
        network: f(z), of one output.
        name: What the number is called.
        mean, scale: m and s, the moments of the labels.
        explained: R² = 1 - Σ (a(z) - y)² / Σ (y - mean y)² on held-out codes: 1 if the codes tell
            all, 0 if nothing.
    """

    network: Network
    name: str
    mean: float
    scale: float
    explained: float

    @classmethod
    @checked
    def fit(
        cls,
        latents: ArrayLike,
        labels: ArrayLike,
        name: str = "value",
        *,
        steps: int = 1500,
        generator: torch.Generator,
    ) -> "ValueProbe":
        """Learn a number from codes.

        Arguments:
            latents: Codes, shape (n, d), on the generator's device.
            labels: y, shape (n,); codes whose label is not finite are left out.
            name: What the number is called.
            steps: Of optimisation, on batches of 256.
            generator: Source of all randomness.

        Raises:
            UserError: there are too few labelled codes, or all have the same label.
        """
        latents, labels = as_rows(latents).detach(), as_floats(labels).detach()
        if labels.shape != latents.shape[:1]:
            raise UserError(
                f"there must be one label of '{name}' per code, ({len(latents)},); their shape is "
                f"{tuple(labels.shape)}"
            )
        labels = labels.to(latents.device)
        known = labels.isfinite()
        latents, labels = latents[known].float(), labels[known].float()
        if len(labels) < FEWEST or labels.min() == labels.max():
            raise UserError(
                f"a probe of '{name}' needs {FEWEST} or more codes whose labels differ; there "
                f"are {len(labels)} with "
                f"{len(labels.unique())} different labels"
            )
        mean, scale = labels.mean().item(), labels.std().item()
        targets = (labels[:, None] - mean) / scale
        train, stop, test = _parts(len(latents), generator)
        network = Network.initial(latents[train], 1, generator=generator)
        network = _learn(
            network, _Data(latents, targets, train, stop, F.mse_loss), steps, generator
        )
        with torch.no_grad():
            error = F.mse_loss(network(latents[test]), targets[test])
        explained = 1 - (error / targets[test].var(correction=0)).item()
        return cls(network, name, mean, scale, explained)

    def _checked_codes(self, latents: ArrayLike) -> Latents:
        return as_rows(latents, len(self.network.mean))

    def values(self, latents: Latents) -> AttributeValues:
        """m + s f(z), shape (n, 1), in the labels' unit."""
        return self.mean + self.scale * self.network(latents)


def _log_odds(logits: Tensor) -> Tensor:
    """f_c - log Σ_{o ≠ c} exp f_o of logits, shape (n, classes)."""
    itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    return logits - logits[:, None].masked_fill(itself, -math.inf).logsumexp(dim=2)


def _parts(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of codes: to learn from, to decide when to stop, and to measure the accuracy on."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    count = max(int(HELD_OUT * n), 4)
    return order[2 * count :], order[count : 2 * count], order[:count]


@dataclass(frozen=True, eq=False)
class _Data:
    """What is learned: targets of codes, those to learn from and to stop by, and the loss."""

    latents: Latents
    targets: Tensor
    train: Tensor
    stop: Tensor
    loss: Loss


def _learn(
    network: Network, data: _Data, steps: int, generator: torch.Generator, *, noise: float = 0.0
) -> Network:
    """The network, learning on, where its loss on the codes to stop by was least."""
    best, lowest = None, math.inf
    # A tensor made in inference mode cannot enter autograd, so everything is made outside of it.
    with torch.inference_mode(False), torch.enable_grad():
        latents, targets = data.latents.clone(), data.targets.clone()
        network = network.frozen()
        parameters = [p.requires_grad_() for p in (*network.weights, *network.biases)]
        optimizer = torch.optim.AdamW(parameters, lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for step in range(1, steps + 1):
            rows = torch.randint(
                len(data.train), (BATCH,), generator=generator, device=generator.device
            )
            some = data.train[rows]
            inputs = latents[some]
            inputs = inputs + noise * network.scale * torch.randn(
                inputs.shape, generator=generator, device=generator.device
            )
            optimizer.zero_grad()
            data.loss(network(inputs), targets[some]).backward()
            optimizer.step()
            schedule.step()
            if step % CHECKED_EVERY == 0 or step == steps:
                on_stop = data.loss(network(latents[data.stop]), targets[data.stop]).item()
                if best is None or on_stop < lowest:
                    lowest, best = on_stop, network.frozen()
    assert best is not None  # the last step is always checked
    return best
