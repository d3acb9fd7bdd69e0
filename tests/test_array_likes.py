"""Arrays as people have them: every public function converts them, or refuses in one sentence."""

import importlib
import inspect
import typing
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jaxtyping import AbstractArray
from PIL import Image
from torch import Tensor

from latent_atlas import Atlas, LatentMap, boundary, density, geometry, sampling, travel
from latent_atlas.attributes import base as attributes
from latent_atlas.boundary import fit_boundary
from latent_atlas.config.density_ratio import BOUNDARIES
from latent_atlas.density import base
from latent_atlas.density_ratio import latent_map
from latent_atlas.density_ratio.fit import FittedRatio
from latent_atlas.errors import UserError
from latent_atlas.shapes import as_array, as_images, as_labels, as_rows

ROOMS = [
    "latent_atlas",
    "latent_atlas.travel",
    "latent_atlas.sampling",
    "latent_atlas.density",
    "latent_atlas.boundary",
    "latent_atlas.codes",
    "latent_atlas.density_ratio",
    "latent_atlas.geometry",
]
TINY: dict[str, Any] = {"steps": 2, "width": 4, "depth": 1, "batch_size": 16, "check_every": 2}
NORMAL = density.StandardNormal(2)
CODES = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
PLACES, CODE, LABELS = CODES[:4], CODES[0], torch.arange(40) % 2
IMAGES = CODES[:, None, None]  # of two pixels, which are the codes
TRACE = torch.randn(16, 4, 2, generator=torch.Generator().manual_seed(0))
LINE = travel.Direction(torch.ones(2))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@cache
def atlas() -> Atlas:
    """Two pixels that are their own code."""
    return wrapped(IMAGES)


def wrapped(images: Any, labels: Any = None, **how: Any) -> Atlas:
    with warnings.catch_warnings(action="ignore"):
        return Atlas.wrap(
            images=images,
            labels=labels,
            encode=lambda x: x.flatten(1),
            decode=lambda z: z.reshape(-1, 1, 1, 2),
            generator=seeded(),
            **(TINY | how),
        )


def fitted(means: Any, **how: Any) -> LatentMap:
    with warnings.catch_warnings(action="ignore"):
        return LatentMap.fit(means, boundary="gaussian", steps=2, generator=seeded(), **how)


@cache
def probe() -> travel.ClassProbe:
    return travel.ClassProbe.fit(CODES, LABELS, steps=2, noise=0.0, generator=seeded())


def identity(z: Tensor) -> Tensor:
    return 3 * z


@cache
def made_once(kind: type) -> Any:
    """An object of a public class that is asked about codes."""
    known: dict[type, Callable[[], Any]] = {
        LatentMap: lambda: atlas().map,
        density.GaussianMixture: lambda: density.GaussianMixture([1.0], [[0.0, 1.0]], [1.0]),
        sampling.TorchDistribution: lambda: sampling.TorchDistribution(NORMAL, generator=seeded()),
        density.KernelDensity: lambda: density.KernelDensity(CODES, 0.5),
        density.StandardNormal: lambda: NORMAL,
        density.ExactRatio: lambda: density.ExactRatio(NORMAL, NORMAL),
        travel.ClassProbe: probe,
        travel.Direction: lambda: LINE,
        travel.Function: lambda: travel.Function(lambda z: z.norm(dim=1)),
        travel.ValueProbe: lambda: travel.ValueProbe.fit(
            CODES, CODES[:, 0], steps=2, generator=seeded()
        ),
    }
    for name in BOUNDARIES:
        fit = partial(fit_boundary, name, 6 * CODES, generator=seeded())
        known[_BOUNDARY_CLASSES[name]] = fit
    known[density.Membership] = lambda: density.Membership.fit(
        NORMAL, CODES.repeat(8, 1), generator=seeded()
    )
    return known[kind]()


_BOUNDARY_CLASSES = {
    kind.name: kind
    for name in boundary.__all__
    if inspect.isclass(kind := getattr(boundary, name)) and hasattr(kind, "name")
}
OF_MEMBERSHIP = {"statistics", "log_odds", "p_value", "parts", "compared"}
OF_CODES = {*base.OF_CODES, *attributes.OF_CODES} - {"bounds"}

