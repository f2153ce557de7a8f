"""What the tests of operations are parametrized with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from oracle import DTYPES, VIEWS


def cases(
    every_dtype: Sequence[object], float32: Sequence[object] = (), long: Sequence[object] = ()
) -> list[object]:
    """Parameters ``(dtype, case)``: a few cases in every dtype, and more of them in float32 alone.

    The kernels of all dtypes are one template. They differ in how many elements 16 bytes hold and in how they
    round, which the few cases show; the others are about where tensors end.

    Args:
        every_dtype: for every backend and instruction set; float64 as what follows.
        float32: for the backends with kernels, and of instruction sets the newest.
        long: the same, but not for the interpreter.
    """
    breadth, one = pytest.mark.breadth, torch.float32
    found = [(dtype, case, [breadth] * (dtype is torch.float64)) for dtype in DTYPES for case in every_dtype]
    found += [(one, case, [breadth]) for case in float32]
    found += [(one, case, [breadth, pytest.mark.long]) for case in long]
    return [pytest.param(dtype, case, id=f"{dtype}-{case}", marks=marks) for dtype, case, marks in found]


# A gradient's scale, which lies on the device: in each dtype, with inputs in each dtype, and in other
# shapes of one element.
scales = pytest.mark.parametrize(
    ("dtype", "scale_dtype", "scale_shape"),
    [
        *[(torch.float32, scale, ()) for scale in DTYPES],
        *[(dtype, torch.float32, ()) for dtype in DTYPES if dtype is not torch.float32],
        (torch.float64, torch.bfloat16, ()),
        (torch.float32, torch.float32, (1,)),
        (torch.float32, torch.float32, (1, 1)),
    ],
    ids=str,
)

# A view is made contiguous before a kernel sees it, whatever its dtype. One that only starts at an address
# off 16 bytes is not, and there the dtypes differ.
views_and_dtypes = pytest.mark.parametrize(
    ("view", "dtype"),
    [
        *[pytest.param(view, torch.float32, id=f"{name}-{torch.float32}") for name, view in VIEWS.items()],
        *[
            pytest.param(VIEWS["unaligned"], dtype, id=f"unaligned-{dtype}")
            for dtype in DTYPES
            if dtype is not torch.float32
        ],
    ],
)
