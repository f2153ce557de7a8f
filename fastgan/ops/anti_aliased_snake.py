"""Snake between upsampling and downsampling by 2, in one kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.reference_snake import RATIO, Scale
from fastgan.ops.arguments import check_filter, check_signal
from fastgan.ops.routing import Function, apply, backend_for, outside_autocast, route
from fastgan.ops.snake import checked_numbers


def anti_aliased_snake(
    x: Tensor,
    alpha: Tensor,
    beta: Tensor | None,
    up_filter: Tensor,
    down_filter: Tensor,
    ratio: int = 2,
    log_scale: bool = False,
    eps: float = 1e-9,
) -> Tensor:
    """Upsampling by 2, :func:`fastgan.snake`, downsampling by 2 (BigVGAN: Lee et al. 2023, section 2.2).

    Filtering the activated signal at twice the rate removes the harmonics that Snake would fold back into the
    band. Nothing of the upsampled signal is written to memory, and the backward pass computes it again: only
    ``x`` is saved, where PyTorch's operations save 13 more tensors of its size. The signal is repeated beyond
    its ends before each filter, with BigVGAN's results at the ends too.

    Args:
        x: ``[N, C, T]`` with T at least 1. Copied unless contiguous or with channels last in memory.
        alpha, beta, log_scale, eps: as for :func:`fastgan.snake`. If ``beta`` is None, it equals ``alpha``.
        up_filter: ``[taps]`` or ``[1, 1, taps]``, 2 to 24 taps, even or odd. Applied after zeros are inserted
            between the samples; outputs are multiplied by 2, so the taps should add up to 1.
        down_filter: the same, for downsampling. See :func:`fastgan.nn.kaiser_sinc_filter` for both.
        ratio: must be 2.

    Returns:
        A tensor like ``x``, in its memory order. ``alpha``, ``beta`` and filters of a float16 or bfloat16
        ``x`` may be float32. Half types are computed in float32, and rounded once.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes do not fit.
        ValueError: as for :func:`fastgan.snake`; or the signal is empty, the ratio is not 2, a filter has too
            few or too many taps, or requires a gradient.
    """
    check_signal(x, "x")
    alpha, beta = checked_numbers(x, alpha, beta, log_scale, eps)
    if ratio != RATIO:
        raise ValueError(
            f"ratio must be {RATIO}, but is {ratio}; for others, write upsampling, fastgan.snake and "
            "downsampling as three calls"
        )
    up_filter = _taps(up_filter, "up_filter", x)
    down_filter = _taps(down_filter, "down_filter", x)
    backend, is_wired = route(x, alpha, beta, up_filter, down_filter)
    arguments = x, alpha, beta, up_filter, down_filter, Scale(log_scale, eps)
    if is_wired:
        output: Tensor = apply(AntiAliasedSnake, backend, *arguments)
        return output
    return backend.anti_aliased_snake(*arguments)


class AntiAliasedSnake(Function):
    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        x: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
    ) -> Tensor:
        ctx.save_for_backward(x, alpha, beta, up_filter, down_filter)
        ctx.call = backend, scale
        return backend.anti_aliased_snake(x, alpha, beta, up_filter, down_filter, scale)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alpha, beta, up_filter, down_filter = ctx.saved_tensors
        backend, scale = ctx.call
        grads = backend_for(backend, grad).anti_aliased_snake_backward(
            grad, x, alpha, beta, up_filter, down_filter, scale, ctx.needs_input_grad[1:4]
        )
        return None, *grads, None, None, None


def _taps(taps: Tensor, name: str, x: Tensor) -> Tensor:
    """Check a filter; return it as ``[taps]``."""
    if isinstance(taps, Tensor) and taps.dim() == 3 and taps.shape[:2] == (1, 1):
        taps = taps.flatten()
    check_filter(taps, name, x, "x")
    if taps.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name} requires a gradient, which anti_aliased_snake does not compute; pass {name}.detach()"
        )
    return taps
