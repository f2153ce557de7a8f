"""Pixels as networks see them."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_range(samples: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Samples as networks see them, in a dtype: uint8 pixels are mapped to [-1, 1], floats only cast."""
    if samples.dtype is torch.uint8:
        return samples.to(dtype).div_(127.5).sub_(1)
    return samples.to(dtype)
