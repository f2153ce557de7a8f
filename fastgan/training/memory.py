"""The peak memory of a run, kept in its folder."""

from __future__ import annotations

import json
import re
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fastgan.files import write_text
from fastgan.training.config_file import RunError

MEMORY = "memory.json"
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Peak:
    """The most memory that the process which records a run ever took, in bytes.

    Attributes:
        process: memory of the whole process on the host.
        gpu: memory of its tensors on the run's GPU; None for a run on a CPU.
    """

    process: int
    gpu: int | None = None

    @classmethod
    def so_far(cls, device: torch.device) -> Peak:
        """The peak of this process until now."""
        is_gpu = device.type == "cuda"
        return cls(_of_this_process(), torch.cuda.max_memory_allocated(device) if is_gpu else None)

    def or_higher(self, other: Peak) -> Peak:
        """The larger of each value."""
        of_gpus = [peak.gpu for peak in (self, other) if peak.gpu is not None]
        return Peak(max(self.process, other.process), max(of_gpus, default=None))


def read_peak(folder: Path) -> Peak | None:
    """The peak of a run's processes so far; None if none is recorded.

    Raises:
        RunError: if the file is damaged.
    """
    path = folder / MEMORY
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        gpu = found["gpu"]
        return Peak(int(found["process"]), None if gpu is None else int(gpu))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: damaged ({type(error).__name__}: {error}); remove it") from error


def write_peak(folder: Path, peak: Peak) -> None:
    """Record a run's peak.

    Raises:
        WriteError: if it cannot be written.
    """
    write_text(folder / MEMORY, json.dumps(asdict(peak)) + "\n")


def _of_this_process() -> int:
    # on Linux getrusage has the peak of the parent, if that was higher
    status = _STATUS.read_text(encoding="utf-8") if _STATUS.exists() else ""
    if found := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
        return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # other systems have kilobytes
