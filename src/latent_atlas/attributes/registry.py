"""The attributes of a set of images by name: its classes, and the directions of its codes."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F

from latent_atlas.attributes.base import Attribute, Direction, Function
from latent_atlas.attributes.directions import principal_components
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.errors import UserError, did_you_mean, require_known
from latent_atlas.shapes import ArrayLike, Images, Latents, Values, as_labels, as_rows

__all__ = ["AttributeSet", "Conditions"]

Conditions = Mapping[str, str | tuple[float, float]]
"""What a code should be, by attribute: a class name for "class", a range of values for any
other.
"""

CLASS = "class"
COMPONENT = "component:"


class AttributeSet:
    """Attributes by name; each is learned from the codes on first use, always in the same way.

    class: log-odds of every class (`ClassProbe`).
    The name of a class: its own log-odds against all others, in nats.
    component:0 to component:d-1: the coordinate along a principal component of the codes, from the
    largest on.

    Examples:
        >>> codes = torch.tensor([[0.0, 3.0], [0.0, -3.0], [1.0, 0.0]])
        >>> AttributeSet(codes)["component:0"].values(torch.ones(1, 2))
        tensor([[1.]])
    """

    def __init__(
        self,
        latents: ArrayLike,
        labels: ArrayLike | None = None,
        label_names: Sequence[str] = (),
        *,
        decode: Callable[[Latents], Images] | None = None,
    ) -> None:
        """Arguments: codes (n, d), their class numbers (n,) or None, and the names of the
        classes; decode as for `ClassProbe`.
        """
        self._latents = as_rows(latents).detach()
        self._decode = decode
        labels = None if labels is None else as_labels(labels, len(self._latents), label_names)
        self._labels = labels
        self._classes = () if labels is None else tuple(label_names)
        if labels is not None and not self._classes:
            self._classes = tuple(str(number) for number in range(int(labels.max()) + 1))
        self._known: dict[str, Attribute] = {}
        self._odds: ClassProbe | None = None  # p(c|z), which draws of a class are weighed by

    @property
    def names(self) -> tuple[str, ...]:
        """All there are."""
        components = tuple(f"{COMPONENT}{number}" for number in range(self._latents.shape[1]))
        return (*components, CLASS, *self._classes) if self._classes else components

    def __getitem__(self, name: str) -> Attribute:
        """The attribute of that name.

        Raises:
            UserError: there is none, or there are too few labels to learn it from.
        """
        if name not in self.names:
            d = self._latents.shape[1]
            classes = f"class, {', '.join(self._classes)}, or " if self._classes else ""
            raise UserError(
                f"no attribute '{name}'; choose {classes}component:0 to component:{d - 1}"
                f"{did_you_mean(name, [CLASS, *self._classes] if self._classes else [])}"
            )
        if name not in self._known:
            self._known[name] = self._learned(name)
        return self._known[name]

    def chosen(self, which: Attribute | str | Sequence[Attribute | str]) -> tuple[Attribute, ...]:
        """One attribute or several, each itself or its name."""
        several = [which] if isinstance(which, Attribute | str) else which
        return tuple(self[one] if isinstance(one, str) else one for one in several)

    def learn(self, labels: ArrayLike, names: Sequence[str] = (), name: str = CLASS) -> ClassProbe:
        """Learn an attribute of other labels of the same images, always in the same way.

        It is read from decoded images where there is a decoder with a gradient, else from codes.

        Arguments:
            labels: Class numbers from 0, shape (n,), -1 where unknown.
            names: Of the classes.
            name: What the attribute is called.

        Raises:
            UserError: as for `ClassProbe.fit`.
        """
        return ClassProbe.fit(
            self._latents, labels, names, name, decode=self._decode, generator=self._generator()
        )

    def _generator(self) -> torch.Generator:
        return torch.Generator(self._latents.device).manual_seed(0)

    def log_weight(self, conditions: Conditions) -> Callable[[Latents], Values]:
        """How well codes (n, d) meet the conditions, in nats, shape (n,).

        For a class c it is log p(c|z), so that q(z) p(c|z) is the law of codes of that class; for a
        range it is 0 within, ends included, and -inf outside.

        Raises:
            UserError: there is no such attribute or class, or a range is none.

        Examples:
            >>> known = AttributeSet(torch.tensor([[0.0, 3.0], [0.0, -3.0], [1.0, 0.0]]))
            >>> weight = known.log_weight({"component:0": (0.0, 2.0)})
            >>> weight(torch.tensor([[0.0, 1.0], [0.0, 5.0]]))
            tensor([0., -inf])
        """
        weights = [self._one_weight(name, condition) for name, condition in conditions.items()]
        return lambda latents: torch.stack([weight(latents) for weight in weights]).sum(dim=0)

    def _one_weight(
        self, name: str, condition: str | tuple[float, float]
    ) -> Callable[[Latents], Values]:
        """`log_weight` of a single condition."""
        if name == CLASS and self._classes:
            require_known("class", str(condition), self._classes)
            number = self._classes.index(str(condition))
            if self._odds is None:
                assert self._labels is not None
                # Noise would make p(c|z) that of other codes.
                self._odds = ClassProbe.fit(
                    self._latents,
                    self._labels,
                    self._classes,
                    noise=0.0,
                    generator=self._generator(),
                )
            odds = self._odds
            return lambda latents: F.logsigmoid(odds.values(latents)[:, number])
        attribute = self[name]
        if isinstance(condition, str) or not condition[0] < condition[1]:
            raise UserError(
                f"attribute '{name}' cannot be {condition}; give a range, its lower end first"
            )
        low, high = condition

        def within(latents: Latents) -> Values:
            values = attribute.values(latents)[:, 0]
            return torch.where((values >= low) & (values <= high), 0.0, -math.inf).to(values)

        return within

    def _learned(self, name: str) -> Attribute:
        """The attribute from the codes."""
        if name.startswith(COMPONENT):
            number = int(name.removeprefix(COMPONENT))
            return Direction(principal_components(self._latents, number + 1)[0][number], name)
        if name == CLASS:
            assert self._labels is not None
            return self.learn(self._labels, self._classes)
        probe, number = self[CLASS], self._classes.index(name)
        one = Function(lambda z: probe.values(z)[:, number], name)
        one.warnings = probe.warnings
        return one
