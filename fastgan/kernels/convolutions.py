"""PyTorch's convolutions, as the reference backend calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available
from torch.compiler import is_compiling


def without_autocast(convolution: Callable[..., Tensor], x: Tensor, weight: Tensor, stride: Any) -> Tensor:
    """Call a convolution in the dtype of its arguments, also under autocast."""
    device_type = x.device.type
    # PyTorch 2.11 cannot compile is_autocast_available
    if torch._C._is_any_autocast_enabled() and (is_compiling() or is_autocast_available(device_type)):
        with torch.autocast(device_type, enabled=False):
            return convolution(x, weight, stride=stride)
    return convolution(x, weight, stride=stride)