# By name: the function of one array, and an array that is right for it.
CASES: dict[str, tuple[Callable[[Any], Any], Tensor]] = {
    "Membership.fit": (
        lambda x: density.Membership.fit(NORMAL, x, generator=seeded()),
        CODES,
    ),
    "Atlas.anomaly": (lambda x: atlas().anomaly(x), IMAGES[:3]),
    "Atlas.anomaly held_out": (lambda x: atlas().anomaly(IMAGES[:3], held_out=x), IMAGES),
    "Atlas.compare": (lambda x: atlas().compare(x).drift, IMAGES[:8]),
    "Atlas.decode": (lambda x: atlas().decode(x), PLACES),
    "Atlas.encode": (lambda x: atlas().encode(x), IMAGES[:3]),
    "Atlas.pictures": (lambda x: atlas().pictures(x), PLACES),
    "Atlas.neighbours": (lambda x: atlas().neighbours(x), IMAGES[:3]),
    "Atlas.project": (lambda x: atlas().project(x), PLACES),
    "Atlas.random_walk": (
        lambda x: atlas().random_walk(x, frames=2, stride=1, tuning=10, generator=seeded()),
        PLACES,
    ),
    "Atlas.sample": (
        lambda x: atlas().sample(2, "importance", near=x, generator=seeded()),
        CODE,
    ),
    "Atlas.sample_codes": (
        lambda x: atlas().sample_codes(2, "importance", near=x, generator=seeded()),
        CODE,
    ),
    "Atlas.travel": (lambda x: atlas().travel(x, 2 + CODES[:4], "linear", frames=3), PLACES),
    "Atlas.travel end": (lambda x: atlas().travel(2 + CODES[:4], x, "linear", frames=3), PLACES),
    "Atlas.travel stops": (lambda x: atlas().travel(x, None, "linear", frames=5), PLACES),
    "Atlas.traverse": (lambda x: atlas().traverse(x, LINE, by=0.1, frames=2, steps=1), PLACES),
    "Atlas.traverse attribute": (
        lambda x: atlas().traverse(PLACES, x, by=0.1, frames=2, steps=1),
        CODE,
    ),
    "Atlas.traverse by": (
        lambda x: atlas().traverse(PLACES[:1], LINE, by=x, frames=2, steps=1),
        0.1 + CODES[:1, 0],
    ),
    "Atlas.wrap": (wrapped, IMAGES),
    "Atlas.wrap labels": (lambda x: wrapped(IMAGES, x), LABELS),
    "LatentMap.fit": (lambda x: fitted(x), CODES),
    "LatentMap.fit log_variances": (lambda x: fitted(CODES, log_variances=x), -2 - CODES),
    "LatentMap.rank": (lambda x: atlas().map.rank(x), CODES[:, 0]),
    "Autoencoder.decode": (lambda x: atlas().model.decode(x), PLACES),  # pyright: ignore
    "Autoencoder.differentiable": (lambda x: atlas().model.differentiable(x), PLACES),  # pyright: ignore
    "Autoencoder.encode": (lambda x: atlas().model.encode(x), IMAGES[:3]),  # pyright: ignore
    "Autoencoder.posterior": (lambda x: atlas().model.posterior(x), IMAGES[:3]),  # pyright: ignore
    "plan": (lambda x: travel.plan(NORMAL, x, 2 + CODES[:4], "linear", frames=3), PLACES),
    "plan end": (lambda x: travel.plan(NORMAL, 2 + CODES[:4], x, frames=3), PLACES),
    "preserve": (
        lambda x: travel.preserve(NORMAL, x, 2 + CODES[:1], [LINE], planner="linear", frames=3),
        CODES[:1],
    ),
    "interpolate": (
        lambda x: travel.interpolate(NORMAL, x, "linear", features=identity, frames=5),
        CODES[:3],
    ),
    "through_waypoints": (
        lambda x: travel.through_waypoints(NORMAL, x, "linear", frames=7),
        CODES[:3],
    ),
    "project": (lambda x: travel.project(NORMAL, 4 * as_rows(x), -3.0), PLACES),
    "project latents": (lambda x: travel.project(NORMAL, x, -3.0), PLACES),
    "project target": (lambda x: travel.project(NORMAL, 4 * PLACES, x), -3 - CODES[:4, 0]),
    "random_walk": (
        lambda x: travel.random_walk(NORMAL, x, frames=2, stride=1, tuning=10, generator=seeded()),
        PLACES,
    ),
    "traverse": (
        lambda x: travel.traverse(NORMAL, x, LINE, by=0.1, frames=2, steps=1, threshold=-9.0),
        PLACES,
    ),
    "traverse attribute": (
        lambda x: travel.traverse(NORMAL, PLACES, x, by=0.1, frames=2, steps=1, threshold=-9.0),
        CODE,
    ),
    "traverse to": (
        lambda x: travel.traverse(NORMAL, PLACES, LINE, to=x, frames=2, steps=1, threshold=-9.0),
        5 + CODES[:4, 0],
    ),
    "Direction.__init__": (travel.Direction, CODE),
    "ClassProbe.fit": (
        lambda x: travel.ClassProbe.fit(x, LABELS, steps=2, noise=0.0, generator=seeded()),
        CODES,
    ),
    "ClassProbe.fit labels": (
        lambda x: travel.ClassProbe.fit(CODES, x, steps=2, noise=0.0, generator=seeded()),
        LABELS,
    ),
    "ValueProbe.fit": (
        lambda x: travel.ValueProbe.fit(x, CODES[:, 0], steps=2, generator=seeded()),
        CODES,
    ),
    "ValueProbe.fit labels": (
        lambda x: travel.ValueProbe.fit(CODES, x, steps=2, generator=seeded()),
        CODES[:, 0],
    ),
    "draw": (
        lambda x: sampling.draw(NORMAL, 2, "importance", near=x, generator=seeded()),
        CODE,
    ),
    "bulk_ess": (sampling.bulk_ess, TRACE),
    "split_r_hat": (sampling.split_r_hat, TRACE),
    "fit_gaussian_mixture": (
        lambda x: density.fit_gaussian_mixture(x, generator=seeded()),
        CODES,
    ),
    "fit_scale_mixture": (lambda x: density.fit_scale_mixture(x), CODES),
    "fit_boundary": (lambda x: fit_boundary("gaussian", x, generator=seeded()), CODES),
    "GaussianMixture.__init__": (
        lambda x: density.GaussianMixture(torch.ones(40) / 40, x, torch.ones(40)).log_prob(CODES),
        CODES,
    ),
    "KernelDensity.__init__": (
        lambda x: density.KernelDensity(x, 0.5).log_prob(CODES),
        CODES,
    ),
    "active_units": (geometry.active_units, CODES),
    "correlations": (lambda x: geometry.correlations(x, CODES[:, 1]), CODES[:, 0]),
    "distances_by_radius": (
        lambda x: geometry.distances_by_radius(identity, x, 8, generator=seeded()),
        CODES,
    ),
    "estimated_spectrum": (
        lambda x: geometry.estimated_spectrum(identity, x, 2, generator=seeded()),
        PLACES,
    ),
    "exact_spectrum": (lambda x: geometry.exact_spectrum(identity, x), PLACES),
    "spectrum": (lambda x: geometry.spectrum(identity, x, generator=seeded()), PLACES),
    "kl_per_image": (lambda x: geometry.kl_per_image(CODES, x), CODES),
    "largest_steps": (lambda x: geometry.largest_steps(identity, x, 2 + CODES, 3), CODES),
    "path_lengths": (
        lambda x: geometry.path_lengths(identity, 2 + CODES, x, generator=seeded()),
        CODES,
    ),
    "measure": (
        lambda x: geometry.measure(
            NORMAL, identity, x, threshold=-5.0, samples=8, generator=seeded()
        ),
        CODES,
    ),
}
SAMPLERS: dict[str, Callable[[Any], sampling.Sampler]] = {
    "MALA": lambda x: sampling.MALA(codes=x, warmup=10, thin=1),
    "HMC": lambda x: sampling.HMC(codes=x, warmup=10, thin=1, leaps=1),
    "ULA": lambda x: sampling.ULA(codes=x, warmup=10, thin=1),
    "SMC": lambda x: sampling.SMC(codes=x, particles=100),
    "Diffusion": lambda x: sampling.Diffusion(steps=2, moves=0, codes=x),
    "Mixture": lambda x: sampling.Mixture(components=1, codes=x),
    "Flow": lambda x: sampling.Flow(training=1, hidden=4, codes=x),
}
PLANNERS: dict[str, Callable[[Any], travel.Planner]] = {
    "Graph": lambda x: travel.Graph(codes=x, refine=False, neighbours=3),
    "Auto": lambda x: travel.Auto(codes=x, refine=False, neighbours=3, iterations=1),
}


