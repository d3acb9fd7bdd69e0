"""What every kind of source is: a list of named items that are read later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from latent_atlas.data.decode import Content
from latent_atlas.data.layout import understand
from latent_atlas.data.tables import read_tables
from latent_atlas.errors import UserError, printable

__all__ = ["Item", "Source", "arranged", "refuse_bomb"]

_BOMB_BYTES = 2**30
_BOMB_RATIO = 200


@dataclass(frozen=True)
class Item:
    """One image that can be read.

    Arguments:
        name: Relative path, archive member or `row:17`.
        read: Returns the content; any exception makes the item a reject.
        label: Class number, -1 where it is not known.
        held_out: Whether the source holds the image out; None lets the content decide.
        place: Its position in the source: items are read in this order.
    """

    name: str
    read: Callable[[], Content]
    label: int = -1
    held_out: bool | None = None
    place: int = 0

    def __post_init__(self) -> None:
        """Make the name printable: it is drawn, written and sent. `read` knows the file itself."""
        object.__setattr__(self, "name", printable(self.name))


def nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True)
class Source:
    """The items of one source, in the order of the images to come.

    Arguments:
        items: Everything that is meant to be an image.
        label_names: Names of the classes; empty for a source without labels.
        attributes: Known properties by name, one number per item each.
        attribute_names: Names of the categories of an attribute whose numbers are categories.
        notes: What was understood of the source, to tell the user.
        in_turn: Items must be read one at a time, by ascending place.
        portable: The items can be sent to another process, which reads them there.
        close: Closes the open files.
    """

    items: tuple[Item, ...]
    label_names: tuple[str, ...] = ()
    attributes: Mapping[str, Tensor] | None = None
    attribute_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    in_turn: bool = False
    portable: bool = False
    close: Callable[[], object] = nothing


def arranged(items: list[Item], tables: Mapping[str, bytes]) -> Source:
    """Sort files by name, and take classes and parts from tables, else from their folders.

    Arguments:
        items: With slashes in their names; without labels.
        tables: The contents of tables that lie beside them, by their names.

    Examples:
        >>> names = ("cats/2.png", "cats/1.png", "dogs/1.png", "odd.png")
        >>> found = [Item(name, bytes) for name in names]
        >>> [(item.name, item.label) for item in arranged(found, {}).items]
        [('cats/1.png', 0), ('cats/2.png', 0), ('dogs/1.png', 1), ('odd.png', -1)]
    """
    items = sorted(items, key=lambda item: item.name)
    names = [item.name for item in items]
    layout, table = understand(names), read_tables(tables, names)
    classes = table.classes or layout.classes
    held_out = table.held_out or layout.held_out or (None,) * len(items)
    label_names = tuple(sorted({name for name in classes if name}))
    number = {name: i for i, name in enumerate(label_names)}
    labelled = (
        replace(item, label=number.get(name, -1), held_out=held)
        for item, name, held in zip(items, classes, held_out, strict=True)
    )
    return Source(
        tuple(labelled),
        label_names,
        table.attributes or None,
        table.attribute_names,
        layout.notes + table.notes,
    )


def refuse_bomb(path: object, packed: int, unpacked: int) -> None:
    """Refuse an archive that unpacks to far more than its own size.

    Arguments:
        path: The archive, for the message.
        packed: Its size in bytes.
        unpacked: The total size of its members, as the archive states it, in bytes.

    Raises:
        UserError: more than 1 GiB and more than 200 times the archive's size.
    """
    if unpacked > max(_BOMB_BYTES, _BOMB_RATIO * packed):
        raise UserError(
            f"'{path}' has {packed:,} bytes and says that it unpacks to {unpacked:,}, over "
            f"{_BOMB_RATIO} times as many; if you trust it, unpack it and give the folder"
        )
