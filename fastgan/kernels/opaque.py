"""Functions that TorchDynamo leaves alone.

Inside a compiled function Dynamo traces every Python frame it meets, those of an autograd engine that runs a
backward pass included. It keeps a local variable no longer than Python reads it: a contiguous copy would be
freed before the kernel that was given its address runs. So whatever takes addresses is opaque to Dynamo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])

# Of PyTorch's C module: torch.compiler.disable does the same, but imports torch._dynamo, which takes two
# seconds, and costs every eager call 1 us.
_dynamo = torch._C._dynamo.eval_frame
_SKIP = _dynamo._FrameAction.SKIP
_FRAME_AND_CALLS = _dynamo._FrameExecStrategy(_SKIP, _SKIP)


def unseen(function: Function) -> Function:
    """Dynamo runs a frame of this function that it meets, and what it calls; it may still inline a call."""
    _dynamo.set_code_exec_strategy(function.__code__, _FRAME_AND_CALLS)
    return function


def opaque(function: Function) -> Function:
    """Dynamo neither traces the function, nor what it calls, nor inlines it: it breaks the graph there."""
    unseen(function)._torchdynamo_disable = True  # type: ignore[attr-defined]
    return function
