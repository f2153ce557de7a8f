"""Chooses the backend of a call, and holds the autograd code that all operations share.

Only a plain strided tensor in eager PyTorch has a usable address: ``FakeTensor.data_ptr()`` is 0, and reading
there crashes the process. So :func:`route` returns one of three backends:

- Plain tensors in eager PyTorch: the backend with kernels, called directly to avoid the dispatcher's cost.
- torch.compile, FakeTensor, any dispatch mode or tensor subclass: :data:`~fastgan.ops.registered.registered`,
  whose methods are opaque operators that call the same kernels.
- Otherwise the reference, which is plain PyTorch: torch.func transforms and forward-mode AD differentiate the
  operation themselves; programs of torch.export, torch.jit.trace and torch.onnx.export must run without
  fastgan; FlopCounterMode counts only PyTorch's operators.
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
from fastgan.kernels.native import PLAIN
from fastgan.kernels.opaque import unseen
from fastgan.ops.registered import registered

_is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor


def route(*tensors: Tensor | None) -> tuple[Reference, bool]:
    """The backend for an operation on these tensors, and whether a :class:`Function` computes its gradient.

    PyTorch differentiates the reference by itself. At least one tensor must not be None.
    """
    # not is_exporting(): in torch.compile it was always True until pytorch/pytorch#176499
    if torch.compiler._is_exporting_flag or torch._C._get_tracing_state() is not None:
        return reference, False
    # checked before torch.compile: torch.func differentiates the operation itself there too
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
    # compares names, as importing FlopCounterMode imports Triton
    modes = _get_current_dispatch_mode_stack()
    return any(type(mode).__module__ == "torch.utils.flop_counter" for mode in modes)


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """The dtype of layers under autocast on this tensor's device; None if autocast is off."""
    if not torch._C._is_any_autocast_enabled():
        return None
    device_type = tensor.device.type
    # is_autocast_enabled raises for devices like "meta"; PyTorch 2.11 cannot compile is_autocast_available
    has_autocast = torch.compiler.is_compiling() or is_autocast_available(device_type)
    if not has_autocast or not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


class Function(torch.autograd.Function):
    """Base class of the operations' autograd functions.

    TorchDynamo traces both passes if it compiles the call itself. It does not trace them in a compiled
    ``loss.backward()`` of an eager loss.
    """

    direct: Callable[..., Any]  # apply() without the check for functorch transforms

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unseen(cls.forward)
        unseen(cls.backward)
        cls.direct = super(torch.autograd.Function, cls).apply  # type: ignore[misc]


def apply(function: type[Function], backend: Reference, *arguments: Any) -> Any:
    """``function.apply``. :func:`route` has checked that no functorch transform is active."""
    if backend is registered:
        return function.apply(backend, *_distinct(arguments))
    return function.direct(backend, *arguments)


def _distinct(arguments: Sequence[Any]) -> list[Any]:
    """Replaces repeated tensors by views: TorchDynamo rejects a Function that gets a tensor twice."""
    distinct: list[Any] = []
    for a in arguments:
        is_known = isinstance(a, Tensor) and any(a is known for known in distinct)
        distinct.append(a.view_as(a) if is_known else a)
    return distinct


def wants_graph() -> bool:
    """Whether this backward pass may be differentiated again. A compiled one cannot be."""
    return torch.is_grad_enabled() and not is_dynamo_compiling()


def backend_for(backend: Reference, *grads: Tensor | None) -> Reference:
    """The backend of a backward pass: the forward pass's, or the reference where kernels cannot be used.

    Kernels cannot take batched, fake or otherwise special gradients, and with create_graph=True their results
    would carry no graph.
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
        # torch.autograd.grad(..., is_grads_batched=True) passes legacy batched gradients
        if type(g) not in PLAIN or g.is_meta or g.is_neg() or g._is_zerotensor() or _is_legacy_batched(g):
            return reference
    return backend


def asked_for(ctx: Any) -> tuple[bool, ...]:
    """``ctx.needs_input_grad``, but False for gradients that this backward pass discards.

    A gradient penalty's ``torch.autograd.grad(D(x).sum(), x, create_graph=True)`` discards the gradients of
    D's weights, but ctx still reports them as needed. Computing them would take a third more products.
    """
    nodes = (node for node, _ in ctx.next_functions if node is not None)  # of inputs that need gradients
    return tuple(need and _will_run(next(nodes)) for need in ctx.needs_input_grad)


def _will_run(node: torch.autograd.graph.Node) -> bool:
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # raised for a leaf that is an input of autograd.grad
        return True


def outside_autocast(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a backward pass to run without autocast, in the dtypes of the forward pass."""

    @functools.wraps(backward)
    def run(ctx: Any, *grads: Tensor | None) -> Any:
        if not torch._C._is_any_autocast_enabled():
            return backward(ctx, *grads)
        device_type = next((g.device.type for g in grads if g is not None), "cpu")
        with torch.autocast(device_type, enabled=False):
            return backward(ctx, *grads)

    return run
