"""Attributes by name: learned once, the same each time, and refused in one sentence."""

from functools import partial

import pytest
import torch
from torch import Tensor

from latent_atlas.attributes.registry import AttributeSet
from latent_atlas.errors import UserError
from latent_atlas.travel import ClassProbe, Direction, Function


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
