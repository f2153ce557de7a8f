"""Snake, the periodic activation of vocoders and audio codecs, in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fastgan.kernels import Reference
from fastgan.kernels.native import PLAIN
from fastgan.kernels.reference_snake import Scale
from fastgan.ops.arguments import check_eps, check_like_or_float32, check_tensor
from fastgan.ops.routing import Function, apply, backend_for, route


def snake(
    x: Tensor, alpha: Tensor, beta: Tensor | None = None, log_scale: bool = False, eps: float = 1e-9
) -> Tensor:
    """``x + sin(alpha * x)**2 / (beta + eps)`` for each channel (Ziyin et al. 2020, eq. 3).

    The backward pass computes the sine again: only ``x`` is saved, where PyTorch's operations save four
    tensors of its size.

    Args:
        x: ``[N, C, ...]``, such as ``[N, C, T]``. Copied unless contiguous or with channels last in memory.
        alpha: ``[C]`` or ``[1, C, 1]``, the frequency.
        beta: like ``alpha``, the inverse of the magnitude, as in BigVGAN's Snake-beta. By default ``alpha``,
            as in DAC.
        log_scale: whether ``alpha`` and ``beta`` are logarithms, as in BigVGAN.
        eps: added to ``beta``, or to its exponential.

    Returns:
        A tensor like ``x``, in its memory order. ``alpha`` and ``beta`` of a float16 or bfloat16 ``x`` may be
        float32. Half types are computed in float32, and rounded once.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes do not fit.
        ValueError: shapes do not fit, devices differ, or ``eps`` is negative; or, on a CPU, ``eps`` is 0 and
            so is a number of ``beta``. On a GPU, where reading it would wait, the result is then not finite.
    """
    alpha, beta = checked_numbers(x, alpha, beta, log_scale, eps)
    backend, is_wired = route(x, alpha, beta)
    scale = Scale(log_scale, eps)
    if is_wired:
        output: Tensor = apply(Snake, backend, x, alpha, beta, scale)
        return output
    return backend.snake(x, alpha, beta, scale)


class Snake(Function):
    @staticmethod
    def forward(
        ctx: Any, backend: Reference, x: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale
    ) -> Tensor:
        ctx.save_for_backward(x, alpha, beta)
        ctx.call = backend, scale
        return backend.snake(x, alpha, beta, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alpha, beta = ctx.saved_tensors
        backend, scale = ctx.call
        needs = ctx.needs_input_grad[1:4]
        return None, *backend_for(backend, grad).snake_backward(grad, x, alpha, beta, scale, needs), None


def checked_numbers(
    x: Tensor, alpha: Tensor, beta: Tensor | None, log_scale: bool, eps: float
) -> tuple[Tensor, Tensor | None]:
    """Check the arguments of a Snake; return alpha and beta as ``[C]``."""
    check_tensor(x, "x")
    if x.dim() < 2:
        raise ValueError(f"x must be [N, C, ...], but has shape {tuple(x.shape)}")
    check_eps(eps)
    alpha, beta = _of_channels(alpha, "alpha", x), None if beta is None else _of_channels(beta, "beta", x)
    if eps == 0 and not log_scale:
        _check_divisor(alpha if beta is None else beta, "alpha" if beta is None else "beta")
    return alpha, beta


def _of_channels(numbers: Tensor, name: str, x: Tensor) -> Tensor:
    check_like_or_float32(numbers, name, x, "x")
    channels = x.shape[1]
    if numbers.shape == (1, channels, 1):
        numbers = numbers.flatten()
    if numbers.shape != (channels,):
        raise ValueError(
            f"{name} must have shape ({channels},), a number for each channel of x, which has shape "
            f"{tuple(x.shape)}, but has {tuple(numbers.shape)}"
        )
    return numbers


def _check_divisor(divisor: Tensor, name: str) -> None:
    # elsewhere reading the numbers would wait for a GPU, break a graph, or fail in a transform
    is_readable = type(divisor) in PLAIN and divisor.is_cpu and not is_compiling()
    if not is_readable or torch._C._are_functorch_transforms_active():
        return
    zeros = (divisor == 0).nonzero()
    if len(zeros):
        raise ValueError(
            f"{name}[{int(zeros[0])}] is 0 and eps is 0, but Snake divides by their sum; pass eps=1e-9 or "
            f"{name} without zeros"
        )
