"""The tile of a matrix product: candidates for each GPU family and shape class, and the choice among them.

The first candidate is the fixed choice: used with ``FASTGAN_AUTOTUNE=0`` and during graph capture. Otherwise
the first product of a class times all candidates, once per process, in a second or two. If a tile needs more
resources than the GPU has, the next one is used. The choice does not change results: all candidates of a
class sum in the same order. So they share the depth, and with column sums all but the number of stages.

Classes and candidates are guesses from the GPUs' matrix units and shared memory, not measured yet. All tiles
compile without spills (docs/kernels.md). ``pytest benchmarks/bench_choices.py`` times all candidates.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from triton.runtime import driver
from triton.runtime.errors import OutOfResources

from fastgan.kernels.triton.launch import INTERPRETING


class Kind(Enum):
    FORWARD = "forward"
    DGRAD = "dgrad"
    DGRAD_WITH_SUMS = "dgrad with column sums"
    WGRAD = "wgrad"


class Config(NamedTuple):
    """Rows and columns of a tile, depth of a step, and compiler options."""

    rows: int
    columns: int
    depth: int
    num_warps: int
    num_stages: int

    def shared_memory(self, itemsize: int) -> int:
        return self.num_stages * (self.rows + self.columns) * self.depth * itemsize


class Shape(Enum):
    FLAT = "fewer than 32 rows"
    SMALL = "fewer than 64 tiles of 128 x 128"
    LARGE = "64 tiles or more"


def shape_class(rows: int, columns: int) -> Shape:
    if rows < 32:
        return Shape.FLAT
    return Shape.SMALL if rows * columns < 64 * 128 * 128 else Shape.LARGE


# (rows, columns, depth, warps, stages) for half types and TF32. TF32 uses half the depth, so the same bytes.
_TENSOR_CORES = {
    "ampere": {
        Shape.FLAT: [(16, 64, 64, 4, 4), (16, 128, 64, 4, 3)],
        Shape.SMALL: [(64, 64, 64, 4, 3), (64, 32, 64, 4, 4), (32, 64, 64, 4, 4), (64, 128, 64, 4, 3)],
        Shape.LARGE: [(128, 128, 64, 8, 3), (128, 64, 64, 4, 3), (64, 128, 64, 4, 3)],
    },
    "hopper": {
        Shape.FLAT: [(16, 64, 64, 4, 4), (16, 128, 64, 4, 4)],
        Shape.SMALL: [(64, 64, 64, 4, 4), (64, 32, 64, 4, 5), (64, 128, 64, 4, 4), (128, 64, 64, 4, 4)],
        Shape.LARGE: [
            (128, 128, 64, 8, 4),
            (128, 256, 64, 8, 3),
            (128, 128, 64, 4, 4),
            (64, 256, 64, 4, 4),
            (128, 64, 64, 4, 4),
        ],
    },
    "blackwell": {
        Shape.FLAT: [(16, 64, 64, 4, 4), (16, 128, 64, 4, 4)],
        Shape.SMALL: [(64, 64, 64, 4, 4), (64, 128, 64, 4, 4), (128, 64, 64, 4, 4)],
        Shape.LARGE: [(128, 128, 64, 8, 4), (128, 256, 64, 8, 3), (128, 128, 64, 4, 4), (128, 64, 64, 4, 4)],
    },
    "cdna": {
        Shape.FLAT: [(16, 64, 64, 4, 2), (16, 128, 64, 4, 2)],
        Shape.SMALL: [(64, 64, 64, 4, 2), (64, 32, 64, 4, 2), (32, 64, 64, 4, 2)],
        Shape.LARGE: [(128, 128, 64, 8, 2), (128, 128, 64, 4, 2), (128, 64, 64, 4, 2)],
    },
}
# (rows, columns, warps) of tiles that spill registers with float32 operands.
_SPILL_IN_TF32 = {
    "hopper": {(128, 256, 8), (128, 128, 4), (64, 256, 4)},
    "blackwell": {(128, 256, 8), (128, 128, 4)},
}
# Exact float32 uses no matrix units, so all operands pass through registers: small tiles.
_EXACT = {
    Shape.FLAT: [(16, 32, 32, 4, 3)],
    Shape.SMALL: [(32, 32, 32, 4, 2), (32, 64, 32, 4, 2)],  # three stages spill on sm_90
    Shape.LARGE: [(64, 64, 32, 4, 3), (64, 64, 32, 8, 3)],
}


def candidates(
    family: str, shape: Shape, kind: Kind, dtype: torch.dtype, shared_memory: int, tf32: bool
) -> list[Config]:
    """Return the tiles that fit into ``shared_memory`` bytes, the fixed choice first."""
    exact = dtype is torch.float32 and not tf32
    itemsize = dtype.itemsize
    configs = [Config(*each) for each in (_EXACT if exact else _TENSOR_CORES[family])[shape]]
    if itemsize == 4 and not exact:
        spill = _SPILL_IN_TF32.get(family, ())
        configs = [c._replace(depth=c.depth // 2) for c in configs if (*c[:2], c.num_warps) not in spill]
    fitting = [c for c in configs if c.shared_memory(itemsize) <= shared_memory] or [
        configs[0]._replace(num_stages=2)
    ]
    if kind is not Kind.DGRAD_WITH_SUMS:
        return fitting
    first = fitting[0]
    return [first._replace(num_stages=n) for n in (first.num_stages, first.num_stages - 1) if n > 1]


@cache
def _device(index: int) -> tuple[str, int]:
    """Return the family of a GPU and its shared memory per block in bytes."""
    target = driver.active.get_current_target()
    shared_memory: int = driver.active.utils.get_device_properties(index)["max_shared_mem"]
    if target.backend == "hip":
        return "cdna", shared_memory
    if target.arch >= 120:  # workstation Blackwell has Ampere's matrix instructions
        return "ampere", shared_memory
    return "blackwell" if target.arch >= 100 else "hopper" if target.arch >= 90 else "ampere", shared_memory


def tf32_is_allowed() -> bool:
    return bool(torch.backends.cuda.matmul.fp32_precision == "tf32")


_INTERPRETED = Config(64, 64, 128, 4, 1)  # few operations, yet several tiles even for small products
_chosen: dict[tuple[object, ...], list[Config]] = {}  # the choice, then the fallbacks


def run(product: Callable[[Config], None], kind: Kind, result: Tensor, depth: int) -> None:
    """Run a product with the tile for its GPU and shape class.

    Raises:
        RuntimeError: no candidate fits the GPU.
    """
    if INTERPRETING:
        product(_INTERPRETED)
        return
    shape = shape_class(*result.shape)
    tf32 = tf32_is_allowed()
    key = (result.get_device(), kind, shape, result.dtype, tf32, depth >= 1024)
    configs = _chosen.get(key)
    if configs is None:
        family, shared_memory = _device(result.get_device())
        configs = candidates(family, shape, kind, result.dtype, shared_memory, tf32)
        if len(configs) > 1 and os.environ.get("FASTGAN_AUTOTUNE") != "0":
            if torch.cuda.is_current_stream_capturing():
                _run_first_that_fits(product, configs, kind, result)
                return  # nothing can be timed during capture; a later call may choose
            configs.sort(key=lambda each: _time(product, each))
        _chosen[key] = configs
    _run_first_that_fits(product, configs, kind, result)


def _time(product: Callable[[Config], None], config: Config) -> float:
    try:
        elapsed: float = triton.testing.do_bench(lambda: product(config), warmup=5, rep=20)
    except OutOfResources:
        return math.inf
    return elapsed


def _run_first_that_fits(
    product: Callable[[Config], None], configs: list[Config], kind: Kind, result: Tensor
) -> None:
    """Run the product with the first tile that fits, and move that tile to the front of ``configs``.

    The resources of a tile depend on the epilogue and are known only after compilation.
    """
    refused = []
    for config in configs:
        try:
            product(config)
        except OutOfResources as error:
            refused.append(f"{config}: {error}")
            continue
        if refused:
            configs.remove(config)
            configs.insert(0, config)
        return
    raise RuntimeError(
        f"no tile of the {kind.value} product with a {result.dtype} result of {tuple(result.shape)} fits "
        "this GPU; set FASTGAN_PRODUCTS=library in the environment to use PyTorch's products. Tried "
        + "; ".join(refused)
    )
