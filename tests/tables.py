"""Parameters for the tests of operations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from backends import VARIANTS
from conftest import as_parameters
from oracle import DTYPES, VIEWS


def cases(
    every_dtype: Sequence[object], float32: Sequence[object] = (), long: Sequence[object] = ()
) -> list[object]:
    """Parameters ``(dtype, case)``: a few cases in every dtype, and more in float32 only.

    Kernels for all dtypes are one template. Dtypes differ in rounding and in the number of elements in 16
    bytes, which a few cases cover. The other cases test the ends of tensors.

    Args:
        every_dtype: cases for every backend and instruction set. In float64 they run like ``float32``.
        float32: cases for backends with kernels, and only for the newest instruction set.
        long: like ``float32``, but not with the interpreter.
    """
    breadth, one = pytest.mark.breadth, torch.float32
    found = [(dtype, case, [breadth] * (dtype is torch.float64)) for dtype in DTYPES for case in every_dtype]
    found += [(one, case, [breadth]) for case in float32]
    found += [(one, case, [breadth, pytest.mark.long]) for case in long]
    return [pytest.param(dtype, case, id=f"{dtype}-{case}", marks=marks) for dtype, case, marks in found]


# The scale of a gradient, a tensor on the device: its dtypes, dtypes of inputs, and shapes with one element.
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

# Most views are copied before a kernel runs, in the same way for all dtypes. Contiguous tensors that are not
# aligned to 16 bytes are not copied, and there dtypes differ.
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

# The C++ kernels with each instruction set, which the test forces itself.
threaded = pytest.mark.parametrize(
    "threaded", as_parameters([each for each in VARIANTS if each.name == "cpu"])
)
