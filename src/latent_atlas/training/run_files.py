"""What training leaves in the run folder beside the networks: example images, and all codes."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from latent_atlas.codes.posterior import Codes
from latent_atlas.data.imageset import ImageSet
from latent_atlas.errors import UserError
from latent_atlas.runs import Run, write_tensors
from latent_atlas.shapes import Labels

__all__ = ["check_images", "write_codes", "write_examples"]

MOST_WORDS = 50  # words of an attribute that is kept: of more, such as families, few are seen twice

EXAMPLES = 256  # held-out images at most: they show the run where its source is not at hand
EXAMPLE_BYTES = 16 * 2**20


def check_images(images: ImageSet, run: Run) -> None:
    """Record which images the run is made from, and what is known of each, its attributes.

    Raises:
        UserError: the run began with other images.
    """
    manifest = images.manifest()
    before = run.read_json("manifest.json")
    if before is not None and before.get("digest") != manifest["digest"]:
        raise UserError(
            f"the images are not those the run began with ({before.get('n')} then, "
            f"{manifest['n']} now); give `train SOURCE --out RUN --resume` the place where those "
            "are, or train into another --out"
        )
    source = Path(run.config().data.source)
    where = {"path": str(source.absolute())} if source.exists() else {}
    # What a finished run has found stays; a run that goes on finds it anew.
    kept = before if before and run.file("map.safetensors").is_file() else {}
    known = {"attributes": _attributes(images, run)}
    run.write_json("manifest.json", kept | manifest | where | known)


def _attributes(images: ImageSet, run: Run) -> dict[str, list[str]]:
    """Write attributes.safetensors; the words of each attribute, none for numbers."""
    words = {name: list(images.attribute_names.get(name, ())) for name in images.attributes or {}}
    words = {name: some for name, some in words.items() if len(some) <= MOST_WORDS}
    parts = {"train": images.train, "held_out": images.test} if words else {}
    tensors = {
        f"{part}.{name}": some.attributes[name] if words[name] else some.attributes[name].float()
        for part, some in parts.items()
        if some.attributes is not None
        for name in words
    }
    if tensors:
        write_tensors(run.file("attributes.safetensors"), tensors)
    return words


def write_examples(held_out: ImageSet, run: Run) -> None:
    """Write some held-out images and their labels before training, to show its progress on."""
    count = min(EXAMPLES, max(16, EXAMPLE_BYTES // held_out.images[0].numel()))
    labels = {} if held_out.labels is None else {"labels": held_out.labels[:count]}
    write_tensors(run.file("examples.safetensors"), {"images": held_out.images[:count], **labels})


def write_codes(
    parts: Mapping[str, tuple[Codes, Labels | None]],
    run: Run,
    errors: Tensor | None = None,
    rows: Mapping[str, Tensor] | None = None,
) -> None:
    """Write codes.safetensors.

    Arguments:
        parts: Codes and labels of `train` and `held_out`.
        run: The run.
        errors: Of each held-out image, shape (m, 3), by `codes.codec.reconstruction_errors`; None
            where there are no images.
        rows: Numbers of the images by part, where the run keeps thumbnails of a collection.
    """
    tensors = {f"{part}.rows": numbers for part, numbers in (rows or {}).items()}
    for part, (codes, labels) in parts.items():
        tensors[f"{part}.means"] = codes.means
        if codes.log_variances is not None:
            tensors[f"{part}.log_variances"] = codes.log_variances
        if labels is not None:
            tensors[f"{part}.labels"] = labels
    if errors is not None:
        tensors["held_out.reconstruction_errors"] = errors
    write_tensors(run.file("codes.safetensors"), tensors)
