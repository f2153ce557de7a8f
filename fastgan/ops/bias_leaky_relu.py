"""Bias + leaky ReLU in one pass, after a convolution or a matrix product."""

from __future__ import annotations

from torch import Tensor

from fastgan.kernels.acts import act_of
from fastgan.ops.arguments import check_gain, check_negative_slope, check_tensor
from fastgan.ops.bias_act import activated


def bias_leaky_relu(
    input: Tensor,
    bias: Tensor | None = None,
    negative_slope: float = 0.2,
    *,
    dim: int = 1,
    gain: float = 1.0,
    clamp: float | None = None,
) -> Tensor:
    """``leaky_relu(input + bias)`` with the bias along one dimension (Maas et al. 2013).

    One pass forward, and one pass backward that also sums the bias gradient. Only the output is saved for
    backward: as the slope is not negative, the output has the sign of ``input + bias``.

    Args:
        input: any shape with at least one dimension. Copied unless contiguous or channels_last.
        bias: ``[input.shape[dim]]``, or None.
        negative_slope: slope at and below zero, not negative.
        dim: dimension of the channels: 1 after a convolution, -1 after a linear layer.
        gain: factor of the result, of any sign.
        clamp: largest magnitude of the result, as in :func:`fastgan.bias_act`; None: no bound.

    Returns:
        A tensor like ``input``, in its memory order. Under autocast a bias of another dtype is cast to the
        input's dtype, as the preceding convolution would do.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes differ outside autocast.
        ValueError: shapes do not fit, devices differ, ``negative_slope`` is negative, ``gain`` is not finite,
            or ``clamp`` is negative or nan.
        IndexError: ``dim`` is out of range.
    """
    check_tensor(input, "input")
    check_negative_slope(negative_slope)
    check_gain(gain, clamp)
    return activated(input, bias, act_of("lrelu", negative_slope, gain, clamp, input.dtype), dim)
