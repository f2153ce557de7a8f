"""How a call reaches a kernel, and the gradient wiring that all operations share.

A raw pointer may be taken from a plain strided tensor in eager PyTorch and from nothing else:
``FakeTensor.data_ptr()`` is 0 and would crash the process. So :func:`route` has three answers:

- plain tensors, eager: the backend with kernels, called directly, without the dispatcher's cost.
- torch.compile, FakeTensor, any dispatch mode or tensor subclass: :data:`~fastgan.ops.registered.registered`,
  whose methods are opaque operators over the same kernels.
- torch.func transforms and forward-mode AD, which differentiate the operation themselves; torch.export,
  torch.jit.trace and torch.onnx.export, whose programs run where there is no fastgan; and FlopCounterMode,
  which counts PyTorch's operators alone: the reference, whose methods are plain PyTorch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from fastgan.kernels import Reference, choose, reference
from fastgan.kernels.opaque import unseen
from fastgan.ops.arguments import PLAIN
from fastgan.ops.registered import registered

_is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor


def route(*tensors: Tensor | None) -> tuple[Reference, bool]:
    """Who computes an operation on these tensors, and whether a :class:`Function` is to wire its gradient.

    PyTorch differentiates the reference by itself. At least one of the tensors is no None.
    """
    # is_exporting() returns this flag, but in torch.compile it was always True until pytorch/pytorch#176499
    if torch.compiler._is_exporting_flag or torch._C._get_tracing_state() is not None:
        return reference, False
    # before compilation is asked for: torch.func inside torch.compile differentiates the operation itself too
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return reference, False
    is_wired = False
    if torch.is_grad_enabled():
        for t in tensors:
            if t is not None and t.requires_grad:
                is_wired = True
                break
    if is_dynamo_compiling():
        return registered, is_wired
    if torch._C._len_torch_dispatch_stack():
        return (reference, False) if _counts_flops() else (registered, is_wired)
    some = None
    for t in tensors:
        if t is not None:
            if type(t) not in PLAIN or t.is_neg() or t._is_zerotensor():
                return registered, is_wired
            some = t
    assert some is not None
    if some.is_meta:
        return registered, is_wired
    backend = choose(some)
    return backend, is_wired and backend is not reference


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
    """The gradient wiring of every operation derives from this.

    TorchDynamo follows both passes into a graph where it compiles the call itself. Where it only meets them,
    as in a compiled ``loss.backward()`` of an eager loss, it leaves them alone.
    """

    direct: Callable[..., Any]  # apply() without its search for functorch transforms

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unseen(cls.forward)
        unseen(cls.backward)
        cls.direct = super(torch.autograd.Function, cls).apply  # type: ignore[misc]


def apply(function: type[Function], backend: Reference, *arguments: Any) -> Any:
    """``function.apply``. No functorch transform is active: :func:`route` has looked."""
    if backend is registered:
        return function.apply(backend, *_distinct(arguments))
    return function.direct(backend, *arguments)


def _distinct(arguments: Sequence[Any]) -> list[Any]:
    """TorchDynamo refuses a tensor that a Function gets twice: a view takes its place."""
    distinct: list[Any] = []
    for a in arguments:
        is_known = isinstance(a, Tensor) and any(a is known for known in distinct)
        distinct.append(a.view_as(a) if is_known else a)
    return distinct


def wants_graph() -> bool:
    """Whether this backward pass is to be differentiated once more. No compiled one can be."""
    return torch.is_grad_enabled() and not is_dynamo_compiling()


def backend_for(backend: Reference, *grads: Tensor | None) -> Reference:
    """Who computes a backward pass: the backend of the forward pass, wherever its kernels can.

    Not for batched, fake or otherwise special gradients; and not with create_graph=True where the result
    must carry a graph: the reference is differentiable.
    """
    if backend is registered:
        return reference if wants_graph() else registered
    if (
        torch.is_grad_enabled()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
    ):
        return reference
    for g in grads:
        if g is None:
            continue
        # torch.autograd.grad(..., is_grads_batched=True) makes legacy batched ones
        if type(g) not in PLAIN or g.is_meta or g.is_neg() or g._is_zerotensor() or _is_legacy_batched(g):
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
