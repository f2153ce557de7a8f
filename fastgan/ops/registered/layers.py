"""Operators of layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.acts import FORMS, Act
from fastgan.kernels.native import compute_dtype
from fastgan.ops.arguments import (
    check_bias,
    check_eps,
    check_finite,
    check_gain,
    check_linear,
    check_negative_slope,
    check_of_channels,
    check_same_shape,
    check_several_values,
    check_tensor,
)
from fastgan.ops.registered.registration import register
from fastgan.ops.registered.shapes import (
    all_grads,
    all_grads_fake,
    check_channels,
    check_dim,
    fake_like,
    in_order_of,
)

_ACT = "str form, float alpha, float gain, float clamp"


def _check_act(
    tensor: Tensor,
    name: str,
    bias: Tensor | None,
    form: str,
    alpha: float,
    gain: float,
    clamp: float,
    dim: int,
) -> None:
    check_tensor(tensor, name)
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(map(repr, FORMS))}, but is {form!r}")
    check_negative_slope(alpha, "alpha")
    check_gain(gain, clamp)
    check_dim(tensor, dim)
    check_bias(bias, tensor.shape[dim], tensor, like_name=name)


def _check_bias_act(input: Tensor, *call: Any) -> None:
    _check_act(input, "input", *call)


def _check_bias_act_backward(grad: Tensor, saved: Tensor, *call: Any) -> None:
    _check_act(saved, "saved", *call[:-1])
    check_same_shape(grad, "grad", saved, "saved")


def _check_bias_act_curvature(cotangent: Tensor, grad: Tensor, saved: Tensor, *call: Any) -> None:
    _check_bias_act_backward(grad, saved, *call)
    check_same_shape(cotangent, "cotangent", saved, "saved")


def _bias_act(input: Tensor, bias: Tensor | None, *call: Any) -> Tensor:
    *act, dim = call
    return in_order_of(input, dim, choose(input).bias_act(input, bias, Act(*act), dim))


def _bias_act_backward(grad: Tensor, saved: Tensor, bias: Tensor | None, *call: Any) -> tuple[Tensor, Tensor]:
    *act, dim, with_bias = call
    masked = choose(saved).bias_act_backward(grad, saved, bias, Act(*act), dim, with_bias)
    return _with_sum(saved, dim, masked)


def _bias_act_curvature(
    cotangent: Tensor, grad: Tensor, saved: Tensor, bias: Tensor | None, *call: Any
) -> tuple[Tensor, Tensor]:
    *act, dim, with_bias = call
    curved = choose(saved).bias_act_curvature(cotangent, grad, saved, bias, Act(*act), dim, with_bias)
    return _with_sum(saved, dim, curved)


def _with_sum(saved: Tensor, dim: int, grads: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
    return in_order_of(saved, dim, grads[0]), saved.new_empty(0) if grads[1] is None else grads[1]


def _with_sum_fake(saved: Tensor, *call: Any) -> tuple[Tensor, Tensor]:
    *_, dim, with_bias = call
    return fake_like(saved, dim), saved.new_empty(saved.shape[dim] if with_bias else 0)


def _check_linear_leaky_relu(
    input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float, gain: float, clamp: float
) -> None:
    check_tensor(input, "input")
    check_negative_slope(negative_slope)
    check_gain(gain, clamp)
    if input.dim() != 2:
        raise ValueError(f"input must be [N, in_features], but has shape {tuple(input.shape)}")
    check_linear(input.shape, input, weight, bias)


def _check_batch_norm_statistics(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
) -> None:
    check_channels(input)
    check_several_values(input)
    check_of_channels(running_mean, "running_mean", input)
    check_of_channels(running_var, "running_var", input)
    check_finite(momentum, "momentum")


def _check_batch_norm(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    negative_slope: float,
) -> None:
    check_channels(input)
    for name, each in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        check_of_channels(each, name, input)
    check_eps(eps)
    check_negative_slope(negative_slope)


def _check_batch_norm_backward(grad: Tensor, input: Tensor, *call: Any) -> None:
    _check_batch_norm(input, *call[:6])
    check_same_shape(grad, "grad", input, "input")


def _batch_norm_statistics_fake(input: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    dtype = compute_dtype(input.dtype)
    return input.new_empty(input.shape[1], dtype=dtype), input.new_empty(input.shape[1], dtype=dtype)


def _batch_norm_backward(grad: Tensor, input: Tensor, *call: Any) -> tuple[Tensor, ...]:
    mean, var, weight, bias, eps, negative_slope, training, *needs = call
    grads = choose(input).batch_norm_leaky_relu_backward(
        grad, input, mean, var, weight, bias, eps, negative_slope, training, (needs[0], needs[1], needs[2])
    )
    return all_grads(input, grads)


register(
    "batch_norm_statistics(Tensor input, Tensor(a!)? running_mean, Tensor(b!)? running_var, float momentum) "
    "-> (Tensor, Tensor)",
    _check_batch_norm_statistics,
    lambda input, *call: choose(input).batch_norm_statistics(input, *call),
    _batch_norm_statistics_fake,
)
register(
    "batch_norm_leaky_relu(Tensor input, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, float eps, "
    "float negative_slope) -> Tensor",
    _check_batch_norm,
    lambda input, *call: in_order_of(input, 1, choose(input).batch_norm_leaky_relu(input, *call)),
    lambda input, *_: fake_like(input, 1),
)
register(
    "batch_norm_leaky_relu_backward(Tensor grad, Tensor input, Tensor mean, Tensor var, Tensor? weight, "
    "Tensor? bias, float eps, float negative_slope, bool training, bool with_input, bool with_weight, "
    "bool with_bias) -> (Tensor, Tensor, Tensor)",
    _check_batch_norm_backward,
    _batch_norm_backward,
    lambda _, input, *call: all_grads_fake(input, call[2:4], call[-3:]),
)
register(
    f"bias_act(Tensor input, Tensor? bias, {_ACT}, int dim) -> Tensor",
    _check_bias_act,
    _bias_act,
    lambda input, *call: fake_like(input, call[-1]),
)
register(
    f"bias_act_backward(Tensor grad, Tensor saved, Tensor? bias, {_ACT}, int dim, bool with_bias) "
    "-> (Tensor, Tensor)",
    _check_bias_act_backward,
    _bias_act_backward,
    lambda _, saved, *call: _with_sum_fake(saved, *call),
)
register(
    f"bias_act_curvature(Tensor cotangent, Tensor grad, Tensor saved, Tensor? bias, {_ACT}, int dim, "
    "bool with_bias) -> (Tensor, Tensor)",
    _check_bias_act_curvature,
    _bias_act_curvature,
    lambda _, __, saved, *call: _with_sum_fake(saved, *call),
)
register(
    "linear_leaky_relu(Tensor input, Tensor weight, Tensor? bias, float negative_slope, float gain, "
    "float clamp) -> Tensor",
    _check_linear_leaky_relu,
    lambda input, weight, bias, *act: choose(input).linear_leaky_relu(
        input, weight, bias, Act("leaky", *act)
    ),
    lambda input, weight, *_: input.new_empty(input.shape[0], weight.shape[0]),
)