def drawn(make: Callable[[Any], sampling.Sampler], codes: Any) -> sampling.Samples:
    with warnings.catch_warnings(action="ignore"):
        sampler = make(codes)
        target = atlas().map if sampler.name == "diffusion" else NORMAL
        return sampling.draw(target, 4, sampler, generator=seeded())


for name, sampler in SAMPLERS.items():
    CASES[f"{name}.__init__"] = (partial(drawn, sampler), CODES)
for name, planner in PLANNERS.items():
    CASES[f"{name}.__init__"] = (
        lambda x, make=planner: travel.plan(NORMAL, PLACES, 2 + PLACES, make(x), frames=3),
        CODES,
    )

# What takes tensors of the library's own making, and why.
TYPED = {
    "__init__": "a record, or a network or a fitted boundary: made by the library",
    "plan": "of planners: called by travel.plan, which has converted the ends",
    "step": "of walks, as plan",
    "kernel": "of Markov chains: called by draw",
    "fit": "of boundaries: called by fit_boundary, which has converted the codes",
    "load": "tensors of a file",
    "load_boundary": "tensors of a file",
    "from_json": "values of a file",
    "calibrated": "logits of the same map",
    "select": "row numbers of the same set",
    "quantiles": "shares of the same spectrum",
    "bounds": "as values, which it asks",
    "unchecked_posterior": "of images that posterior has checked, or that a tracer hands it",
}
# Without a log-density: by design, or as one whose log_prob always refuses.
ABSTRACT = (
    "Attribute",
    "Boundary",
    "Density",
    "DensityRatioModel",
    "SamplableDensity",
    "BetweenBoundary",
)


