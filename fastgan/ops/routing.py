"""How a call reaches a kernel.

A raw pointer may be taken from a plain strided tensor in eager PyTorch and from nothing else:
``FakeTensor.data_ptr()`` is 0 and would crash the process. So there are three ways:

- DIRECT: plain tensors, eager: straight to the backend, without the dispatcher's cost.
- REGISTERED: torch.compile, FakeTensor, any dispatch mode or tensor subclass: through the operators of
  :mod:`fastgan.ops.registered`.
- REFERENCE: torch.func transforms and forward-mode AD, which differentiate the operation themselves;
  torch.export, torch.jit.trace and torch.onnx.export, whose programs run where there is no fastgan; and
  FlopCounterMode, which counts PyTorch's operators alone: through its plain-PyTorch reference.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from fastgan.kernels import Backend, reference
from fastgan.kernels.opaque import opaque


class Route(Enum):
    DIRECT = "direct"
    REGISTERED = "registered"
    REFERENCE = "reference"


_PLAIN = (Tensor, torch.nn.Parameter)
_is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor


def route(*tensors: Tensor | None) -> Route:
    # is_exporting() returns this flag, but in torch.compile it was always True until pytorch/pytorch#176499
    if torch.compiler._is_exporting_flag or torch._C._get_tracing_state() is not None:
        return Route.REFERENCE
    # before compilation is asked for: torch.func inside torch.compile differentiates the operation itself too
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return Route.REFERENCE
    if torch.compiler.is_compiling():
        return Route.REGISTERED
    if torch._C._len_torch_dispatch_stack():
        return Route.REFERENCE if _counts_flops() else Route.REGISTERED
    for t in tensors:
        if t is not None and (type(t) not in _PLAIN or t.is_meta or t.is_neg() or t._is_zerotensor()):
            return Route.REGISTERED
    return Route.DIRECT


def _counts_flops() -> bool:
    # found by name: its module imports Triton
    modes = _get_current_dispatch_mode_stack()
    return any(type(mode).__module__ == "torch.utils.flop_counter" for mode in modes)


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """The dtype that autocast computes layers in on this tensor's device; None where it is off."""
    if not torch._C._is_any_autocast_enabled():
        return None
    device_type = tensor.device.type
    # for "meta" and its like the second question raises; the first one PyTorch 2.11 cannot compile
    has_autocast = torch.compiler.is_compiling() or is_autocast_available(device_type)
    if not has_autocast or not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


class Function(torch.autograd.Function):
    """What every operation's gradient is wired with: TorchDynamo leaves its two passes alone."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        opaque(cls.forward)
        opaque(cls.backward)


def apply(function: type[Function], *arguments: Any) -> Any:
    """``function.apply`` without its search for functorch transforms, which :func:`route` has made."""
    return super(torch.autograd.Function, function).apply(*arguments)  # type: ignore[misc]


def serving(backend: Backend, *grads: Tensor | None) -> Backend:
    """Who serves a backward pass: the backend of the forward pass, wherever its kernels can.

    Not for batched, fake or otherwise special gradients; and not with create_graph=True where the result
    must carry a graph: the reference is differentiable.
    """
    if torch.is_grad_enabled() or route(*grads) is not Route.DIRECT:
        return reference
    for g in grads:
        if g is not None and _is_legacy_batched(g):  # torch.autograd.grad(..., is_grads_batched=True)
            return reference
    return backend


def asked_for(ctx: Any) -> tuple[bool, ...]:
    """``ctx.needs_input_grad`` without what this backward pass will not use.

    A gradient penalty's ``torch.autograd.grad(D(x).sum(), x, create_graph=True)`` wants nothing of D's
    weights, which ctx does not know: it would take a third of the products more.
    """
    nodes = (node for node, _ in ctx.next_functions if node is not None)  # one an input that needs a gradient
    return tuple(need and _will_run(next(nodes)) for need in ctx.needs_input_grad)


def _will_run(node: torch.autograd.graph.Node) -> bool:
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # it cannot tell for a leaf that autograd.grad was asked for
        return True


def outside_autocast(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass that autocast does not reach: its dtypes are those of the forward pass."""

    @functools.wraps(backward)
    def run(ctx: Any, *grads: Tensor | None) -> Any:
        if not torch._C._is_any_autocast_enabled():
            return backward(ctx, *grads)
        device_type = next((g.device.type for g in grads if g is not None), "cpu")
        with torch.autocast(device_type, enabled=False):
            return backward(ctx, *grads)

    return run
