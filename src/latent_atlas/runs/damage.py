"""What to do where a file of a run is damaged."""

from pathlib import Path

__all__ = ["ADVICE", "damaged"]

ADVICE = {
    "config.json": "restore it from a copy, or train into another --out",
    "manifest.json": "remove it, and `latent-atlas train --resume` writes it anew",
    "log.jsonl": "remove it, and the report does without training curves",
    "rejects.jsonl": "remove it; it only lists the files that could not be read",
    "metrics.json": "remove it, and `latent-atlas report` writes it anew",
    "state.safetensors": "a finished run does without it; another can only be trained again",
    "examples.safetensors": "remove it and map.safetensors, and `latent-atlas train --resume` "
    "writes them anew",
    **dict.fromkeys(
        ("model.safetensors", "codes.safetensors"),
        "remove it and map.safetensors, and `latent-atlas train --resume` makes them again from "
        "state.safetensors, or `latent-atlas fit` from a file of codes",
    ),
    "attributes.safetensors": "remove it, and `latent-atlas train SOURCE --resume` writes it anew",
    "map.safetensors": "remove it, and `latent-atlas train --resume` makes it again from "
    "state.safetensors, or `latent-atlas fit` from a file of codes",
}


def damaged(path: Path, reason: str) -> str:
    """The sentence for a file that is not what it must be, with what to do."""
    advice = ADVICE.get(path.name, "restore it or make it again")
    return f"{path} is damaged or of another version ({reason}); {advice}"
