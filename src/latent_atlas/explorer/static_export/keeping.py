"""What journeys of the page can keep: principal components, and the classes by the library's probe."""

from pathlib import Path

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.errors import UserError
from latent_atlas.runs import write_tensors

__all__ = ["probe_of", "save_probe"]


def probe_of(atlas: Atlas) -> ClassProbe | str | None:
    """The probe of the atlas's classes; None where it has none, or, in a sentence, why they cannot be told."""
    if "class" not in atlas.properties.names:
        return None
    try:
        probe = atlas.properties["class"]
    except UserError as reason:
        return str(reason)
    assert isinstance(probe, ClassProbe)
    return probe


def save_probe(probe: ClassProbe, path: Path) -> None:
    """Write mean and scale (d,), and weight0 (out, in), bias0 (out,), weight1, ... of its network."""
    network = probe.network
    arrays = {"mean": network.mean, "scale": network.scale}
    for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        arrays |= {f"weight{number}": weight, f"bias{number}": bias}
    write_tensors(path, {name: array.float() for name, array in arrays.items()})