def is_written(member: object) -> bool:
    return inspect.isfunction(member) or inspect.ismethod(member)


def takes_arrays(function: Callable[..., Any]) -> bool:
    return any(
        is_array(parameter.annotation)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    )


def is_array(annotation: Any) -> bool:
    """Whether a parameter so annotated is an array; `ArrayLike` is `Any` to Python."""
    if annotation is Any or annotation is Tensor:
        return True
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    called = "Callable" in str(typing.get_origin(annotation))
    return not called and any(map(is_array, typing.get_args(annotation)))


def public() -> dict[str, Callable[..., Any]]:
    """Every public function and method that takes arrays, by its name."""
    found: dict[str, Callable[..., Any]] = {}
    for room in map(importlib.import_module, ROOMS):
        for name in room.__all__:
            thing = getattr(room, name)
            if inspect.isfunction(thing):
                found[name] = thing
            elif inspect.isclass(thing):
                found |= {
                    f"{name}.{member}": method
                    for member, method in inspect.getmembers(thing, is_written)
                    if method.__module__.startswith("latent_atlas")
                    and (member == "__init__" or not member.startswith("_"))
                }
    return {name: function for name, function in found.items() if takes_arrays(function)}


PUBLIC = public()
METHODS = [
    name
    for name in PUBLIC
    if name.partition(".")[2] in OF_CODES | OF_MEMBERSHIP and name.partition(".")[0] not in ABSTRACT
]
CLASSES = {
    name: getattr(room, name)
    for room in map(importlib.import_module, ROOMS)
    for name in room.__all__
    if inspect.isclass(getattr(room, name))
}


