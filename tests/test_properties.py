"""Attributes by name: learned once, the same each time, and refused in one sentence."""

from functools import partial

import pytest
import torch
from torch import Tensor

from latent_atlas.attributes.registry import AttributeSet
from latent_atlas.errors import UserError
from latent_atlas.travel import ClassProbe, Direction, Function, ValueProbe


@pytest.fixture(scope="module")
def codes() -> tuple[Tensor, Tensor]:
    """Three classes side by side along the first axis, and the most variance along the second."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    latents = torch.randn(300, 3, generator=generator) * torch.tensor([0.2, 3.0, 0.1])
    latents[:, 0] += 2.0 * labels
    return latents, labels


def test_components_are_directions_by_falling_variance(codes: tuple[Tensor, Tensor]) -> None:
    properties = AttributeSet(codes[0])
    largest, smallest = properties["component:0"], properties["component:2"]
    assert isinstance(largest, Direction)
    assert isinstance(smallest, Direction)
    assert largest.vector.abs().argmax() == 1
    assert smallest.vector.abs().argmax() == 2
    assert properties.names == ("component:0", "component:1", "component:2")


def test_a_class_by_its_name_is_its_own_log_odds(
    codes: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClassProbe, "fit", partial(ClassProbe.fit, steps=100))
    properties = AttributeSet(*codes, ("left", "middle", "right"))
    probe, middle = properties["class"], properties["middle"]
    assert isinstance(probe, ClassProbe)
    assert probe.accuracy > 0.9
    assert probe.names == ("left", "middle", "right")
    torch.testing.assert_close(middle.values(codes[0])[:, 0], probe.values(codes[0])[:, 1])
    assert properties["class"] is probe
    again = AttributeSet(*codes, ("left", "middle", "right"))["class"]
    assert torch.equal(again.values(codes[0]), probe.values(codes[0]))
    assert AttributeSet(*codes).names[3:] == ("class", "0", "1", "2")


def test_other_labels_of_the_same_codes_make_an_attribute(codes: tuple[Tensor, Tensor]) -> None:
    other = (codes[0][:, 1] > 0).long()
    learned = AttributeSet(*codes).learn(other.tolist(), ("low", "high"), "height")
    assert learned.name == "height"
    assert learned.names == ("low", "high")
    assert (learned.classify(codes[0]) == other).float().mean() > 0.85


def test_a_class_is_read_from_decoded_images(
    codes: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClassProbe, "fit", partial(ClassProbe.fit, steps=5))

    def decode(z: Tensor) -> Tensor:
        return z[:, :1, None, None].sigmoid().expand(-1, -1, 8, 8)

    properties = AttributeSet(*codes, ("left", "middle", "right"), decode=decode)
    kept = properties["class"]
    assert isinstance(kept, ClassProbe)
    assert kept.decode is decode
    assert kept.slopes(codes[0][:2])[..., 1:].abs().max() == 0  # those are not shown
    assert properties["middle"].warnings == kept.warnings != ()  # after so few steps


def test_attributes_are_chosen_by_name_or_as_themselves(codes: tuple[Tensor, Tensor]) -> None:
    properties, radius = AttributeSet(codes[0]), Function(lambda z: z.norm(dim=1), "radius")
    assert properties.chosen(()) == ()
    assert properties.chosen(radius) == (radius,)
    assert properties.chosen("component:1") == (properties["component:1"],)
    assert properties.chosen([radius, "component:0"]) == (radius, properties["component:0"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wings", "no attribute 'wings'; choose class, 0, 1, 2, or component:0 to component:2"),
        ("component:3", "no attribute 'component:3'"),
        ("component:x", "no attribute 'component:x'"),
    ],
)
def test_an_unknown_name_gets_one_sentence(
    name: str, sentence: str, codes: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(UserError, match=sentence):
        AttributeSet(*codes)[name]


def test_codes_without_labels_have_no_class(codes: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UserError, match="no attribute 'class'; choose component:0 to component:2"):
        AttributeSet(codes[0])["class"]


@pytest.fixture(scope="module")
def known(codes: tuple[Tensor, Tensor]) -> AttributeSet:
    """Codes of images with a known size, 10 + 4 z_1, a style, and a number that nothing tells."""
    latents, labels = codes
    noise = torch.randn(len(labels), generator=torch.Generator().manual_seed(1))
    attributes = {
        "size": (10 + 4 * latents[:, 1], ()),
        "style": ((latents[:, 1] > 0).long(), ("thin", "thick")),
        "noise": (noise, ()),
        "class": (labels, ("a", "b", "c")),
    }
    return AttributeSet(latents, labels, ("left", "middle", "right"), known=attributes)


def test_known_attributes_have_names_and_kinds(known: AttributeSet) -> None:
    assert known.names[3:] == (
        *("class", "style", "left", "middle", "right", "style=thin", "style=thick"),
        *("size", "noise"),
    )
    assert known.classes == ("left", "middle", "right")  # the labels go before an attribute "class"
    kinds = ("component:0", "class", "style", "left", "style=thick", "size")
    expected = ["component", "classes", "classes", "class", "class", "value"]
    assert [known.kind(name) for name in kinds] == expected
    assert known.range("style") is None


def test_a_known_number_is_learned_in_its_own_unit(
    known: AttributeSet, codes: tuple[Tensor, Tensor]
) -> None:
    size = known["size"]
    assert isinstance(size, ValueProbe)
    assert size.explained > 0.98
    assert size.warnings == ()
    assert "reads size from codes explains" in size.told()
    wanted = 10 + 4 * codes[0][:, 1:2]
    assert (size.values(codes[0]) - wanted).abs().mean() < 1.0  # of a standard deviation of 12
    assert size.tolerance == pytest.approx(0.1 * wanted.std().item(), rel=0.01)
    low, high = size.bounds(codes[0][:1], 5.0)
    torch.testing.assert_close(high - low, torch.full((1, 1), 10.0))
    assert known.range("size") == pytest.approx((wanted.min().item(), wanted.max().item()))


def test_a_number_that_codes_do_not_tell_is_refused(known: AttributeSet) -> None:
    with pytest.raises(UserError, match="'noise' cannot be read: the network that reads noise"):
        known["noise"]


def test_a_word_is_kept_by_codes_that_have_it_alone(
    known: AttributeSet, codes: tuple[Tensor, Tensor]
) -> None:
    thick, style = known["style=thick"], known["style"]
    torch.testing.assert_close(thick.values(codes[0]), style.values(codes[0])[:, 1:])
    order = codes[0][:, 1].argsort()
    lacks, has = codes[0][order[:1]], codes[0][order[-1:]]
    lower, upper = thick.bounds(has, 0.1)
    assert lower.isfinite().all()
    assert upper.isinf().all()
    with pytest.raises(
        UserError, match="'style=thick' cannot be kept: the start is read as 'thin'"
    ):
        thick.bounds(lacks, 0.1)


def test_draws_are_weighed_by_known_attributes(
    known: AttributeSet, codes: tuple[Tensor, Tensor]
) -> None:
    latents, size = codes[0], 10 + 4 * codes[0][:, 1]
    inside = known.log_weight({"size": (0.0, 20.0)})(latents) == 0
    assert (inside == ((size >= 0) & (size <= 20))).float().mean() > 0.95
    thin = known.log_weight({"style": "thin"})(latents)
    assert (thin[size < 5] > thin[size > 15].max()).float().mean() > 0.95
    with pytest.raises(UserError, match="no style 'wide'; choose thin, thick"):
        known.log_weight({"style": "wide"})
    with pytest.raises(UserError, match="'size' cannot be large; give a range"):
        known.log_weight({"size": "large"})


def test_an_older_run_says_how_to_get_its_attributes(codes: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(
        UserError, match=r"component:2; the run is older than attributes .* --resume"
    ):
        AttributeSet(codes[0], known=None)["size"]
    with pytest.raises(UserError, match=r"component:2$"):
        AttributeSet(codes[0])["size"]
