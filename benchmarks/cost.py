"""What work costs this process: time and memory."""

import contextlib
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["Cost", "Meter"]


@dataclass(frozen=True)
class Cost:
    """From a meter's start to its reading.

    Attributes:
        seconds: By the clock.
        core_seconds: Of all cores together; other work on the machine does not lengthen them much.
        peak_mib: The most memory held, with what was held before, in MiB.
        gpu_peak_mib: The same of the GPU's; 0 without one.
    """

    seconds: float
    core_seconds: float
    peak_mib: float
    gpu_peak_mib: float


class Meter:
    """Begins to count when it is made."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text(
                "5"
            )  # the peak so far is forgotten, where the kernel can
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._start, self._core_start = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
        seconds, core_seconds = (
            time.perf_counter() - self._start,
            time.process_time() - self._core_start,
        )
        return Cost(seconds, core_seconds, _peak_memory(), gpu)


def _peak_memory() -> float:
    """In MiB, where possible as the kernel keeps it with the program.

    What `getrusage` says begins with the size of the process that started this one, which may be the larger.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (line := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(line[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
