"""Attributes: slopes against finite differences, probes against Bayes' rule, directions against a known decoder."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latent_atlas.attributes import directions
from latent_atlas.attributes.base import Attribute, Direction, Function, LogDensity
from latent_atlas.attributes.directions import (
    decoder_directions,
    entanglement,
    principal_components,
)
from latent_atlas.attributes.probes import ClassProbe, ValueProbe
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.toys import GaussianMixture, two_clusters
from latent_atlas.errors import UserError

WORLD = two_clusters(3, distance=2.0, scale=0.7)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def labelled(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Codes of two Gaussians, N(±1, 0.49) along the first axis, with the number of their own."""
    z = WORLD.sample(n, generator=generator)
    p_right = torch.sigmoid(log_odds(z))
    return z, torch.bernoulli(p_right, generator=generator).long()


def log_odds(z: Tensor) -> Tensor:
    """log p(right|z) / p(left|z) = 2 z_0 / s²."""
    return 2 * z[:, 0] / 0.49


@pytest.fixture(scope="module")
def probe() -> ClassProbe:
    generator = torch.Generator().manual_seed(0)
    return ClassProbe.fit(
        *labelled(3_000, generator), ("left", "right"), steps=400, generator=generator
    )


@pytest.fixture(scope="module")
def width() -> ValueProbe:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(2_000, 3, generator=generator)
    labels = 5 + 2 * z[:, 1] + torch.randn(2_000, generator=generator)
    return ValueProbe.fit(z, labels, "width", steps=400, generator=generator)


def check_slopes(attribute: Attribute) -> None:
    z, step = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)), 1e-2
    differences = [
        (attribute.values(z + step * a) - attribute.values(z - step * a)) / (2 * step)
        for a in torch.eye(3)
    ]
    torch.testing.assert_close(
        attribute.slopes(z), torch.stack(differences, dim=2), rtol=0.02, atol=0.02
    )
    with torch.inference_mode():
        torch.testing.assert_close(attribute.slopes(z + 0), attribute.slopes(z))


@pytest.mark.parametrize(
    "attribute",
    [
        Direction(torch.tensor([1.0, -2.0, 0.5])),
        Function(lambda z: z.square().sum(dim=1), "one value"),
        Function(lambda z: torch.stack([z[:, 0] * z[:, 1], z[:, 2].sin()], dim=1), "two values"),
        LogDensity(WORLD),
    ],
    ids=lambda attribute: attribute.name,
)
def test_slopes_are_the_gradients_of_values(attribute: Attribute) -> None:
    check_slopes(attribute)


def test_slopes_of_probes_are_the_gradients_of_their_values(
    probe: ClassProbe, width: ValueProbe
) -> None:
    check_slopes(probe)
    check_slopes(width)


def test_a_direction_has_unit_length_and_more_of_it_is_more() -> None:
    up = Direction(torch.tensor([0.0, 3.0]))
    assert up.values(torch.tensor([[7.0, 2.0]])).item() == 2
    assert up.values(torch.tensor([[7.0, 2.5]])).item() > 2


def test_a_class_probe_is_nearly_as_good_as_bayes_rule(
    probe: ClassProbe, generator: torch.Generator
) -> None:
    z, labels = labelled(20_000, generator)
    bayes = ((log_odds(z) > 0) == labels.bool()).float().mean().item()
    accuracy = (probe.classify(z) == labels).float().mean().item()
    assert accuracy > bayes - 0.01
    assert probe.accuracy == pytest.approx(accuracy, abs=0.06)  # 300 codes were held out
    torch.testing.assert_close(probe.values(z)[:, 1].mean(), log_odds(z).mean(), atol=0.3, rtol=0)


def test_log_odds_are_those_of_the_softmax_and_of_opposite_sign_for_two_classes(
    probe: ClassProbe,
) -> None:
    z = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.5, 0.0]])
    p = probe.network(z).softmax(dim=1)
    torch.testing.assert_close(probe.values(z), (p / (1 - p)).log(), atol=1e-4, rtol=1e-4)
    assert probe.values(z)[0, 1] > 0 > probe.values(z)[1, 1]


def test_log_odds_stay_finite_where_the_softmax_rounds_to_one(probe: ClassProbe) -> None:
    assert probe.values(torch.tensor([[900.0, 0.0, 0.0]])).isfinite().all()


