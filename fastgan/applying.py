"""Layers that apply an activation which a forward calls as a function, ``F.leaky_relu(self.conv(x), 0.1)``.

:func:`fastgan.fuse` gives the module with that forward, the owner, a class that skips the call of the
function for the result of such a layer. The layer activates only while its owner's forward runs, so it
computes as before if it is called from elsewhere.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_running = threading.local()

# The functions, and how they take their slope.
_LEAKY: tuple[Any, ...] = (F.leaky_relu, F.leaky_relu_, torch._C._nn.leaky_relu, torch._C._nn.leaky_relu_)
_RELU: tuple[Any, ...] = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
FUNCTIONS = frozenset((*_LEAKY, *_RELU))


def slope_of_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """The negative slope of a call of one of FUNCTIONS, if it is a number; None for other functions."""
    if function in _RELU:
        return 0.0
    if function not in _LEAKY:
        return None
    slope = kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)
    return float(slope) if isinstance(slope, (int, float)) else None


def is_running(owners: tuple[nn.Module, ...]) -> bool:
    """Whether the innermost owner whose forward runs in this thread is one of these."""
    if torch.compiler.is_compiling():
        return False
    stack: list[tuple[nn.Module, Any]] = getattr(_running, "stack", [])
    if not stack:
        return False
    running, hooks = stack[-1]
    # A segment of torch.utils.checkpoint is computed again later, when its owner does not run.
    return hooks is saving_hooks() and any(running is owner for owner in owners)


def saving_hooks() -> Any:
    """The innermost hook on saved tensors, which a checkpoint sets for its segment; None without one."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return None if hooks is None else hooks[0]


class Owner(nn.Module):
    """Marks a module whose forward skips activations that its layers have applied."""


def skipping(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward of an owner. torch.fx takes the names of arguments from the forward that it wraps."""

    @functools.wraps(forward)
    def run(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return forward(self, *args, **kwargs)  # the layers do not activate there either
        stack = _running.__dict__.setdefault("stack", [])
        stack.append((self, saving_hooks()))
        try:
            with _Skipping():
                return forward(self, *args, **kwargs)
        finally:
            stack.pop()

    return run


class _Skipping(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FUNCTIONS:
            input = args[0] if args else kwargs.get("input")
            applied = vars(input).get("applied_call") if isinstance(input, Tensor) else None
            if applied is not None:
                return _without_mark(input, slope_of_call(func, args, kwargs))
        return func(*args, **kwargs)


def mark(output: Tensor, slope: float) -> Tensor:
    """Note that a layer has applied an activation with this slope, which its owner will ask for."""
    output.applied_call = slope, version_of(output), output.grad_fn  # type: ignore[attr-defined]
    return output


def pass_mark(output: Tensor, later: Tensor) -> Tensor:
    """Move the mark of a layer's output to what a dropout has made of it."""
    call = getattr(output, "applied_call", None)
    if call is not None and later is not output and call[1:] == (version_of(output), output.grad_fn):
        mark(later, call[0])
    return later


def _without_mark(output: Tensor, slope: float | None) -> Tensor:
    """The output of a layer in place of its activation; a second activation is computed."""
    applied, before, grad_fn = vars(output).pop("applied_call")
    now = version_of(output)
    if applied != slope:
        raise RuntimeError(
            f"a fused layer has a negative slope of {applied} and the forward asks for one of {slope}; call "
            "fastgan.unfuse on the model, change the slope, and fuse again"
        )
    if before != now:
        raise RuntimeError(
            "the output of a fused layer was modified in place before its activation; call fastgan.unfuse on "
            "the model before such a change"
        )
    if grad_fn is not output.grad_fn:
        raise RuntimeError(
            "the output of a fused layer was detached before its activation, as the reentrant form of "
            "torch.utils.checkpoint does; use use_reentrant=False, or call fastgan.unfuse on the model"
        )
    return output


def version_of(tensor: Tensor) -> int | None:
    """PyTorch's count of writes to a tensor; None if PyTorch does not count."""
    if torch.compiler.is_compiling() or tensor.is_inference():
        return None
    return tensor._version
