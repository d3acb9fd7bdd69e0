"""Attributes learned from labels: what networks read, with their accuracy on held-out codes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.attributes.base import Attribute, AttributeValues, Bounded, Slopes
from latent_atlas.attributes.network import Network, Outputs, learned
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import (
    ArrayLike,
    Images,
    Labels,
    Latents,
    as_floats,
    as_labels,
    as_rows,
    batched,
)

__all__ = ["ClassProbe", "OneClass", "ValueProbe"]

BATCH = 256  # codes that are decoded at a time
DECODED = 5_000  # codes that are decoded to learn from
FEWEST = 20  # labelled codes
LIKELY = 0.05  # probability from which on a class is kept
MEMBERS = 5  # codes of a class from which on it is known what is typical of it
NOISE = 0.5  # of the codes a class is learned from, in their standard deviations
READABLE = 0.5  # share of the way from guessing to certainty that a probe is to be right
# Share of held-out codes read right from which on paths keep a class in 95 % of their frames, by a
# classifier that they have not seen: measured on six attributes of faces and Fashion-MNIST.
RELIABLE = 0.95
RELIABLE_VALUE = 0.9  # share of a number's variance that is to be explained
SIDE = 32  # pixels of the images that are read
SURE = math.log(19)  # log-odds that are never too much to ask of a code that has them

Decoder = Callable[[Latents], Images]


@dataclass(frozen=True, eq=False)
class ClassProbe(Attribute):
    """a_c(z) = log p(c|z) / (1 - p(c|z)): the log-odds of each class against all others.

    A path goes as far as the probe allows, and so finds its errors: directions that tell the
    classes of real codes apart, and that the decoder does not show. With `decode` the probe
    therefore reads the decoded image, p(c|G(z)). Without one it is fitted to noised codes, which
    have fewer such errors nearby.

    To keep it is to keep what is read of A: the log-odds of each class that A has with 5 % or more
    fall by at most the tolerance, or to what is typical of real codes of that class (but not
    below log 19). Where A is surely of one class it stays so; where it is between two, such as two
    shades, it stays there.

    References:
        Learning from codes with noise: Certified Adversarial Robustness via Randomized Smoothing,
            Cohen et al. 2019.

    Attributes:
        network: Logits of the classes, f(z) or f(G(z)).
        names: Of the classes.
        accuracy: Share of held-out codes classified right, in [0, 1].
        commonest: Share of the commonest class among them, in [0, 1].
        cross_entropy: Of held-out codes in nats.
        typical: Median log-odds of each class over held-out codes that are read as of it, shape
            (classes,); infinite where there are fewer than 5.
        decode: G, codes (n, d) to images (n, c, h, w) with a gradient; None reads the codes.
        name: What the attribute is called.
        warnings: A sentence if the classes cannot be read reliably, and so not be kept reliably.
    """

    network: Network
    names: tuple[str, ...]
    accuracy: float
    commonest: float
    cross_entropy: float
    typical: Float[Tensor, " classes"]
    decode: Decoder | None = None
    name: str = "class"
    warnings: tuple[str, ...] = ()

    @classmethod
    @checked
    def fit(
        cls,
        latents: ArrayLike,
        labels: ArrayLike,
        names: Sequence[str] = (),
        name: str = "class",
        *,
        decode: Decoder | None = None,
        noise: float = NOISE,
        steps: int | None = None,
        generator: torch.Generator,
    ) -> "ClassProbe":
        """Learn the classes of codes.

        Arguments:
            latents: Codes, shape (n, d), on the generator's device. Of more than 5,000, so many
                are drawn if they are to be decoded.
            labels: Class numbers from 0, shape (n,); codes with -1 are left out.
            names: Of the classes; by default their numbers.
            name: What the attribute is called.
            decode: G, codes (n, d) to images (n, c, h, w), each depending on its own code; it is
                left out if it has no gradient.
            noise: Standard deviation of what is added to the codes it learns from, in units of
                theirs, 0 or more; decoded images have none.
            steps: Of optimisation; None is 1,500 on batches of 256 codes, or 400 of 128 images.
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
        inputs, labels, decode = _inputs(latents, labels, decode, generator)
        network, stop, test = learned(
            inputs,
            labels,
            classes,
            F.cross_entropy,
            steps=steps,
            noise=noise if decode is None else 0.0,
            generator=generator,
        )
        with torch.no_grad():
            logits, unseen = network(inputs[test]), network(inputs[torch.cat([stop, test])])
        right = (logits.argmax(dim=1) == labels[test]).float().mean().item()
        commonest = labels[test].bincount().max().item() / len(test)
        return cls(
            network,
            tuple(names) or tuple(str(c) for c in range(classes)),
            right,
            commonest,
            F.cross_entropy(logits, labels[test]).item(),
            _typical(unseen),
            decode,
            name,
            _doubts(name, right, commonest, decode),
        )

    def _checked_codes(self, latents: ArrayLike) -> Latents:
        return as_rows(latents, len(self.network.mean) if self.decode is None else None)

    def _logits(self, latents: Latents) -> Outputs:
        """f(z), or f(G(z)), shape (n, classes)."""
        return self.network(latents if self.decode is None else _seen(self.decode, latents))

    def values(self, latents: Latents) -> AttributeValues:
        """f_c(z) - log Σ_{o ≠ c} exp f_o(z), shape (n, classes)."""
        return _log_odds(self._logits(latents))

    def _bounded_slopes(self, latents: Latents, bounded: Bounded) -> Slopes:
        """The slopes of classes with bounds, of which there are few, and 0 for the others."""
        bounded = bounded[:, : len(self.network.biases[-1])]
        count = max(int(bounded.sum(dim=1).max()), 1)
        columns = bounded.float().topk(count, dim=1).indices
        slopes = latents.new_zeros(*bounded.shape, latents.shape[1])
        at = columns[..., None].expand(-1, -1, latents.shape[1])
        return slopes.scatter(1, at, self._slopes_of(latents, columns))

    @torch.no_grad()
    def classify(self, latents: Latents) -> Labels:
        """The likeliest class of each code, shape (n,)."""
        return self._logits(latents).argmax(dim=1)

    @torch.no_grad()
    def bounds(self, start: Latents, tolerance: float) -> tuple[AttributeValues, AttributeValues]:
        """a_c(z) >= min(a_c(z_A) - tolerance, max(typical_c, log 19)) of classes that A has.

        Each has shape (n, classes).
        """
        logits = self._logits(start)
        enough = self.typical.to(logits).clamp_min(SURE)
        lower = torch.minimum(_log_odds(logits) - tolerance, enough)
        lower = torch.where(logits.softmax(dim=1) >= LIKELY, lower, -math.inf)
        return lower, torch.full_like(lower, math.inf)

    def told(self) -> str:
        """How often it is right."""
        return _right(self.name, self.accuracy, self.commonest, self.decode)


