"""The attributes of a set of images by name: its classes, and the directions of its codes."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F

from latent_atlas.attributes.base import Attribute, Direction
from latent_atlas.attributes.directions import principal_components
from latent_atlas.attributes.probes import ClassProbe, OneClass, ValueProbe
from latent_atlas.errors import UserError, checked, did_you_mean, require_known
from latent_atlas.shapes import (
    ArrayLike,
    Images,
    Labels,
    Latents,
    Values,
    as_floats,
    as_labels,
    as_rows,
)

__all__ = ["AttributeSet", "Conditions", "Kind", "Known"]

Conditions = Mapping[str, str | tuple[float, float]]
"""What a code should be, by attribute: a word for "class" and others of words, a range of values
for any other.
"""

Kind = Literal["component", "class", "classes", "value"]
Known = tuple[ArrayLike, tuple[str, ...]]
"""A known attribute of n images: numbers (n,), and no words; or numbers of words, and the words."""

CLASS = "class"
COMPONENT = "component:"
OLDER = (
    "; the run is older than attributes of images in runs: `latent-atlas train SOURCE --resume "
    "--out RUN` adds them"
)


class AttributeSet:
    """Attributes by name; each is learned from the codes on first use, always in the same way.

    class: log-odds of every class (`ClassProbe`).
    The name of a class: its own log-odds against all others, in nats (`OneClass`).
    The name of a known attribute of the images: a number (`ValueProbe`), or words, of which
    NAME=WORD is a class likewise.
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
        known: Mapping[str, Known] | None = MappingProxyType({}),
        decode: Callable[[Latents], Images] | None = None,
    ) -> None:
        """Keep what attributes are learned from.

        Arguments:
            latents: Codes, shape (n, d).
            labels: Their class numbers, shape (n,), or None.
            label_names: Names of the classes.
            known: What is known of the images besides; one whose name is taken is left out. None
                where a run of an earlier version has not kept it.
            decode: As for `ClassProbe`.
        """
        self._latents = as_rows(latents).detach()
        self._decode = decode
        self._older = known is None
        self._classes: dict[str, tuple[Labels, tuple[str, ...]]] = {}
        self._numbers: dict[str, Values] = {}
        self._single: dict[str, tuple[str, int]] = {}  # the attribute and number of a class
        if labels is not None:
            labels = as_labels(labels, len(self._latents), label_names)
            names = tuple(label_names) or tuple(map(str, range(int(labels.max()) + 1)))
            self._classes |= {CLASS: (labels, names)} if names else {}
            self._single |= {name: (CLASS, number) for number, name in enumerate(names)}
        for name, (values, words) in (known or {}).items():
            if name in self.names:
                continue
            if words:
                self._classes[name] = as_labels(values, len(self._latents), words), words
                ones = {f"{name}={word}": (name, number) for number, word in enumerate(words)}
                self._single |= ones
            else:
                self._numbers[name] = as_floats(values)
        self._known: dict[str, Attribute] = {}
        self._of_codes: dict[str, Attribute] = {}  # which draws are weighed by

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that labels tell apart."""
        return self._classes[CLASS][1] if CLASS in self._classes else ()

    @property
    def names(self) -> tuple[str, ...]:
        """All there are."""
        components = tuple(f"{COMPONENT}{number}" for number in range(self._latents.shape[1]))
        return (*components, *self._classes, *self._single, *self._numbers)

    def kind(self, name: str) -> Kind:
        """What the attribute of that name is: a `Direction`, `ClassProbe`, `OneClass`, or
        `ValueProbe`.
        """
        if name in self._numbers:
            return "value"
        if name in self._single:
            return "class"
        return "classes" if name in self._classes else "component"

    def range(self, name: str) -> tuple[float, float] | None:
        """The least and the largest value of a number of the images; None of other attributes."""
        values = self._numbers.get(name)
        return None if values is None else (values.min().item(), values.max().item())

    def __getitem__(self, name: str) -> Attribute:
        """The attribute of that name.

        Raises:
            UserError: there is none, there are too few labels to learn it from, or it is a number
                that cannot be read.
        """
        if name not in self.names:
            d = self._latents.shape[1]
            listed = (*self._classes, *self.classes, *self._numbers)
            several = "".join(f"{one}, " for one in listed)
            words = next((one for one in self._single if "=" in one), None)
            several += f"one word of an attribute such as {words}, " if words else ""
            raise UserError(
                f"no attribute '{name}'; choose {several}{'or ' if several else ''}"
                f"component:0 to component:{d - 1}{OLDER if self._older else ''}"
                f"{did_you_mean(name, [*listed, *self._single])}"
            )
        if name not in self._known:
            self._known[name] = self._learned(name)
        return self._known[name]

    def chosen(self, which: Attribute | str | Sequence[Attribute | str]) -> tuple[Attribute, ...]:
        """One attribute or several, each itself or its name."""
        several = [which] if isinstance(which, Attribute | str) else which
        return tuple(self[one] if isinstance(one, str) else one for one in several)

    @checked
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
        if name in self._classes and (isinstance(condition, str) or name == CLASS):
            labels, words = self._classes[name]
            require_known(name, str(condition), words)
            number = words.index(str(condition))
            if name not in self._of_codes:
                # Noise would make p(c|z) that of other codes.
                self._of_codes[name] = ClassProbe.fit(
                    self._latents, labels, words, name, noise=0.0, generator=self._generator()
                )
            odds = self._of_codes[name]
            return lambda latents: F.logsigmoid(odds.values(latents)[:, number])
        if isinstance(condition, str) or not condition[0] < condition[1]:
            self[name]  # raises where there is none
            raise UserError(
                f"attribute '{name}' cannot be {condition}; give a range, its lower end first"
            )
        if name in self._numbers and name not in self._of_codes:
            self._of_codes[name] = self._number(name, None)
        attribute = self._of_codes[name] if name in self._numbers else self[name]
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
        if name in self._classes:
            return self.learn(*self._classes[name], name)
        if name in self._numbers:
            return self._number(name, self._decode)
        of, number = self._single[name]
        probe = self[of]
        assert isinstance(probe, ClassProbe)
        return OneClass(probe, number, name, probe.warnings)

    def _number(self, name: str, decode: Callable[[Latents], Images] | None) -> ValueProbe:
        """A number of the images, read from codes or from what is decoded of them.

        Raises:
            UserError: it cannot be read.
        """
        probe = ValueProbe.fit(
            self._latents, self._numbers[name], name, decode=decode, generator=self._generator()
        )
        if probe.explained <= 0:
            raise UserError(
                f"'{name}' cannot be read: {probe.told()}; choose another attribute, or train for "
                "longer"
            )
        return probe
