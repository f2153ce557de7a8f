"""Bias, activation, gain and bound in one pass: StyleGAN's ``bias_act``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.acts import Act, act_of
from fastgan.ops.arguments import check_act, check_bias, check_gain, check_negative_slope, check_tensor
from fastgan.ops.registered import registered
from fastgan.ops.routing import Function, apply, autocast_dtype, backend_for, route, wants_graph


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """``clamp(gain * f(x + b))``, with the bias along one dimension (Karras et al. 2020).

    ===========  ====================================  =======
    ``act``      f(z)                                  gain
    ===========  ====================================  =======
    "linear"     z                                     1
    "relu"       max(z, 0)                             sqrt(2)
    "lrelu"      z if z > 0, else alpha z              sqrt(2)
    "tanh"       tanh(z)                               1
    "sigmoid"    1 / (1 + exp(-z))                     1
    "elu"        z if z > 0, else exp(z) - 1           1
    "selu"       1.0507 z if z > 0,                    1
                 else 1.7581 (exp(z) - 1)
    "softplus"   log(1 + exp(z))                       1
    "swish"      z / (1 + exp(-z))                     sqrt(2)
    ===========  ====================================  =======

    One pass forward, and one pass backward that also sums the bias gradient. Only the output is saved for
    backward, as the slope is a function of it; for "swish" ``x`` and ``b`` are, and for "linear" without a
    bound nothing. Twice differentiable, for gradient penalties.

    Args:
        x: any shape with at least one dimension. Copied unless contiguous or channels_last.
        b: ``[x.shape[dim]]``, or None.
        dim: dimension of the channels: 1 after a convolution, -1 after a linear layer.
        act: a function of the table.
        alpha: slope of "lrelu" at and below zero, not negative; 0.2 if None. Other functions ignore it.
        gain: factor of any sign; that of the table if None.
        clamp: largest magnitude of the result, rounded to the dtype of ``x``; no bound if None. The gradient
            is 0 where it is reached.

    Returns:
        A tensor like ``x``, in its memory order. Half types are computed in float32, and rounded once. Under
        autocast a bias of another dtype is cast to that of ``x``, as the preceding convolution would do.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes differ outside autocast.
        ValueError: ``act`` is unknown, shapes do not fit, devices differ, ``alpha`` is negative or not
            finite, ``gain`` is not finite, or ``clamp`` is negative or nan.
        IndexError: ``dim`` is out of range.
    """
    check_tensor(x, "x")
    check_act(act)
    if alpha is not None:
        check_negative_slope(alpha, "alpha")
    check_gain(1.0 if gain is None else gain, clamp)
    return activated(x, b, act_of(act, alpha, gain, clamp, x.dtype), dim, ("x", "b"))


def activated(
    input: Tensor, bias: Tensor | None, act: Act, dim: int, names: tuple[str, str] = ("input", "bias")
) -> Tensor:
    """Check the other arguments of an activation, and apply it."""
    if not -input.dim() <= dim < input.dim():
        raise IndexError(f"dim {dim} is out of range for an {names[0]} of {input.dim()} dimensions")
    dim %= input.dim()
    if isinstance(bias, Tensor) and bias.dtype is not input.dtype and autocast_dtype(input) is not None:
        bias = bias.to(input.dtype)
    check_bias(bias, input.shape[dim], input, names[1], names[0])
    backend, is_wired = route(input, bias)
    if not is_wired:
        return backend.bias_act(input, bias, act, dim)
    inputs: tuple[Tensor | None, Tensor | None] = None, None
    if act.saves_input:
        inputs = input, bias
    elif not act.is_piecewise_linear and backend is not registered:
        inputs = _stand_in(input), None if bias is None else _stand_in(bias)
    output: Tensor = apply(BiasAct, backend, input, bias, *inputs, act, dim)
    return output


class StandIn(Function):
    """A tensor without memory whose gradient is that of the argument."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.new_zeros(()).expand(tensor.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def _stand_in(tensor: Tensor) -> Tensor:
    stand_in: Tensor = StandIn.direct(tensor)
    return stand_in


class BiasAct(Function):
    """(input, bias) -> output.

    The backward pass of a curved function depends on input and bias, so it has gradients for both. Autograd
    takes them as those of ``of_input`` and ``of_bias``: the tensors themselves if they are saved, otherwise
    stand-ins.
    """

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        input: Tensor,
        bias: Tensor | None,
        of_input: Tensor | None,
        of_bias: Tensor | None,
        act: Act,
        dim: int,
    ) -> Tensor:
        output = backend.bias_act(input, bias, act, dim)
        saved = None if act.saves_nothing else input if act.saves_input else output
        ctx.save_for_backward(saved, of_input, of_bias)
        ctx.call = backend, act, dim
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved, *inputs = ctx.saved_tensors
        backend, act, dim = ctx.call
        with_bias = ctx.needs_input_grad[2]
        if wants_graph() and backend is not registered:
            grads = apply(BiasActGrad, backend, grad, saved, *inputs, act, dim, with_bias)
        else:
            backend = backend_for(backend, grad)
            grads = _backward(backend, grad, saved, inputs[1], act, dim, with_bias)
        return (None, *grads, None, None, None, None)


class BiasActGrad(Function):
    """(grad) -> (grad_input, grad_bias), linear in grad; the slope depends on input and bias."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        grad: Tensor,
        saved: Tensor | None,
        of_input: Tensor | None,
        of_bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(None if act.is_piecewise_linear else grad, saved, of_bias)
        ctx.call = backend, act, dim, grad.shape
        return _backward(backend, grad, saved, of_bias, act, dim, with_bias)

    @staticmethod
    def backward(ctx: Any, grad_input: Tensor | None, grad_bias: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, saved, of_bias = ctx.saved_tensors
        backend, act, dim, shape = ctx.call
        backend = backend_for(backend, grad_input, grad_bias)
        total = grad_input
        if grad_bias is not None:
            along = grad_bias.view([-1 if i == dim else 1 for i in range(len(shape))])
            total = along.expand(shape) if total is None else total + along
        if total is None:
            return (None,) * 8
        d_grad, _ = _backward(backend, total, saved, of_bias, act, dim, False)
        d_input = d_bias = None
        needs_input, needs_bias = ctx.needs_input_grad[3:5]
        if needs_input or needs_bias:
            bias = of_bias if act.saves_input else None
            d_input, d_bias = backend.bias_act_curvature(total, grad, saved, bias, act, dim, needs_bias)
        return None, d_grad, None, d_input, d_bias, None, None, None


def _backward(
    backend: Reference,
    grad: Tensor,
    saved: Tensor | None,
    of_bias: Tensor | None,
    act: Act,
    dim: int,
    with_bias: bool,
) -> tuple[Tensor, Tensor | None]:
    bias = of_bias if act.saves_input else None
    # a constant slope needs no tensor, but kernels read one
    return backend.bias_act_backward(grad, grad if saved is None else saved, bias, act, dim, with_bias)