def test_a_probe_of_classes_of_several_clusters_finds_them_all(generator: torch.Generator) -> None:
    corners = torch.tensor(
        [[-2.0, -2.0], [2.0, 2.0], [-2.0, 2.0], [2.0, -2.0]]
    )  # no plane parts these classes
    z = GaussianMixture(torch.full((4,), 0.25), corners, torch.full((4,), 0.4)).sample(
        2_000, generator=generator
    )
    labels = (z[:, 0] * z[:, 1] < 0).long()
    assert ClassProbe.fit(z, labels, steps=300, generator=generator).accuracy > 0.98


def test_a_value_probe_explains_what_the_noise_leaves(width: ValueProbe) -> None:
    assert width.explained == pytest.approx(
        4 / 5, abs=0.08
    )  # variance 4 of the value, 1 of the noise
    z = torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(width.values(z)[:, 0], torch.tensor([3.0, 7.0]), atol=0.5, rtol=0)


def test_probes_repeat_under_the_same_generator() -> None:
    z, labels = labelled(100, torch.Generator().manual_seed(3))
    first, second = (
        ClassProbe.fit(z, labels, steps=10, generator=torch.Generator().manual_seed(4)).values(z)
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_codes_without_a_label_are_left_out(generator: torch.Generator) -> None:
    z, labels = labelled(300, generator)
    lost = torch.cat([z, torch.full((50, 3), math.nan)]), torch.cat([labels, torch.full((50,), -1)])
    assert ClassProbe.fit(*lost, steps=5, generator=generator).values(z).isfinite().all()


def test_what_a_class_has_is_kept_or_what_is_typical_of_it(probe: ClassProbe) -> None:
    start = torch.tensor([[-4.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.02, 0.0, 0.0]])
    values, (lower, upper) = probe.values(start), probe.bounds(start, 0.1)
    assert upper.isinf().all()
    enough = probe.typical.clamp_min(math.log(19))
    assert (values[:2].diagonal() > enough + 0.1).all()  # surer than most real codes
    assert lower[:2].diagonal().tolist() == enough.tolist()
    assert lower[0, 1] == lower[1, 0] == -math.inf  # nothing is asked of a class that A has not
    torch.testing.assert_close(lower[2], values[2] - 0.1)  # between two classes, it stays there


def test_typical_log_odds_are_the_median_of_codes_of_the_class(
    probe: ClassProbe, generator: torch.Generator
) -> None:
    values = probe.values(labelled(20_000, generator)[0])
    for number, typical in enumerate(probe.typical):
        own = values[values[:, number] > 0, number]
        assert (own >= typical).float().mean().item() == pytest.approx(0.5, abs=0.08)


def test_slopes_of_classes_without_a_bound_may_be_left_out(probe: ClassProbe) -> None:
    z = torch.randn(5, 3, generator=seeded())
    bounded = torch.tensor([[True, False], [False, True], [True, True], [False, False], [True] * 2])
    found, every = probe._bounded_slopes(z, bounded), probe.slopes(z)
    torch.testing.assert_close(found[bounded], every[bounded])
    others = torch.cat([bounded, torch.ones(5, 3, dtype=torch.bool)], dim=1)  # of other attributes
    torch.testing.assert_close(probe._bounded_slopes(z, others), found)


def shown(z: Tensor) -> Tensor:
    """Images whose left half is as bright as the first coordinate: the others are not shown."""
    left = torch.cat([torch.ones(1, 8, 4), torch.zeros(1, 8, 4)], dim=2)
    return (z[:, :1, None, None] * left / 4 + 0.5).clamp(0, 1)


def test_a_probe_of_images_is_not_fooled_by_what_they_do_not_show(
    generator: torch.Generator,
) -> None:
    # The second coordinate tells the classes too, and the decoder does not show it.
    labels = torch.arange(600) % 2
    z = 0.5 * torch.randn(600, 2, generator=generator) + (2 * labels - 1)[:, None]
    of_codes = ClassProbe.fit(z, labels, noise=0.0, steps=200, generator=seeded())
    of_images = ClassProbe.fit(z, labels, decode=shown, steps=200, generator=seeded())
    assert of_images.accuracy > 0.9
    moved = torch.tensor([[-0.5, 3.0]])  # looks like the first class
    assert of_codes.classify(moved).item() == 1
    assert of_images.classify(moved).item() == 0
    assert of_images.slopes(moved)[..., 1].abs().max() == 0
    assert (of_images.slopes(moved)[..., 0].abs() > 0.1).all()


def test_a_value_of_images_is_not_fooled_by_what_they_do_not_show(
    generator: torch.Generator,
) -> None:
    # The second coordinate tells the value as well as the first, and the decoder does not show it.
    value = torch.rand(600, generator=generator) * 2 - 1
    z = value[:, None] + 0.1 * torch.randn(600, 2, generator=generator)
    of_codes = ValueProbe.fit(z, 50 * value, steps=300, generator=seeded())
    of_images = ValueProbe.fit(z, 50 * value, "width", decode=shown, steps=300, generator=seeded())
    assert of_images.explained > 0.9
    moved = torch.tensor([[-0.5, 0.5]])  # looks like -25
    assert of_images.values(moved).item() == pytest.approx(-25, abs=6)
    assert abs(of_codes.values(moved).item()) < 15
    assert of_images.slopes(moved)[..., 1].abs().max() == 0
    assert "reads width from decoded images" in of_images.told()


def test_large_images_are_read_as_small_ones(generator: torch.Generator) -> None:
    z, labels = labelled(100, generator)
    sides = []

    def decode(latents: Tensor) -> Tensor:
        sides.append(96)
        return latents[:, :, None, None].sigmoid().expand(-1, -1, 96, 40)

    probe = ClassProbe.fit(z, labels, decode=decode, steps=3, generator=generator)
    assert sides
    assert probe.values(z).shape == (100, 2)
    assert len(probe.network.mean) == 3


def test_a_decoder_without_a_gradient_is_left_out(generator: torch.Generator) -> None:
    z, labels = labelled(100, generator)
    probe = ClassProbe.fit(
        z, labels, decode=lambda codes: shown(codes.detach()), steps=3, generator=generator
    )
    assert probe.decode is None
    assert probe.slopes(z[:1]).isfinite().all()


def test_a_class_that_can_hardly_be_read_is_said_with_figures(generator: torch.Generator) -> None:
    z, labels = labelled(400, generator)
    blind = ClassProbe.fit(
        z, labels, decode=lambda codes: shown(0 * codes), steps=20, generator=generator
    )
    (sentence,) = blind.warnings
    assert (
        "'class' can hardly be kept: the classifier that reads it from decoded images" in sentence
    )
    assert f"right for {100 * blind.accuracy:.0f} % of held-out ones" in sentence
    assert f"commonest value is {100 * blind.commonest:.0f} %" in sentence


def test_a_class_that_is_often_read_wrong_is_not_kept_reliably(
    probe: ClassProbe, generator: torch.Generator
) -> None:
    assert 0.8 < probe.accuracy < 0.95  # no better by Bayes' rule: the classes overlap
    (sentence,) = probe.warnings
    start = "'class' cannot be kept reliably: the classifier that reads it from codes is right for"
    assert sentence.startswith(f"{start} {100 * probe.accuracy:.0f} % of held-out ones")
    z = torch.randn(400, 3, generator=generator)
    clear = ClassProbe.fit(z, (z[:, 0] > 0).long(), noise=0.0, steps=200, generator=generator)
    assert clear.accuracy >= 0.95
    assert clear.warnings == ()


def test_principal_components_are_the_axes_of_a_gaussian(generator: torch.Generator) -> None:
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    scales = torch.tensor([3.0, 2.0, 1.0, 0.5])
    codes = torch.randn(50_000, 4, generator=generator) * scales @ turn.T
    vectors, spreads = principal_components(codes, 3)
    torch.testing.assert_close((vectors @ turn[:, :3]).abs(), torch.eye(3), atol=0.03, rtol=0)
    torch.testing.assert_close(spreads, scales[:3], atol=0.03, rtol=0)


def test_principal_components_of_many_codes_are_of_some_of_all(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = torch.randn(1_000, 3, generator=generator) * torch.arange(1_000)[:, None]
    monkeypatch.setattr(directions, "MOST", 400)
    some = principal_components(codes, 3)
    monkeypatch.undo()
    for found, wanted in zip(some, principal_components(codes[::3], 3), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("dimension", [6, 80], ids=["all columns", "a block"])
def test_decoder_directions_are_the_right_singular_vectors(
    dimension: int, generator: torch.Generator
) -> None:
    left = torch.linalg.qr(torch.randn(100, dimension, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator)).Q
    lengths = 5 * 0.8 ** torch.arange(dimension)
    decode = _linear(left * lengths @ right.T)
    vectors, values = decoder_directions(decode, torch.zeros(2, dimension), 3, generator=generator)
    torch.testing.assert_close(values, lengths[:3].expand(2, 3), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        (vectors @ right[:, :3]).abs(), torch.eye(3).expand(2, 3, 3), atol=0.01, rtol=0
    )
    assert (vectors.gather(2, vectors.abs().argmax(dim=2, keepdim=True)) > 0).all()


def test_decoder_directions_are_those_of_the_place(generator: torch.Generator) -> None:
    vectors, values = decoder_directions(
        lambda z: z.square(), torch.tensor([[1.0, 3.0], [2.0, 0.5]]), 1, generator=generator
    )
    torch.testing.assert_close(vectors[:, 0], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    torch.testing.assert_close(values[:, 0], torch.tensor([6.0, 4.0]))


def test_orthogonal_attributes_are_not_entangled(generator: torch.Generator) -> None:
    z = torch.randn(100, 3, generator=generator)
    found = entanglement([Direction(a, f"axis {i}") for i, a in enumerate(torch.eye(3))], z)
    torch.testing.assert_close(found.cosines, torch.eye(3))
    torch.testing.assert_close(found.changes, torch.eye(3))
    assert found.names == ("axis 0", "axis 1", "axis 2")


def test_entanglement_is_the_cosine_and_the_change_per_standard_deviation(
    generator: torch.Generator,
) -> None:
    z = torch.randn(200_000, 2, generator=generator) * torch.tensor([1.0, 2.0])
    found = entanglement(
        [Direction(torch.tensor([1.0, 0.0])), Direction(torch.tensor([-1.0, 1.0]))], z
    )
    root = math.sqrt(0.5)
    torch.testing.assert_close(found.cosines, torch.tensor([[1, root], [root, 1]]))
    ratio = 1 / math.sqrt(2.5)  # spread of the first / of the second
    wanted = torch.tensor([[1, -root * ratio], [-root / ratio, 1]])
    torch.testing.assert_close(found.changes, wanted, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda g: Direction(torch.zeros(2)), "other than 0"),
        (
            lambda g: Direction(torch.ones(3)).values(torch.ones(1, 2)),
            "has 3 coordinates and the codes 2",
        ),
        (lambda g: Function(lambda z: z.sum()).values(torch.ones(2, 2)), r"must give \(n,\)"),
        (
            lambda g: Function(lambda z: z.detach().sum(dim=1)).slopes(torch.ones(2, 2)),
            "cannot be differentiated",
        ),
        (
            lambda g: ClassProbe.fit(torch.ones(5, 2), torch.ones(5).long(), generator=g),
            "20 or more labelled codes",
        ),
        (
            lambda g: ClassProbe.fit(torch.ones(50, 2), torch.ones(50).long(), generator=g),
            "50 of 1",
        ),
        (
            lambda g: ValueProbe.fit(torch.ones(50, 2), torch.ones(50), generator=g),
            "1 different labels",
        ),
        (lambda g: principal_components(torch.ones(5, 2), 3), "1 to 2 directions, not 3"),
        (lambda g: decoder_directions(torch.exp, torch.ones(1, 2), 0, generator=g), "not 0"),
    ],
)
def test_bad_input_gets_one_sentence(
    act: Callable[[torch.Generator], object], sentence: str, generator: torch.Generator
) -> None:
    with pytest.raises(UserError, match=sentence):
        act(generator)


def test_log_density_keeps_a_journey_as_likely_as_its_start() -> None:
    lower, upper = LogDensity(StandardNormal(2)).bounds(torch.tensor([[1.0, 0.0]]), 0.5)
    assert lower.item() == pytest.approx(-0.5 - math.log(2 * math.pi) - 0.5)
    assert upper.item() == math.inf


def _linear(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: (z @ matrix.T).unflatten(1, (1, 10, 10))
