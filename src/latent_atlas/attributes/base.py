"""What an attribute is: a property a(z) of a code that can be read, followed and kept."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latent_atlas.density.base import Density, gradient
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, as_floats, as_rows, converts

__all__ = [
    "Attribute",
    "AttributeValues",
    "Bounded",
    "Direction",
    "Function",
    "LogDensity",
    "Slopes",
]

OF_CODES = (
    "values",
    "slopes",
    "direction",
    "bounded_slopes",
    "bounds",
    "classify",
)  # methods whose first argument is codes

AttributeValues = Float[Tensor, "n k"]
Slopes = Float[Tensor, "n k d"]
Bounded = Bool[Tensor, "n columns"]


class Attribute(ABC):
    """A property of a code, of one number or of k.

    Methods of codes take any array-like of shape (n, d), of subclasses as well.

    Attributes:
        name: What it is called beside its numbers.
        warnings: What to know before it is kept or followed, one sentence each.
    """

    name: str
    warnings: tuple[str, ...] = ()

    @property
    def tolerance(self) -> float:
        """How far it may move where it is kept and nothing else is said, in its own unit."""
        return 0.1

    def told(self) -> str:
        """How well it is read, as measured; "" where it is known exactly."""
        return ""

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Have the methods that a subclass defines take array-likes."""
        super().__init_subclass__(**keywords)
        converts(OF_CODES, cls)

    def _checked_codes(self, latents: ArrayLike) -> Latents:
        """The codes as rows (n, d); a UserError if they are none."""
        return as_rows(latents)

    @abstractmethod
    def values(self, latents: Latents) -> AttributeValues:
        """a(z) of each code, shape (n, k), differentiable; each row depends on its own code
        only.
        """

    def slopes(self, latents: Latents) -> Slopes:
        """grad a_i(z), shape (n, k, d), detached; by autograd unless a closed form is given.

        Raises:
            UserError: the values cannot be differentiated.
        """
        with torch.no_grad():
            k = self.values(latents[:1]).shape[1]
        return self._slopes_of(
            latents, torch.arange(k, device=latents.device).repeat(len(latents), 1)
        )

    def direction(self, latents: Latents) -> Latents:
        """Where codes are moved to have more of it, shape (n, d): the gradient of its first value.

        A learned attribute may know better how the codes of real images change with it.
        """
        return self.slopes(latents)[:, 0]

    def _bounded_slopes(self, latents: Latents, bounded: Bounded) -> Slopes:
        """`slopes` of the values that are bounded, a mask (n, k); the others may be 0.

        A mask of more than k columns is of values of other attributes too, from column k on.
        """
        return self.slopes(latents)

    def _slopes_of(self, latents: Latents, columns: Int[Tensor, "n m"]) -> Slopes:
        """The gradients of m of each code's values, by their numbers, shape (n, m, d)."""

        def chosen(z: Tensor) -> Tensor:
            values = self.values(z)
            if not values.requires_grad:
                raise UserError(
                    f"attribute '{self.name}' cannot be differentiated in z; compute it by torch "
                    f"operations, outside "
                    "of no_grad and detach"
                )
            return values.gather(1, columns.reshape(-1, 1).clone())[:, 0]

        # Each code is repeated m times, so that one backward pass serves all of its values.
        m = columns.shape[1]
        return gradient(chosen, latents.repeat_interleave(m, dim=0)).unflatten(0, (-1, m))

    @torch.no_grad()
    def bounds(self, start: Latents, tolerance: float) -> tuple[AttributeValues, AttributeValues]:
        """The bounds within which a path from z_A keeps it: a(z_A) ± tolerance, shape (n, k)."""
        values = self.values(start)
        return values - tolerance, values + tolerance


converts(OF_CODES, Attribute)  # its own defaults


class Direction(Attribute):
    """a(z) = <z, u>: the coordinate along a direction.

    Examples:
        >>> Direction(torch.tensor([0.0, 2.0])).values(torch.tensor([[3.0, 5.0]]))  # u has length 1
        tensor([[5.]])
    """

    @checked
    def __init__(self, vector: ArrayLike, name: str = "direction") -> None:
        """Arguments: vector, shape (d,), is brought to length 1.

        Raises:
            UserError: it is no vector, or has no direction.
        """
        vector = as_floats(vector).detach()
        length = vector.norm()
        if vector.ndim != 1 or not (length.isfinite() and length > 0):
            raise UserError(
                f"a direction is a finite vector (d,) other than 0; this one has shape "
                f"{tuple(vector.shape)} and "
                f"length {length.item():g}"
            )
        self.vector = vector / length
        self.name = name

    def _checked_codes(self, latents: ArrayLike) -> Latents:
        """The codes as rows; a UserError if they have another dimension than the direction."""
        rows = as_rows(latents)
        if rows.shape[1] != len(self.vector):
            raise UserError(
                f"{self.name} has {len(self.vector)} coordinates and the codes {rows.shape[1]}; "
                "take a direction of the same latent space"
            )
        return rows

    def values(self, latents: Latents) -> AttributeValues:
        """<z, u>, shape (n, 1)."""
        return latents @ self.vector.to(latents)[:, None]

    def slopes(self, latents: Latents) -> Slopes:
        """u, shape (n, 1, d)."""
        return self.vector.to(latents).expand(len(latents), 1, -1)


class Function(Attribute):
    """The user's own function of z.

    Examples:
        >>> radius = Function(lambda z: z.norm(dim=1), "radius")
        >>> radius.values(torch.tensor([[3.0, 4.0]])), radius.slopes(torch.tensor([[3.0, 4.0]]))
        (tensor([[5.]]), tensor([[[0.6000, 0.8000]]]))
    """

    @checked
    def __init__(self, function: Callable[[Tensor], Tensor], name: str = "function") -> None:
        """Arguments: function maps codes (n, d) to (n,) or (n, k), row by row, differentiably."""
        self.function = function
        self.name = name

    def values(self, latents: Latents) -> AttributeValues:
        """What the function gives, shape (n, k); k = 1 where it gives (n,).

        Raises:
            UserError: it gives something else.
        """
        values = self.function(latents)
        if values.ndim not in (1, 2) or len(values) != len(latents):
            raise UserError(
                f"attribute '{self.name}' must give (n,) or (n, k) for codes (n, d); for "
                f"{tuple(latents.shape)} it "
                f"gave {tuple(values.shape)}"
            )
        return values.reshape(len(latents), -1)


class LogDensity(Attribute):
    """a(z) = log q(z) in nats: to be on the manifold is an attribute bounded from below."""

    name = "log q"

    def __init__(self, density: Density) -> None:
        """Arguments: density is q."""
        self.density = density

    def values(self, latents: Latents) -> AttributeValues:
        """log q(z), shape (n, 1)."""
        return self.density.log_prob(latents)[:, None]

    def slopes(self, latents: Latents) -> Slopes:
        """grad log q(z), shape (n, 1, d)."""
        return self.density.score(latents)[:, None]

    def bounds(self, start: Latents, tolerance: float) -> tuple[AttributeValues, AttributeValues]:
        """At most `tolerance` nats less likely than z_A, each (n, 1)."""
        lower = super().bounds(start, tolerance)[0]
        return lower, torch.full_like(lower, math.inf)
