"""Arguments that are no arrays: every public function refuses what they cannot be, in one sentence."""

import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latent_atlas import LatentMap, config, density, sampling, travel
from latent_atlas.density import Density
from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError, checked, is_checked
from test_array_likes import ABSTRACT, ROOMS, atlas, is_written

WORLD = two_clusters(2, 4.0)
A, B = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 0.0])

# What the library itself calls or makes, and why.
INTERNAL = {
    "plan": "of planners: called by travel.plan",
    "completed": "of planners: called by Atlas.planner",
    "edge_cost": "of graphs: called by their plan",
    "step": "of walks: called by their plan",
    "draw": "of samplers: called by sampling.draw",
    "kernel": "of Markov chains: called by their draw",
    "wants_codes": "of samplers: called by sampling.draw",
    "fit": "of boundaries: called by fit_boundary",
    "load": "of boundaries: called by load_boundary",
    "bounds": "of attributes: called by Constraint.around",
    "of": "of a record: called by LatentPath.numbers",
}
RECORDS = {  # which the library makes
    "Atlas", "LatentMap", "ClassProbe", "ValueProbe", "GraphInfo", "LatentPath", "PlannerInfo",
    "Calibration", "Geometry", "Number", "Spectrum", "CodeSet", "Divergence", "Membership",
    "NormalisingConstant", "PathMetrics", "SamplerInfo", "Samples", "LowDensityBoundary", "PriorBoundary",
}  # fmt: skip
OF_PARTS = {"sample_codes": "of the codes that fit has opened"}
REFERENCE = Path(__file__).parents[1] / "docs/reference"
OUR_OWN = {"Atlas", "LatentMap", "Membership", "ClassProbe", "ValueProbe"}


def of_users(kind: str, method: str) -> bool:
    if kind in ABSTRACT or kind in ("Planner", "Sampler"):
        return False
    if method == "__init__":
        return kind not in RECORDS
    return method not in INTERNAL or (kind in OUR_OWN and method in ("fit", "load"))


