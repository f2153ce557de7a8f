"""What must hold for the code of every kernel: docs/kernels.md is written only if it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# A compiled kernel, as benchmarks.kernels.__main__.compile_all prints it
Row = dict[str, Any]

MATRIX = {"sm_80": "HMMA", "sm_90": "HGMMA", "sm_100": "UTCHMMA", "gfx942": "v_mfma"}
_HALVES = ("bfloat16", "float16")


def _matrix_unit(target: str, tile: str) -> str:
    rows = int(tile.partition(" x ")[0])
    # the wide units of NVIDIA's newer GPUs multiply 64 rows at a time
    return "HMMA" if rows < 64 and target != "gfx942" else MATRIX[target]


CHECKS: dict[str, Callable[[str, Row], bool]] = {
    "spills no registers": lambda _, k: not k["spills"],
    # all are compiled with sizes that are multiples of 16, and may not rely on it
    "specializes no number": lambda _, k: not k["specialized"],
    # Triton's interpreter truncates float32 to bfloat16, so no interpreted test sees how a kernel rounds
    "rounds halves to nearest": lambda _, k: k["dtype"] not in _HALVES or k["to_nearest"],
    "reads memory 16 bytes at a time": lambda _, k: not k["streams"] or k["wide_loads"] > 0,
    "multiplies halves on the matrix units": lambda target, k: (
        not k["multiplies"] or k["dtype"] not in _HALVES or k["matrix"] == _matrix_unit(target, k["tile"])
    ),
}


def failures(found: Mapping[str, list[Row]], check: str) -> list[str]:
    """The kernels, of every target, for which the check does not hold."""
    return [
        f"{target}, {k['case']}, {k['dtype']}, {k['tile']}"
        for target, kernels in found.items()
        for k in kernels
        if not CHECKS[check](target, k)
    ]
