"""Decorators that hide functions from TorchDynamo.

Inside a compiled function Dynamo traces every Python frame, including those of a backward pass. It frees a
local variable after its last use in Python: a contiguous copy would be freed before the kernel that got its
address runs. So every function that takes addresses must be opaque to Dynamo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])

# torch.compiler.disable does the same, but importing torch._dynamo takes two seconds, and every eager call
# then takes 1 us longer.
_dynamo = torch._C._dynamo.eval_frame
_SKIP = _dynamo._FrameAction.SKIP
_FRAME_AND_CALLS = _dynamo._FrameExecStrategy(_SKIP, _SKIP)


def unseen(function: Function) -> Function:
    """Keep Dynamo from tracing frames of this function and of its callees. It may still inline a call."""
    _dynamo.set_code_exec_strategy(function.__code__, _FRAME_AND_CALLS)
    return function


def opaque(function: Function) -> Function:
    """Keep Dynamo from tracing or inlining the function and its callees: calls break the graph."""
    unseen(function)._torchdynamo_disable = True  # type: ignore[attr-defined]
    return function