@dataclass(frozen=True, eq=False)
class OneClass(Attribute):
    """a(z) = a_c(z) of a `ClassProbe`: the log-odds of one class c against all others, in nats.

    It is kept as the probe keeps it, from a start that has it.

    Attributes:
        probe: What reads the classes.
        number: c.
        name: What the class is called.
        warnings: Those of the probe.
    """

    probe: ClassProbe
    number: int
    name: str
    warnings: tuple[str, ...] = ()

    def values(self, latents: Latents) -> AttributeValues:
        """a_c(z), shape (n, 1)."""
        return self.probe.values(latents)[:, self.number, None]

    @torch.no_grad()
    def bounds(self, start: Latents, tolerance: float) -> tuple[AttributeValues, AttributeValues]:
        """Those of the probe for c, each (n, 1).

        Raises:
            UserError: a start does not have the class, so that there is nothing to keep.
        """
        lower, upper = (side[:, self.number, None] for side in self.probe.bounds(start, tolerance))
        lacking = lower[:, 0].isinf().nonzero()[:, 0]
        if len(lacking):
            raise UserError(
                f"'{self.name}' cannot be kept: the start is read as "
                f"'{self.read(start[lacking[:1]])}', so there is nothing of it to keep; start from "
                f"one that has it, or keep '{self.probe.name}'"
            )
        return lower, upper

    def read(self, one: Latents) -> str:
        """The name of the likeliest class of a code, shape (1, d)."""
        return self.probe.names[int(self.probe.classify(one))]

    def told(self) -> str:
        """How often the probe is right."""
        return self.probe.told()