def asked(name: str, codes: Any) -> Any:
    """What a method of a density or an attribute gives for codes."""
    kind, _, method = name.partition(".")
    return getattr(made_once(CLASSES[kind]), method)(codes)


for name in METHODS:
    CASES[name] = (partial(asked, name), PLACES)


@pytest.fixture(scope="module", autouse=True)
def _maps_are_fitted_once() -> Iterator[None]:
    """Only what happens before D_z is trained matters here."""
    known = atlas().map
    parts = FittedRatio(known.network, known.boundary, known._codes, known.calibration)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_map, "fit_density_ratio", lambda *codes, **how: parts)
        yield


def test_every_public_function_of_arrays_is_tried_here() -> None:
    tried = {name.partition(" ")[0] for name in CASES}
    left = {
        name
        for name in PUBLIC.keys() - tried
        if name.partition(".")[0] not in ABSTRACT and name.rpartition(".")[2] not in TYPED
    }
    assert left == set()
    assert {name for name in tried if name not in PUBLIC} == set()


KINDS: dict[str, Callable[[Tensor], Any]] = {
    "foreign bytes": lambda x: x.numpy().astype(">f8"),
    "list": lambda x: x.tolist(),
    "list of tensors": lambda x: list(x.double()),
    "list of arrays": lambda x: list(x.numpy()),
    "DataFrame": lambda x: pd.DataFrame(x.numpy()),
    "objects": lambda x: x.numpy().astype(object),
    "read-only": lambda x: np.broadcast_to(x.numpy(), x.shape),
    "backwards": lambda x: np.ascontiguousarray(x.numpy()[::-1])[::-1],
    "sparse": lambda x: x.to_sparse(),
    "long double": lambda x: x.numpy().astype(np.longdouble),
    "parameter": lambda x: torch.nn.Parameter(x),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind_are_the_same_tensor(kind: str) -> None:
    found = as_rows(KINDS[kind](CODES), 2)
    assert found.dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(found.float(), CODES)


@pytest.mark.parametrize("name", CASES)
def test_it_converts(name: str) -> None:
    function, good = CASES[name]
    floats = good.is_floating_point()
    expected = leaf(function(good))
    found = leaf(function(good.numpy().astype(np.float64) if floats else good.tolist()))
    if expected is not None and found is not None:
        torch.testing.assert_close(found.float(), expected.float(), rtol=1e-3, atol=1e-3)
    if floats:
        function(good.bfloat16().requires_grad_())
        function(good.double())


def leaf(result: Any) -> Tensor | None:
    """A tensor that a result consists of, where it is simple."""
    if isinstance(result, tuple) and result and isinstance(result[0], Tensor):
        return result[0]
    points = getattr(result, "points", None)
    return result if isinstance(result, Tensor) else points if isinstance(points, Tensor) else None


SHAPES = st.sampled_from([(), (0,), (2,), (3,), (0, 2), (1, 2), (4, 2), (4, 3), (40,), (40, 2), (4, 2, 2), (3, 1, 1, 2)])  # fmt: skip
TYPES = st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "u1", "i8", "u4", "u8", "?"])


