"""What every kind of source offers: named items that are read when their turn comes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from latent_atlas.data.unpack import Content
from latent_atlas.errors import UserError

__all__ = ["Item", "Source", "label_by_folder", "refuse_bomb"]

_BOMB_BYTES = 2**30
_BOMB_RATIO = 200


@dataclass(frozen=True)
class Item:
    """One image that can be read.

    Arguments:
        name: Relative path, archive member or `row:17`.
        read: Returns the content; whatever it raises makes the item a reject.
        label: Class number, -1 where it is not known.
        held_out: True and False where the source itself says so, None where the content is to decide.
        place: Where in the source it lies: items are read in this order.
    """

    name: str
    read: Callable[[], Content]
    label: int = -1
    held_out: bool | None = None
    place: int = 0


@dataclass(frozen=True)
class Source:
    """The items of one source, in the order that the set will have.

    Arguments:
        items: All that are meant to be images.
        label_names: Names of the classes; empty for a source without labels.
        attributes: Known properties, one number per item each.
        attribute_names: Names of the categories that an attribute counts, where it counts any.
        in_turn: Items must be read one at a time, by ascending place.
        close: Gives back open files.
    """

    items: tuple[Item, ...]
    label_names: tuple[str, ...] = ()
    attributes: Mapping[str, Tensor] | None = None
    attribute_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_turn: bool = False
    close: Callable[[], object] = lambda: None


def label_by_folder(items: list[Item]) -> Source:
    """Sort by name, and label each item by the first folder in its name.

    Arguments:
        items: With slashes in their names; without labels.

    Examples:
        >>> found = [Item(name, bytes) for name in ("cats/2.png", "cats/1.png", "dogs/1.png", "odd.png")]
        >>> [(item.name, item.label) for item in label_by_folder(found).items]
        [('cats/1.png', 0), ('cats/2.png', 0), ('dogs/1.png', 1), ('odd.png', -1)]
    """
    names = tuple(sorted({item.name.split("/")[0] for item in items if "/" in item.name}))
    number = {name: i for i, name in enumerate(names)}
    labelled = (
        replace(item, label=number.get(item.name.split("/")[0], -1) if "/" in item.name else -1)
        for item in sorted(items, key=lambda item: item.name)
    )
    return Source(tuple(labelled), names)


def refuse_bomb(path: object, packed: int, unpacked: int) -> None:
    """Refuse an archive that unpacks to far more than its own size.

    Arguments:
        path: The archive, for the message.
        packed: Its size in bytes.
        unpacked: What its members say they hold in all, in bytes.

    Raises:
        UserError: more than 1 GiB and more than 200 times the archive's size.
    """
    if unpacked > max(_BOMB_BYTES, _BOMB_RATIO * packed):
        raise UserError(
            f"'{path}' of {packed:,} bytes says that it unpacks to {unpacked:,}, over {_BOMB_RATIO} times as many; "
            "unpack it and give the folder, if you trust it"
        )
