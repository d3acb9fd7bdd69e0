"""Writes a benchmark's result beside it: numbers with machine, versions, seed and command."""

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

import latent_atlas


def record(name: str, results: dict[str, Any], *, after: str = "", **settings: Any) -> Path:
    """Write benchmarks/results/NAME.json and print it; `after` is the command of results that these add to."""
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    )
    command = shlex.join(["python", *sys.argv])
    content = {
        "command": f"{after}; {command}" if after else command,
        "settings": settings,
        "machine": {
            "device": device,
            "platform": platform.machine(),
            "python": platform.python_version(),
        },
        "versions": {"latent_atlas": latent_atlas.__version__, "torch": torch.__version__},
        "results": results,
    }
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    return path
