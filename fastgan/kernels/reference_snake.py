"""Snake in plain PyTorch: the part of the reference backend for activations of audio networks.

The signal is ``[N, C, T]``. Anti-aliasing is that of BigVGAN (Lee et al. 2023): the signal is repeated beyond
its ends, upsampled by 2, activated, repeated again, and downsampled by 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels.channels import along_channels
from fastgan.kernels.convolutions import without_autocast
from fastgan.kernels.native import in_compute_dtype

RATIO = 2
FEWEST_TAPS, MOST_TAPS = 2, 24
Needs = tuple[bool, bool, bool]
Grads = tuple[Tensor | None, Tensor | None, Tensor | None]


class Scale(NamedTuple):
    """How alpha and beta give the frequency and the magnitude of a Snake.

    Attributes:
        log: alpha and beta are logarithms.
        eps: added to beta, or to its exponential.
    """

    log: bool
    eps: float


class Padding(NamedTuple):
    """Numbers of samples around a signal, for filters of these lengths.

    With ``X[j]`` the repeated signal, 0 where ``j < -up`` or ``j >= T + up``, and ``V[m]`` the repeated
    activated one::

        u[n] = 2 sum_k up_filter[k] X[(n + first - k) / 2]      # k such that n + first - k is even
        y[t] = sum_k down_filter[k] V[2 t + k - down]

    Attributes:
        up: repeated samples on each side before upsampling.
        first: index, in the filter, of the tap that multiplies X[0] in u[0].
        down: repeated samples on the left before downsampling.
    """

    up: int
    first: int
    down: int


def padding(up_taps: int, down_taps: int) -> Padding:
    """Return the numbers of repeated samples, as in BigVGAN."""
    return Padding(up_taps // RATIO - 1, (up_taps - RATIO) // 2, (down_taps - 1) // 2)


def upsampled(x: Tensor, taps: Tensor) -> Tensor:
    """Return a signal at twice the rate, [N, C, 2 T]."""
    pad, length = padding(len(taps), FEWEST_TAPS), RATIO * x.shape[-1]
    padded = F.pad(_rows(x), (pad.up, pad.up), mode="replicate")
    u = RATIO * _convolved(F.conv_transpose1d, padded, taps)
    left = RATIO * pad.up + pad.first
    return u[..., left : left + length].view(*x.shape[:-1], length)


def downsampled(v: Tensor, taps: Tensor) -> Tensor:
    """Return a signal at half the rate, [N, C, T]."""
    padded = F.pad(_rows(v), (padding(FEWEST_TAPS, len(taps)).down, len(taps) // 2), mode="replicate")
    return _convolved(F.conv1d, padded, taps).view(*v.shape[:-1], v.shape[-1] // RATIO)


class SnakeReference:
    """Methods of a backend for Snake.

    ``alpha`` and ``beta`` are [C], ``up_filter`` and ``down_filter`` [taps], in the dtype of ``input``, or in
    float32 for half types. ``beta`` is None if it equals alpha; alpha's gradient then has both parts.
    """

    def snake(self, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale) -> Tensor:
        """Return ``input + sin(a * input)**2 / (b + eps)``, with channels along dimension 1."""
        return _activated(in_compute_dtype(input), _numbers(input, alpha, beta, scale)).to(input.dtype)

    def snake_backward(
        self, grad: Tensor, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale, needs: Needs
    ) -> Grads:
        """Return the gradients of input, alpha and beta, None if not needed."""
        numbers = _numbers(input, alpha, beta, scale)
        g, x = in_compute_dtype(grad), in_compute_dtype(input)
        dx = (g * _slope(x, numbers)).to(input.dtype) if needs[0] else None
        return dx, *_grads_of_numbers(g, x, numbers, alpha, beta, scale, needs)

    def anti_aliased_snake(
        self,
        input: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
    ) -> Tensor:
        """Return :meth:`snake` of the signal upsampled by 2, downsampled by 2."""
        v = _activated(upsampled(in_compute_dtype(input), up_filter), _numbers(input, alpha, beta, scale))
        return downsampled(v, down_filter).to(input.dtype)

    def anti_aliased_snake_backward(
        self,
        grad: Tensor,
        input: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
        needs: Needs,
    ) -> Grads:
        """Return the gradients of input, alpha and beta, None if not needed."""
        pad = padding(len(up_filter), len(down_filter))
        numbers = _numbers(input, alpha, beta, scale)
        u = upsampled(in_compute_dtype(input), up_filter)
        dv = _convolved(F.conv_transpose1d, _rows(in_compute_dtype(grad)), down_filter)
        dv = _folded(dv, pad.down, u.shape[-1]).view(u.shape)
        dx = None
        if needs[0]:
            length = input.shape[-1]
            left = RATIO * pad.up + pad.first
            right = RATIO * (length + 2 * pad.up - 1) + len(up_filter) - left - u.shape[-1]
            du = F.pad(_rows(dv * _slope(u, numbers)), (left, right))
            dx = RATIO * _convolved(F.conv1d, du, up_filter)
            dx = _folded(dx, pad.up, length).view(input.shape).to(input.dtype)
        return dx, *_grads_of_numbers(dv, u, numbers, alpha, beta, scale, needs)


class _Numbers(NamedTuple):
    """For each channel, in the shape of a channel of the signal."""

    frequency: Tensor
    magnitude: Tensor  # beta or its exponential
    divisor: Tensor  # the magnitude + eps


def _numbers(input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale) -> _Numbers:
    a = along_channels(in_compute_dtype(alpha), input)
    b = a if beta is None else along_channels(in_compute_dtype(beta), input)
    if scale.log:
        a, b = a.exp(), b.exp()
    return _Numbers(a, b, b + scale.eps)


def _activated(x: Tensor, numbers: _Numbers) -> Tensor:
    return x + torch.sin(numbers.frequency * x).square() / numbers.divisor


def _slope(x: Tensor, numbers: _Numbers) -> Tensor:
    """The derivative of Snake. sin(2 y) is twice the product of sin(y) and cos(y)."""
    return 1 + numbers.frequency * torch.sin(2 * numbers.frequency * x) / numbers.divisor


def _grads_of_numbers(
    grad: Tensor,
    x: Tensor,
    numbers: _Numbers,
    alpha: Tensor,
    beta: Tensor | None,
    scale: Scale,
    needs: Needs,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of alpha and beta, given that of Snake's output."""
    a, b, divisor = numbers
    others = [i for i in range(x.dim()) if i != 1]
    da = (grad * x * torch.sin(2 * a * x) / divisor).sum(others)
    db = (-grad * (torch.sin(a * x) / divisor).square()).sum(others)
    if scale.log:
        da, db = da * a.flatten(), db * b.flatten()
    if beta is None:
        return (da + db).to(alpha.dtype) if needs[1] else None, None
    return da.to(alpha.dtype) if needs[1] else None, db.to(beta.dtype) if needs[2] else None


def _rows(x: Tensor) -> Tensor:
    """Each channel of each sample as a signal of one channel, [N * C, 1, T]."""
    return x.reshape(x.shape[0] * x.shape[1], 1, x.shape[2])


def _convolved(convolution: Callable[..., Tensor], x: Tensor, taps: Tensor) -> Tensor:
    """A convolution of rows with a filter, at half or twice the rate."""
    return without_autocast(convolution, x, in_compute_dtype(taps).view(1, 1, -1), RATIO)


def _folded(grad: Tensor, left: int, length: int) -> Tensor:
    """The gradient of a signal of this length, given that of the signal repeated beyond its ends.

    Missing numbers on the right are 0.
    """
    inside = grad[..., left : left + length]
    inside = F.pad(inside, (0, length - inside.shape[-1]))
    before = grad[..., :left].sum(-1, keepdim=True)
    after = grad[..., left + length :].sum(-1, keepdim=True)
    return inside + F.pad(before, (0, length - 1)) + F.pad(after, (length - 1, 0))