@st.composite
def array_likes(draw: st.DrawFn) -> Any:
    """What people hand over: arrays of any shape, type and kind, and what is none."""
    kind = draw(st.sampled_from(("numpy", "tensor", "list", "frame", "image", "ragged", "none")))
    if kind == "none":
        return draw(
            st.sampled_from([None, "abc", b"abc", {}, {"a": 1}, object(), 1j, ["a"], [None]])
        )
    if kind == "ragged":
        return [[1.0, 2.0], [3.0], draw(st.sampled_from([[], None, "x", CODE]))]
    if kind == "image":
        mode = draw(st.sampled_from(("L", "1", "RGB", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F")))
        return Image.new(mode, (2, 1))
    number = draw(TYPES)
    kind_of_number = np.dtype(number).kind
    elements = None if kind_of_number != "f" else st.floats(-3, 3, width=16) | st.just(np.nan)
    array = draw(arrays.arrays(np.dtype(number), draw(SHAPES), elements=elements, fill=None))
    if kind == "tensor":
        return as_array(array).requires_grad_(kind_of_number == "f")
    if kind == "frame" and array.ndim == 2:
        return pd.DataFrame(array)
    return array.tolist() if kind == "list" else array


@pytest.mark.parametrize("name", CASES)
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(values=array_likes())
def test_it_converts_or_refuses_in_one_sentence(name: str, values: Any) -> None:
    with warnings.catch_warnings(action="ignore"):
        try:
            CASES[name][0](values)
        except UserError as error:
            sentence = str(error)
        else:
            sentence = ""
    assert "\n" not in sentence


ONE = torch.tensor([0.0, 1.0]).expand(3, 1, 1, 2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (2 * ONE - 1, r"these go from -1 to 1: bring them to \[0, 1\], as \(x \+ 1\) / 2 does"),
        (255 * ONE, r"these go from 0 to 255: bring them to \[0, 1\], as x / 255 does"),
        ((255 * ONE).long(), r"these go from 0 to 255: bring them to \[0, 1\], as x / 255 does"),
        (ONE.int(), "images must be bytes, or floats in .* int32: convert them"),
        (ONE / ONE, "3 of 3 images have NaN or infinite pixels, the first is number 0"),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda x: atlas().encode(x),
        lambda x: atlas().travel(x, IMAGES[:3]),
        lambda x: atlas().anomaly(x),
        lambda x: atlas().traverse(x, LINE, by=0.1),
        lambda x: atlas().sample(2, near=x),
        wrapped,
    ],
    ids=["encode", "travel", "anomaly", "traverse", "near", "wrap"],
)
def test_pixels_are_checked_wherever_images_come_in(
    ask: Callable[[Any], Any], given: Tensor, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        ask(given)


def test_images_may_be_bytes_and_may_leave_their_range_by_rounding() -> None:
    byte = (255 * IMAGES).byte()
    torch.testing.assert_close(atlas().encode(byte), byte.flatten(1) / 255)
    assert as_images(IMAGES * 1.0005).max() <= 1
    picture = Image.fromarray(np.array([[0, 255]], np.uint8))
    assert atlas().encode(picture).tolist() == [[0.0, 1.0]]
    assert atlas().encode([picture, picture]).shape == (2, 2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("emb.npy", "'emb.npy' is text and no array; .* load it, as numpy.load does"),
        (Path("emb.npy"), "'emb.npy' is text and no array"),
        (pd.DataFrame({"a": [0.5], "who": ["x"]}), "1 of 2 columns .* no numbers, .*: who; leave"),
        ([], r"there are no codes in an array of shape \(0,\)"),
        ([1.0, 2.0], r"these have \(2,\): give one code per row, as codes.reshape\(-1, 1\)"),
        (LABELS[:, None], r"codes must be floats; these are int64: .* labels, token numbers"),
    ],
)
def test_what_is_no_array_of_codes_is_named(given: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        fitted(given)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (LABELS + 1, "labels must be 0 to 1, by 2 names, or -1; 20 of 40 are others, .* row 1, is 2"),
        (LABELS - 3, "40 of 40 are others"),
        (LABELS.float(), "labels must be whole numbers, .* these are float32"),
        (torch.where(LABELS > 0, torch.nan, 0.0), "labels must be whole numbers"),
        (["a"] * 40, "this list holds values of type <U1"),
        (LABELS[:39], r"labels must have one number per code, \(40,\); they have \(39,\)"),
        (LABELS[:, None], r"they have \(40, 1\)"),
    ],
)  # fmt: skip
def test_labels_are_checked_wherever_they_come_in(labels: Any, sentence: str) -> None:
    names = ("a", "b")
    for ask in (
        lambda: wrapped(IMAGES, labels, label_names=names),
        lambda: travel.ClassProbe.fit(CODES, labels, names, generator=seeded()),
        lambda: as_labels(labels, 40, names),
    ):
        with pytest.raises(UserError, match=sentence):
            ask()
    kept = wrapped(IMAGES, LABELS.tolist(), label_names=names).labels
    assert kept["train"].unique().tolist() == [0, 1]
