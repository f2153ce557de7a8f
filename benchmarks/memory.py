"""Memory of forward + backward: bytes saved for backward, and the peak above the memory in use before.

``python -m benchmarks.memory CASE`` measures one case and prints JSON. Each case runs in its own process with
an allocator that returns freed memory to the system, so that earlier allocations do not hide the peak.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.contest import Sample
from benchmarks.machine import DEVICE
from benchmarks.operations import table
from benchmarks.operations.contenders import contenders, samples_of
from benchmarks.operations.in_pytorch import InPyTorch
from benchmarks.operations.operation import Case, Direction

CASES = [
    table.loss(table.DISCRIMINATOR_LOSS, 2**20, "fp32"),
    table.head(16384, 1024, "fp32"),
    table.bias_leaky_relu((8192, 1024), "fp32"),
    table.with_two_numbers(table.SNAKE, (4, 192, 4096), "fp32"),
    table.with_two_numbers(table.ANTI_ALIASED_SNAKE, (4, 192, 4096), "fp32"),
    table.resampling(table.UPSAMPLE2D, (8, 64, 64, 64), "fp32"),
    table.resampling(table.DOWNSAMPLE2D, (8, 64, 64, 64), "fp32"),
    table.linear_leaky_relu(1024, 1024, 1024, "fp32"),
    table.mlp(1024, (784, 1024, 1024, 1), "fp32"),
    table.loss(table.DISCRIMINATOR_LOSS, 2**24, "fp32"),
]
REPEATS = 5  # odd, so that the median is a measured value
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Makes glibc's malloc map blocks above this size and unmap them when they are freed.
_RETURN_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 16)}


def why_not() -> str | None:
    """Why memory cannot be measured here; None if it can."""
    known = DEVICE == "cuda" or _CLEAR.exists()
    return None if known else "reading resident memory needs /proc, which only Linux has"


def measure_alone(case: Case) -> dict[str, Any]:
    """Runs :func:`measure` in a separate process."""
    return found_alone("benchmarks.memory", str(CASES.index(case)))


def found_alone(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON that a module prints when it runs in a separate process."""
    command = [sys.executable, "-m", module, *arguments]
    environment = os.environ | _RETURN_FREED_MEMORY | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(case: Case) -> dict[str, Any]:
    """Bytes of each contender, of the inputs, and fastgan's seconds."""
    found: dict[str, dict[str, int]] = {}
    made = contenders(case, DEVICE)
    samples = samples_of(made, Direction.BOTH)
    for name, sample in samples.items():
        contender = made[name]
        if isinstance(contender, InPyTorch):
            found[name] = {"saved": saved_bytes(contender), "peak": peak_of(sample)}
        elif DEVICE == "cpu":  # on a GPU torch counts only its own memory
            found[name] = {"peak": peak_of(sample)}
    inputs = sum(t.numel() * t.itemsize for t in case.inputs("cpu"))
    seconds = [samples["fastgan"](1) for _ in range(REPEATS)]
    return {"memory": found, "inputs": inputs, "seconds": seconds}


def saved_bytes(contender: InPyTorch) -> int:
    """The bytes that the graph keeps for backward, without the inputs. Counts each storage once."""
    given = {t.untyped_storage().data_ptr() for t in contender.inputs}
    saved: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in given:
            saved[storage.data_ptr()] = storage.nbytes()
        return t

    with contender.context(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = contender.forward(*contender.inputs)
    total = sum(saved.values())
    del output
    return total


def peak_of(sample: Sample) -> int:
    """The largest memory in use during a call, above that before it."""
    return _peak_on_gpu(sample) if DEVICE == "cuda" else _resident_peak(sample)


def _resident_peak(sample: Sample) -> int:
    """The peak of the whole process, which includes scratch memory outside torch's allocator."""
    found = []
    for _ in range(REPEATS):
        sample(1)
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        _CLEAR.write_text("5")  # resets the high-water mark
        before = _status("VmRSS")
        sample(1)
        found.append(_status("VmHWM") - before)
    return int(statistics.median(found))


def _status(key: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _peak_on_gpu(sample: Sample) -> int:
    sample(1)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    sample(1)
    return torch.cuda.max_memory_allocated() - before


if __name__ == "__main__":
    print(json.dumps(measure(CASES[int(sys.argv[1])])))
