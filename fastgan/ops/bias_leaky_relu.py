"""Bias + leaky ReLU in one pass, after a convolution or a matrix product."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.kernels import Reference
from fastgan.ops.arguments import check_bias, check_negative_slope, check_tensor
from fastgan.ops.routing import Function, apply, autocast_dtype, backend_for, route, wants_graph


def bias_leaky_relu(
    input: Tensor, bias: Tensor | None = None, negative_slope: float = 0.2, *, dim: int = 1
) -> Tensor:
    """``leaky_relu(input + bias)`` with the bias along one dimension (Maas et al. 2013).

    One pass forward, and one pass backward that also sums the bias gradient. Only the output is saved for
    backward: as the slope is not negative, the output has the sign of ``input + bias``.

    Args:
        input: any shape with at least one dimension. Copied unless contiguous or channels_last.
        bias: ``[input.shape[dim]]``, or None.
        negative_slope: slope at and below zero, not negative.
        dim: dimension of the channels: 1 after a convolution, -1 after a linear layer.

    Returns:
        A tensor like ``input``, in its memory order. Under autocast a bias of another dtype is cast to the
        input's dtype, as the preceding convolution would do.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes differ outside autocast.
        ValueError: shapes do not fit, devices differ, or ``negative_slope`` is negative.
        IndexError: ``dim`` is out of range.
    """
    check_tensor(input, "input")
    check_negative_slope(negative_slope)
    if not -input.dim() <= dim < input.dim():
        raise IndexError(f"dim {dim} is out of range for an input of {input.dim()} dimensions")
    dim %= input.dim()
    if isinstance(bias, Tensor) and bias.dtype is not input.dtype and autocast_dtype(input) is not None:
        bias = bias.to(input.dtype)
    check_bias(bias, input.shape[dim], input)
    backend, is_wired = route(input, bias)
    if is_wired:
        output: Tensor = apply(BiasLeakyReLU, backend, input, bias, negative_slope, dim)
        return output
    return backend.bias_leaky_relu(input, bias, negative_slope, dim)


class BiasLeakyReLU(Function):
    @staticmethod
    def forward(
        ctx: Any, backend: Reference, input: Tensor, bias: Tensor | None, negative_slope: float, dim: int
    ) -> Tensor:
        output = backend.bias_leaky_relu(input, bias, negative_slope, dim)
        ctx.save_for_backward(output)
        ctx.call = backend, negative_slope, dim
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (output,) = ctx.saved_tensors
        backend, *call = ctx.call
        arguments = (grad, output, *call, ctx.needs_input_grad[2])
        if wants_graph():
            grads = apply(BiasLeakyReLUGrad, backend, *arguments)
        else:
            grads = backend_for(backend, grad).bias_leaky_relu_backward(*arguments)
        return (None, *grads, None, None)


class BiasLeakyReLUGrad(Function):
    """(grad) -> (grad_input, grad_bias). Linear in grad: the mask is constant almost everywhere."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        grad: Tensor,
        output: Tensor,
        negative_slope: float,
        dim: int,
        with_bias: bool,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output)
        ctx.call = backend, negative_slope, dim
        return backend.bias_leaky_relu_backward(grad, output, negative_slope, dim, with_bias)

    @staticmethod
    def backward(ctx: Any, grad_input: Tensor | None, grad_bias: Tensor | None) -> tuple[Tensor | None, ...]:
        (output,) = ctx.saved_tensors
        backend, negative_slope, dim = ctx.call
        total = grad_input
        if grad_bias is not None:
            along = grad_bias.view([-1 if i == dim else 1 for i in range(output.dim())])
            total = along.expand_as(output) if total is None else total + along
        if total is None:
            return None, None, None, None, None, None
        masked, _ = backend.bias_leaky_relu_backward(total, output, negative_slope, dim, False)
        return None, masked, None, None, None, None
