"""Batch norm + leaky ReLU: one pass for the statistics, one that normalizes and activates."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels import Reference, reference
from fastgan.ops.arguments import (
    check_eps,
    check_finite,
    check_negative_slope,
    check_of_channels,
    check_several_values,
    check_tensor,
)
from fastgan.ops.routing import Function, apply, backend_for, route, wants_graph


def batch_norm_leaky_relu(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    negative_slope: float = 0.2,
) -> Tensor:
    """``leaky_relu(F.batch_norm(input, ...))`` with channels along dimension 1 (Ioffe and Szegedy, 2015).

    Only ``input`` and numbers for each channel are saved for backward, which computes the sign of the
    normalized values again. PyTorch's pair also saves these values.

    Args:
        input: at least two dimensions. Copied unless contiguous or channels_last.
        running_mean, running_var: ``[input.shape[1]]``. Used for normalization unless ``training``, and
            updated in place in training, where both may be None.
        weight, bias: ``[input.shape[1]]``, or None for 1 and 0.
        training: normalize by mean and variance of ``input``.
        momentum: weight of the batch in the update of the running statistics.
        eps: added to the variance.
        negative_slope: slope at and below zero, not negative; 0 for a ReLU.

    Returns:
        A tensor like ``input``, in its memory order, or contiguous if it has three dimensions. Weight, bias
        and running statistics of a float16 or bfloat16 input may be float32.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes do not fit.
        ValueError: shapes do not fit, devices differ, statistics are missing, or a channel has a single value
            in training; ``negative_slope`` or ``eps`` is negative, or ``eps`` is 0 in training.
    """
    check_tensor(input, "input")
    if input.dim() < 2:
        raise ValueError(f"input must be [N, channels, ...], but has shape {tuple(input.shape)}")
    check_negative_slope(negative_slope)
    check_finite(momentum, "momentum")
    check_eps(eps)
    for name, each in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        check_of_channels(each, name, input)
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise ValueError(f"{missing} is None, but the other running statistic is not; pass both or neither")
    if training:
        check_several_values(input)
        if eps == 0:  # newer versions of PyTorch refuse it
            raise ValueError("eps must be positive in training, but is 0")
    elif running_mean is None:
        raise ValueError("running_mean and running_var may be None only in training; pass both")
    if input.dim() == 3:
        input = input.contiguous()  # PyTorch's result is, whatever the strides of a sequence
    backend, is_wired = route(input, weight, bias, running_mean, running_var)
    writes = training and running_mean is not None
    if backend is reference and (writes or not torch._C._are_functorch_transforms_active()):
        # PyTorch's pair: fewer passes than the reference, and exporters know it. In a transform only its
        # operator may write into tensors from outside, but Dynamo cannot compile its forward-mode derivative.
        normalized = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        return F.leaky_relu(normalized, negative_slope)
    mean, var = running_mean, running_var
    if training:
        batch = input.detach() if is_wired else input
        mean, var = backend.batch_norm_statistics(batch, running_mean, running_var, momentum)
    assert mean is not None
    assert var is not None
    if is_wired:
        if not training:  # a later batch may move the running statistics before the backward pass
            mean, var = mean.clone(), var.clone()
        arguments = input, mean, var, weight, bias, eps, negative_slope, training
        output: Tensor = apply(BatchNormLeakyReLU, backend, *arguments)
        return output
    return backend.batch_norm_leaky_relu(input, mean, var, weight, bias, eps, negative_slope)


class BatchNormLeakyReLU(Function):
    """(input, mean, var, weight, bias) -> the output. In training, mean and var are functions of input."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        training: bool,
    ) -> Tensor:
        ctx.save_for_backward(input, mean, var, weight, bias)
        ctx.call = backend, eps, negative_slope, training
        return backend.batch_norm_leaky_relu(input, mean, var, weight, bias, eps, negative_slope)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, mean, var, weight, bias = ctx.saved_tensors
        backend, eps, negative_slope, training = ctx.call
        backend = backend_for(backend, grad)
        if training and wants_graph():  # the second derivative needs the graph from input to mean and var
            mean, var = backend.batch_norm_statistics(input, None, None, 0.0)
        needed = ctx.needs_input_grad
        needs = needed[1], needed[4], needed[5]
        dx, dweight, dbias = backend.batch_norm_leaky_relu_backward(
            grad, input, mean, var, weight, bias, eps, negative_slope, training, needs
        )
        return None, dx, None, None, dweight, dbias, None, None, None
