"""The model card of a published run: README.md with the front matter that the hub reads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from latent_atlas.codes.huggingface import PREFIX
from latent_atlas.config.run import Config

__all__ = ["model_card"]

CAPTIONS = {
    "map.png": "The density on a plane through three codes.",
    "travel.png": "Paths between two images by several planners.",
    "samples.png": "New images of codes that were sampled from the map.",
}
LOADING = """\
```python
from latent_atlas import Atlas          # pip install 'latent-atlas[huggingface]'

atlas = Atlas.load("hf:OWNER/NAME")     # this repository; @REVISION after it fixes a commit
a, b = atlas.codes["held_out"].means[:2]
path = atlas.travel(a, b)               # a path that stays where the data are dense
new = atlas.sample_codes(16)            # new codes, with diagnostics
```"""


def model_card(
    hub: Any,
    config: Config,
    manifest: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    pictures: Sequence[str],
    licence: str | None,
) -> str:
    """The text of the card.

    Arguments:
        hub: The package huggingface_hub, which writes the front matter.
        config: Of the run.
        manifest: The content of manifest.json.
        results: The contents of metrics.json and evaluation.json by name, which may be empty.
        pictures: Names of the pictures beside the card.
        licence: By its name on the hub; or None.
    """
    source, decodes = config.data.source, "image_size" in manifest
    front = hub.ModelCardData(
        license=licence,
        library_name="latent-atlas",
        tags=["latent-atlas", "latent-space", "density-estimation"],
        pipeline_tag="unconditional-image-generation" if decodes else None,
        datasets=[source.removeprefix(PREFIX)] if source.startswith(PREFIX) else None,
    )
    what = "A variational autoencoder" if decodes else "Latent codes"
    lines = [
        f"---\n{front.to_yaml()}\n---",
        "# A latent atlas",
        f"{what} with a map of the density of its codes, made by Latent Atlas.",
        "## How to load it",
        LOADING,
        "## Data",
        "\n".join(_rows([("quantity", "value"), *_sizes(config, manifest)])),
        "## Measurements",
        *_measurements(results),
    ]
    if pictures:
        lines.append("## Pictures")
        lines += [f"![{CAPTIONS[name]}]({name})\n\n{CAPTIONS[name]}" for name in pictures]
    said = licence or "none was given; ask the owner before you use it"
    lines += ["## Licence", f"{said[:1].upper()}{said[1:]}."]
    return "\n\n".join(lines) + "\n"


def _sizes(config: Config, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "source", config.data.source or "not public"
    for name, words in (("n_train", "training images"), ("n_held_out", "held-out images")):
        if name in manifest:
            yield words, f"{manifest[name]:,}"
    if "image_size" in manifest:
        side = config.model.image_size
        yield "images", f"{side} x {side} pixels, channels: {config.model.channels}"
        yield "dimension of the codes", f"{config.model.latent_dim}"
    if manifest.get("label_names"):
        yield "classes", ", ".join(manifest["label_names"]).replace("|", "\\|")
    yield "boundary", config.map.boundary


def _measurements(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Tables of what was measured; errors are standard errors."""
    report, evaluation = (results.get(name, {}) for name in ("metrics.json", "evaluation.json"))
    density, images = report.get("map", {}), report.get("reconstruction", {})
    rows = [
        (words, _number(density.get(name), density.get(f"{name}_error")))
        for name, words in (
            ("kl", "KL(q ‖ boundary) in nats"),
            ("normalising_constant", "normalising constant, ideally 1"),
        )
        if name in density
    ]
    if "mse" in images:
        rows.append(("mean squared error of held-out images", _number(images["mse"])))
    sections = evaluation.get("sections", {})
    if not rows and not sections:
        yield "None: `latent-atlas report` and `latent-atlas evaluate` measure a run."
    if rows:
        yield "\n".join(_rows([("quantity", "value ± standard error"), *rows]))
    for section in sections.values():
        yield f"### {section['question']}"
        yield f"{section['meaning']} ({section['sample']})"
        columns = list(dict.fromkeys(name for row in section["rows"].values() for name in row))
        yield "\n".join(
            _rows(
                [
                    ("", *columns),
                    *(
                        (label, *(_number(**row[n]) if n in row else "–" for n in columns))
                        for label, row in section["rows"].items()
                    ),
                ]
            )
        )


def _number(value: float | None, error: float | None = None) -> str:
    """A value with its standard error, where there is one.

    Examples:
        >>> _number(1.23456, 0.0456), _number(3.0), _number(None)
        ('1.23 ± 0.046', '3', '–')
    """
    if value is None:
        return "–"
    return f"{value:.3g} ± {error:.2g}" if error else f"{value:.3g}"


def _rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown, the first row above the rule."""
    for number, row in enumerate(rows):
        yield f"| {' | '.join(row)} |"
        if number == 0:
            yield "|" + "---|" * len(row)
