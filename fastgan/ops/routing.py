"""How a call reaches a kernel.

A raw pointer may be taken from a plain strided tensor in eager PyTorch and from nothing else:
``FakeTensor.data_ptr()`` is 0 and would crash the process. So there are three ways:

- DIRECT: plain tensors, eager: straight to the backend, without the dispatcher's cost.
- REGISTERED: torch.compile, export, FakeTensor, any dispatch mode or tensor subclass: through the
  operators of :mod:`fastgan.ops.registered`.
- REFERENCE: torch.func transforms and forward-mode AD, which differentiate the operation themselves:
  through its plain-PyTorch reference.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


class Route(Enum):
    DIRECT = "direct"
    REGISTERED = "registered"
    REFERENCE = "reference"


_PLAIN = (Tensor, torch.nn.Parameter)


def route(*tensors: Tensor | None) -> Route:
    if torch.compiler.is_compiling():
        return Route.REGISTERED
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return Route.REFERENCE
    if torch._C._len_torch_dispatch_stack():
        return Route.REGISTERED
    for t in tensors:
        if t is not None and (type(t) not in _PLAIN or t.is_meta or t.is_neg()):
            return Route.REGISTERED
    return Route.DIRECT


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """The dtype that autocast computes layers in on this tensor's device; None where it is off."""
    if not torch._C._is_any_autocast_enabled():
        return None
    device_type = tensor.device.type
    if not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """``function.apply`` without its search for functorch transforms, which :func:`route` has made."""
    return super(torch.autograd.Function, function).apply(*arguments)  # type: ignore[misc]