def documented() -> Iterator[tuple[str, Any]]:
    """What the reference describes beside what the packages below name themselves."""
    for page in sorted(REFERENCE.glob("*.md")):
        for place in re.findall(r"^::: (\S+)\.(\w+)$", page.read_text(), re.MULTILINE):
            yield place[1], getattr(importlib.import_module(place[0]), place[1])


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function that users call, and every class that they make, by its name."""
    for name, thing in documented():
        if inspect.isfunction(thing) and name not in OF_PARTS:
            yield name, thing
    for room in map(importlib.import_module, ROOMS):
        for name in room.__all__:
            thing = getattr(room, name)
            if inspect.isfunction(thing):
                yield name, thing
            elif inspect.isclass(thing):
                for member, method in inspect.getmembers(thing, is_written):
                    shown = member == "__init__" or not member.startswith("_")
                    if shown and of_users(name, member):
                        yield f"{name}.{member}", method
    for name in ("Config", "DataConfig", "MapConfig", "ModelConfig", "TrainConfig"):
        yield name, getattr(config, name).__init__


def arguments() -> dict[str, tuple[Callable[..., Any], str]]:
    found = {}
    for name, function in public():
        if function.__module__.startswith("latent_atlas"):
            hints = typing.get_type_hints(function)
            for parameter in inspect.signature(function).parameters:
                hint = hints.get(parameter)
                if is_checked(hint) and object not in (hint, *typing.get_args(hint)):
                    found[f"{name} {parameter}"] = (function, parameter)
    return found


CASES = arguments()


@pytest.mark.parametrize("case", CASES)
def test_no_public_function_takes_what_its_argument_cannot_be(case: str) -> None:
    function, parameter = CASES[case]
    itself = [object()] if "self" in inspect.signature(function).parameters else []
    with pytest.raises(UserError, match=rf": {parameter} is of type object; give \S") as refused:
        function(*itself, **{parameter: object()})
    assert "\n" not in str(refused.value)


class Column(Density):
    """Gives its values as a column."""

    dimension = 2

    def log_prob(self, latents: Tensor) -> Tensor:
        return -latents.square().sum(dim=1, keepdim=True)


class InNumpy(Density):
    """Gives its values as an array of NumPy."""

    dimension = 2

    def log_prob(self, latents: Tensor) -> Tensor:
        return -latents.detach().square().sum(dim=1).numpy()  # pyright: ignore


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: travel.plan(WORLD, A, B, generator=0), "plan: generator is 0; give a Generator such as torch.Generator"),
        (lambda: travel.plan(WORLD, A, B, frames=2.5), "plan: frames is 2.5; give a whole number"),
        (lambda: travel.plan("x", A, B), "density is 'x'; give a Density such as a LatentMap"),
        (
            lambda: travel.plan(WORLD, A, B, travel.Geodesic),
            r"planner is the class Geodesic; give an object of it, such as Geodesic\(\)$",
        ),
        (lambda: LatentMap.fit(A, steps="10", generator=torch.Generator()), "LatentMap.fit: steps"),
        (lambda: sampling.draw(WORLD, 1, sampling.MALA), r"such as MALA\(\)$"),
        (lambda: sampling.MALA(chains="x"), "MALA: chains is 'x'; give a whole number"),
        (lambda: WORLD.sample(True, generator=torch.Generator()), "sample: n is True"),
        (lambda: density.StandardNormal(float("inf")), "StandardNormal: dimension is inf"),
        (
            lambda: travel.preserve(WORLD, A, B, [travel.Direction]),
            "attributes is of type list; give a list of which each is an Attribute such as",
        ),
        (
            lambda: travel.plan(WORLD, A, B, frame=3),
            "plan has no argument 'frame'; did you mean 'frames'?",
        ),
        (lambda: travel.Geodesic(widths=0.1), "widths are 0.1; choose one or more in a tuple"),
        (lambda: travel.plan(Column(), A, B), r"gives a Tensor of shape \(1, 1\) for one code"),
        (lambda: travel.plan(InNumpy(), A, B, "linear"), "gives a ndarray for one code; have it"),
        (lambda: atlas().project(A, 2.0), "the share is 2.0; choose a share of the codes"),
        (lambda: atlas().sample_codes(2, where="class"), "where is 'class'; give values by name"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_was_given_and_what_to_give(
    ask: Callable[[], Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        ask()


def test_a_part_that_an_atlas_has_not_is_named() -> None:
    with pytest.raises(UserError, match="no part 'test'; choose 'train' or 'held_out'"):
        atlas().codes["test"]
    with pytest.raises(UserError, match="its images have no labels"):
        atlas().labels["train"]
    assert set(atlas().codes) == {"train", "held_out"}
    assert atlas().labels.get("train") is None


def test_numbers_of_other_types_are_numbers() -> None:
    @checked
    def twice(n: int, by: float | None = None) -> tuple[int, float | None]:
        return 2 * n, by

    assert twice(torch.tensor(3), 2) == (6, 2.0)
    assert isinstance(twice(3.0)[0], int)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'n'"):
        twice()  # pyright: ignore
    with pytest.raises(UserError, match="has no argument 'm'; choose n, by"):
        twice(1, m=2)  # pyright: ignore
    assert str(loaded(device=torch.device("cpu"))) == "cpu"


@checked
def loaded(device: str) -> str:
    return device


def test_a_planner_of_one_s_own_is_called_by_its_class() -> None:
    class Straight(travel.Planner):
        def plan(self, density: Any, start: Tensor, end: Tensor, **how: Any) -> Any:
            return travel.Linear().plan(density, start, end, **how)

    assert travel.plan(WORLD, A, B, Straight(), frames=3).planner == "straight"


def test_numpy_s_and_torch_s_booleans_are_true_or_false() -> None:
    @checked
    def told(closed: bool) -> bool:
        return closed

    assert told(np.bool_(True)) is True
    assert told(torch.tensor(False)) is False
