"""What a planner is: an object whose fields are its settings, with one method that finds paths."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Points
from latent_atlas.travel.path_info import PlannerInfo

if TYPE_CHECKING:
    from latent_atlas.density.membership import Membership

__all__ = ["Codes", "Decode", "Planner", "Resources", "check_widths"]

Codes = Float[Tensor, "m _"]  # codes that are not the ends of paths
Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Resources:
    """What a run has besides its density that planners can use.

    Attributes:
        codes: Real codes that the density was fitted to, shape (m, d): the nodes of a graph.
        held_out: Codes of the kind that paths connect, which it was not fitted to, shape (k, d):
            the geodesic's threshold is a quantile of their log-density.
        decode: The decoder, codes (n, d) to images, differentiable.
        membership: Gives what tells real codes from points between them, or None where there are
            too few to tell by. It is asked only where it is needed, since fitting takes seconds.
    """

    codes: Codes | None = None
    held_out: Float[Tensor, "k _"] | None = None
    decode: Decode | None = None
    membership: "Callable[[], Membership | None] | None" = None


class Planner(ABC):
    """A way to find paths; subclasses are frozen dataclasses, whose fields are its settings.

    Attributes:
        name: Its name in `PLANNERS`; of one's own, that of the class unless it is set.
        follows_score: Whether it needs the gradient of log q.
    """

    name: ClassVar[str]
    follows_score: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Name a planner that does not say its name after its class."""
        super().__init_subclass__(**keywords)
        if not hasattr(cls, "name"):
            cls.name = cls.__name__.lower()

    @abstractmethod
    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """Find paths; `travel.plan` checks the arguments and adds metrics.

        Arguments:
            density: q.
            start, end: Codes, shape (n, d) each.
            frames: Points of each path, both ends included; 2 or more.
            generator: Source of randomness, where the planner needs one.

        Returns:
            The paths, shape (frames, n, d), and how they were found.
        """

    def completed(self, density: Density, resources: Resources) -> "Planner":
        """The same planner with what it lacks taken from the resources of a run."""
        return self


def check_widths(widths: object) -> None:
    """Refuse noise widths that do not go from coarse to fine.

    Raises:
        UserError: there are none, or they increase.
    """
    if widths is None:
        return
    several = isinstance(widths, Sequence)
    if not (several and widths and list(widths) == sorted(widths, reverse=True)):
        raise UserError(f"widths are {widths}; choose one or more in a tuple, from coarse to fine")