@dataclass(frozen=True, eq=False)
class ValueProbe(Attribute):
    """a(z) = m + s f(z): a number that images have, such as an age or a width.

    With `decode` it is read from the decoded image, f(G(z)), as for `ClassProbe`. It is followed
    along its pattern and not its gradient: the steepest way to another reading leaves what real
    images do with the number, and takes what the network alone sees. See benchmarks/glyphs.py.

    References:
        On the interpretation of weight vectors of linear models in multivariate neuroimaging,
            Haufe et al. 2014: patterns and filters.

    Attributes:
        network: f, of one output.
        name: What the number is called.
        mean, scale: m and s, the moments of the labels.
        explained: R² = 1 - Σ (a(z) - y)² / Σ (y - mean y)² on held-out codes: 1 if they tell all,
            0 if nothing.
        pattern: cov(z, y) / var(y), the mean change of a code for a unit of the label, shape (d,).
        decode: As for `ClassProbe`.
        warnings: A sentence if less than 90 % of the variance is explained.
    """

    network: Network
    name: str
    mean: float
    scale: float
    explained: float
    pattern: Float[Tensor, " d"]
    decode: Decoder | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    @checked
    def fit(
        cls,
        latents: ArrayLike,
        labels: ArrayLike,
        name: str = "value",
        *,
        decode: Decoder | None = None,
        steps: int | None = None,
        generator: torch.Generator,
    ) -> "ValueProbe":
        """Learn a number from codes, or from what is decoded of them.

        Arguments:
            latents: Codes, shape (n, d), on the generator's device.
            labels: y, shape (n,); codes whose label is not finite are left out.
            name: What the number is called.
            decode, steps: As for `ClassProbe.fit`.
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
        centred = latents - latents.mean(dim=0)
        pattern = centred.T @ (labels - mean) / ((len(labels) - 1) * scale**2)
        inputs, labels, decode = _inputs(latents, labels, decode, generator)
        targets = (labels[:, None] - mean) / scale
        network, _, test = learned(inputs, targets, 1, F.mse_loss, steps=steps, generator=generator)
        with torch.no_grad():
            error = F.mse_loss(network(inputs[test]), targets[test])
        explained = 1 - (error / targets[test].var(correction=0)).item()
        found = cls(network, name, mean, scale, explained, pattern, decode)
        if explained >= RELIABLE_VALUE:
            return found
        doubt = f"'{name}' is not read reliably: {found.told()}, so frames may be off unseen"
        return replace(found, warnings=(doubt,))

    def _checked_codes(self, latents: ArrayLike) -> Latents:
        return as_rows(latents, len(self.network.mean) if self.decode is None else None)

    @property
    def tolerance(self) -> float:
        """A tenth of the labels' standard deviation."""
        return super().tolerance * self.scale

    def values(self, latents: Latents) -> AttributeValues:
        """m + s f(z), or m + s f(G(z)), shape (n, 1), in the labels' unit."""
        read = latents if self.decode is None else _seen(self.decode, latents)
        return self.mean + self.scale * self.network(read)

    def direction(self, latents: Latents) -> Latents:
        """The pattern, shape (n, d)."""
        return self.pattern.to(latents).expand_as(latents)

    def told(self) -> str:
        """How much of the number it explains, and its error."""
        error = self.scale * math.sqrt(max(1 - self.explained, 0.0))
        return (
            f"the network that reads {self.name} from {_from(self.decode)} explains "
            f"{100 * max(self.explained, 0.0):.0f} % of its variance on held-out ones (R²), with "
            f"a typical error of {error:.3g}"
        )


def _log_odds(logits: Tensor) -> Tensor:
    """f_c - log Σ_{o ≠ c} exp f_o of logits, shape (n, classes)."""
    itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    return logits - logits[:, None].masked_fill(itself, -math.inf).logsumexp(dim=2)


def _typical(logits: Tensor) -> Tensor:
    """Median log-odds of each class over rows that are read as of it, shape (classes,)."""
    odds, read = _log_odds(logits), logits.argmax(dim=1)
    medians = [
        own.median() if len(own := odds[read == c, c]) >= MEMBERS else odds.new_tensor(math.inf)
        for c in range(odds.shape[1])
    ]
    return torch.stack(medians)


def _right(name: str, right: float, commonest: float, decode: Decoder | None) -> str:
    """How often a classifier is right, beside guessing."""
    return (
        f"the classifier that reads {name} from {_from(decode)} is right for {100 * right:.0f} % "
        f"of held-out ones, where the commonest value is {100 * commonest:.0f} %"
    )


def _from(decode: Decoder | None) -> str:
    return "codes" if decode is None else "decoded images"


def _doubts(name: str, right: float, commonest: float, decode: Decoder | None) -> tuple[str, ...]:
    """A sentence if classes cannot be read reliably, and so not be kept reliably."""
    if right >= RELIABLE:
        return ()
    readable = right - commonest >= READABLE * (1 - commonest)
    kept = "cannot be kept reliably" if readable else "can hardly be kept"
    told = _right("it", right, commonest, decode)
    return (f"'{name}' {kept}: {told}, so frames may lose it unseen",)


def _seen(decode: Decoder, latents: Latents) -> Images:
    """The decoded images, of at most 32 pixels a side."""
    images = decode(latents)
    height, width = (min(side, SIDE) for side in images.shape[2:])
    if images.shape[2:] == (height, width):
        return images
    return F.adaptive_avg_pool2d(images, (height, width))


def _inputs(
    latents: Latents, labels: Tensor, decode: Decoder | None, generator: torch.Generator
) -> tuple[Tensor, Tensor, Decoder | None]:
    """What a probe reads: codes, or the images of 5,000 of them at most; with their labels, and
    the decoder if it has a gradient.
    """
    if decode is None or not _has_gradient(decode, latents):
        return latents, labels, None
    order = torch.randperm(len(labels), generator=generator, device=generator.device)[:DECODED]
    with torch.no_grad():
        images = batched(lambda z: _seen(decode, z), latents[order], BATCH)
    return images, labels[order], decode


def _has_gradient(decode: Decoder, latents: Latents) -> bool:
    """Whether images depend on codes differentiably; a user's own function may not."""
    with torch.inference_mode(False), torch.enable_grad():
        return decode(latents[:1].clone().requires_grad_()).requires_grad
