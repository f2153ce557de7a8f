"""Kernels as torch.library operators, for use outside plain eager PyTorch.

:data:`registered` is a backend whose methods call these operators. torch.compile, fake tensors, dispatch
modes and tensor subclasses see an opaque operator with a shape function for each overridden method, and plain
PyTorch for inherited ones. As for every backend, the autograd Functions of this package define the gradients.
PyTorch does not support second derivatives through a compiled function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fastgan.kernels import Reference, choose
from fastgan.kernels.acts import FORMS, Act
from fastgan.kernels.counters import in_operator
from fastgan.kernels.logit_losses import NUMBERS, LossSpec
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.opaque import opaque
from fastgan.kernels.reference import Pair, Tensors
from fastgan.kernels.reference_snake import Grads, Needs, Scale
from fastgan.kernels.reference_upfirdn import Resampling, taps_of
from fastgan.kernels.sizes import check_spec
from fastgan.kernels.spans import Spans
from fastgan.ops.arguments import (
    DTYPES,
    check_bias,
    check_conditions,
    check_eps,
    check_filter,
    check_finite,
    check_gain,
    check_image_filter,
    check_images,
    check_like,
    check_linear,
    check_negative_slope,
    check_of_channels,
    check_room,
    check_same_shape,
    check_scale,
    check_several_values,
    check_signal,
    check_span_input,
    check_tensor,
)

_library = torch.library.Library("fastgan", "DEF")
_ops = torch.ops.fastgan
OPERATORS: list[str] = []
_ACT = "str form, float alpha, float gain, float clamp"
_SPEC = "str loss, float[] labels, float[] weights, bool mean"


class Registered(Reference, takes_addresses=False):
    """Calls the operators of this file."""

    name = "registered"

    def loss(
        self,
        logits: Tensors,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool = False,
        keep_grads: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        total, details = _ops.logit_loss(list(logits), *spec, dtype, detailed)
        return total, details if detailed else None, ()

    def loss_backward(self, grad: Tensor, logits: Tensors, spec: LossSpec, kept: Tensors = ()) -> Tensors:
        return tuple(_ops.logit_loss_backward(grad, list(logits), *spec))

    def loss_terms(self, logits: Tensor, loss: str, label: float, weight: float) -> Tensor:
        terms: Tensor = _ops.logit_loss_terms(logits, loss, label, weight)
        return terms

    def loss_terms_backward(
        self, grad: Tensor, logits: Tensor, loss: str, label: float, weight: float
    ) -> Tensor:
        slopes: Tensor = _ops.logit_loss_terms_backward(grad, logits, loss, label, weight)
        return slopes

    def l1_loss(
        self, x: Tensors, y: Tensors, weights: Sequence[float], mean: bool, dtype: torch.dtype
    ) -> Tensor:
        loss: Tensor = _ops.l1_loss(list(x), list(y), list(weights), mean, dtype)
        return loss

    def l1_loss_backward(
        self,
        grad: Tensor,
        x: Tensors,
        y: Tensors,
        weights: Sequence[float],
        mean: bool,
        needs: tuple[bool, bool],
    ) -> tuple[Tensors, Tensors]:
        grads = tuple(_ops.l1_loss_backward(grad, list(x), list(y), list(weights), mean, *needs))
        return grads[: len(x) * needs[0]], grads[len(x) * needs[0] :]

    def l1_terms(self, x: Tensor, y: Tensor) -> Tensor:
        terms: Tensor = _ops.l1_terms(x, y)
        return terms

    def l1_terms_backward(self, grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, bool]) -> Pair:
        grads = _ops.l1_terms_backward(grad, x, y, *needs)
        return grads[0] if needs[0] else None, grads[1] if needs[1] else None

    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        output: Tensor = _ops.bias_act(input, bias, *act, dim)
        return output

    def bias_act_backward(
        self,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        masked, summed = _ops.bias_act_backward(grad, saved, bias, *act, dim, with_bias)
        if not with_bias:
            return masked, None
        return masked, summed if into is None else into.copy_(summed)

    def bias_act_curvature(
        self,
        cotangent: Tensor,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
    ) -> tuple[Tensor, Tensor | None]:
        curved, summed = _ops.bias_act_curvature(cotangent, grad, saved, bias, *act, dim, with_bias)
        return curved, summed if with_bias else None

    def snake(self, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale) -> Tensor:
        output: Tensor = _ops.snake(input, alpha, beta, *scale)
        return output

    def snake_backward(
        self, grad: Tensor, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale, needs: Needs
    ) -> Grads:
        return _needed(_ops.snake_backward(grad, input, alpha, beta, *scale, *needs), needs)

    def anti_aliased_snake(
        self,
        input: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
    ) -> Tensor:
        output: Tensor = _ops.anti_aliased_snake(input, alpha, beta, up_filter, down_filter, *scale)
        return output

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
        call = input, alpha, beta, up_filter, down_filter
        return _needed(_ops.anti_aliased_snake_backward(grad, *call, *scale, *needs), needs)

    def batch_norm_statistics(
        self, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
    ) -> tuple[Tensor, Tensor]:
        mean, var = _ops.batch_norm_statistics(input, running_mean, running_var, momentum)
        return mean, var

    def batch_norm_leaky_relu(
        self,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        into: Tensor | None = None,
    ) -> Tensor:
        output: Tensor = _ops.batch_norm_leaky_relu(input, mean, var, weight, bias, eps, negative_slope)
        return output if into is None else into.copy_(output)

    def batch_norm_leaky_relu_backward(
        self,
        grad: Tensor,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        training: bool,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        call = mean, var, weight, bias, eps, negative_slope, training
        return _needed(_ops.batch_norm_leaky_relu_backward(grad, input, *call, *needs), needs)

    def linear_leaky_relu(self, input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
        output: Tensor = _ops.linear_leaky_relu(input, weight, bias, act.alpha, act.gain, act.clamp)
        return output

    def upfirdn2d(self, input: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
        output: Tensor = _ops.upfirdn2d(input, filter, *resampling)
        return output

    def spectral_norm(
        self, weights: Tensors, u: Tensors, v: Tensors, eps: float, iterations: int, columns_first: bool
    ) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        *tensors, sigma = _ops.spectral_norm(list(weights), list(u), list(v), eps, iterations, columns_first)
        count = len(weights)
        if iterations:
            u, v = tuple(tensors[count : 2 * count]), tuple(tensors[2 * count :])
        return tuple(tensors[:count]), u, v, sigma

    def spectral_norm_backward(
        self, grads: Tensors, weights: Tensors, u: Tensors, v: Tensors, sigma: Tensor
    ) -> Tensors:
        return tuple(_ops.spectral_norm_backward(list(grads), list(weights), list(u), list(v), sigma))

    def span_activations(
        self,
        input: Tensor,
        spans: Spans,
        noise: Tensor | None,
        temperature: float,
        conditions: Tensor | None,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        call = spans.sizes, spans.conditions, noise, temperature, conditions
        output, entropy = _ops.span_activations(input, *call)
        return output if into is None else into.copy_(output), None if conditions is None else entropy

    def span_activations_backward(
        self,
        grad: Tensor,
        grad_entropy: Tensor | None,
        input: Tensor | None,
        output: Tensor,
        spans: Spans,
        temperature: float,
        conditions: Tensor | None,
    ) -> Tensor:
        call = spans.sizes, spans.conditions, temperature, conditions
        dx: Tensor = _ops.span_activations_backward(grad, grad_entropy, input, output, *call)
        return dx


registered = Registered()


def _needed(grads: Sequence[Tensor], needs: Needs) -> Grads:
    """The results of an operator that returns an empty tensor for a gradient that is not needed."""
    first, second, third = (each if need else None for each, need in zip(grads, needs, strict=True))
    return first, second, third


def _plain(tensor: Tensor) -> Tensor:
    """Unwrap a tensor subclass without its own dispatch; it reaches the operator unchanged."""
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def _register(
    schema: str, check: Callable[..., None], kernel: Callable[..., Any], fake: Callable[..., Any]
) -> None:
    """Define an operator by its schema, argument check, implementation and shape function."""
    name = schema.split("(")[0]
    OPERATORS.append(name)
    _library.define(schema)

    @opaque
    def on_plain_tensors(*arguments: Any) -> Any:
        arguments = tree_map_only(Tensor, _plain, arguments)
        check(*arguments)
        with in_operator():
            return kernel(*arguments)

    def on_fake_tensors(*arguments: Any) -> Any:
        check(*arguments)
        return fake(*arguments)

    _library.impl(name, on_plain_tensors, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fastgan::{name}", on_fake_tensors, lib=_library)


def _contiguous_like(tensor: Tensor) -> Tensor:
    return tensor.new_empty(tensor.shape)


# --- losses on logits


def _check_logits(
    logits: list[Tensor], loss: str, labels: list[float], weights: list[float], mean: bool, *_: Any
) -> None:
    check_spec(logits, LossSpec(loss, tuple(labels), tuple(weights), mean), "logits")
    check_tensor(logits[0], "logits[0]")
    for i, (t, label, weight) in enumerate(zip(logits, labels, weights, strict=True)):
        check_like(t, f"logits[{i}]", logits[0], "logits[0]")
        check_finite(label, f"labels[{i}]")
        check_finite(weight, f"weights[{i}]")
    _check_kernel(loss)


def _check_kernel(loss: str) -> None:
    """Check that a loss has kernels of its own; the functions in ops compute the others through these."""
    if loss not in NUMBERS:
        raise ValueError(f"loss must be one of {', '.join(map(repr, NUMBERS))}, but is {loss!r}")


def _check_scalar(grad: Tensor, like: Tensor) -> None:
    check_scale(grad, like, "grad")
    if grad.dim():
        raise ValueError(f"grad must have no dimensions, but has shape {tuple(grad.shape)}")


def _check_result_dtype(dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        raise TypeError(f"dtype must be float32, bfloat16, float16 or float64, but is {dtype}")


def _check_loss(
    logits: list[Tensor],
    loss: str,
    labels: list[float],
    weights: list[float],
    mean: bool,
    dtype: torch.dtype,
    _: bool,
) -> None:
    _check_logits(logits, loss, labels, weights, mean)
    _check_result_dtype(dtype)


def _loss(
    logits: list[Tensor],
    loss: str,
    labels: list[float],
    weights: list[float],
    mean: bool,
    dtype: torch.dtype,
    detailed: bool,
) -> tuple[Tensor, Tensor]:
    spec = LossSpec(loss, tuple(labels), tuple(weights), mean)
    total, details, _ = choose(logits[0]).loss(tuple(logits), spec, dtype, detailed)
    return total, _details(logits, detailed) if details is None else details


def _details(logits: list[Tensor], detailed: bool) -> Tensor:
    dtype = torch.float64 if logits[0].dtype is torch.float64 else torch.float32
    return logits[0].new_empty(2 * len(logits) + 1 if detailed else 0, dtype=dtype)


def _check_loss_backward(grad: Tensor, logits: list[Tensor], *spec: Any) -> None:
    _check_logits(logits, *spec)
    _check_scalar(grad, logits[0])


def _loss_backward(
    grad: Tensor, logits: list[Tensor], loss: str, labels: list[float], weights: list[float], mean: bool
) -> list[Tensor]:
    spec = LossSpec(loss, tuple(labels), tuple(weights), mean)
    return [each.contiguous() for each in choose(grad).loss_backward(grad, tuple(logits), spec)]


def _check_terms(logits: Tensor, loss: str, label: float, weight: float) -> None:
    check_tensor(logits, "logits")
    _check_kernel(loss)
    check_finite(label, "label")
    check_finite(weight, "weight")


def _check_terms_backward(grad: Tensor, logits: Tensor, *call: Any) -> None:
    _check_terms(logits, *call)
    check_same_shape(grad, "grad", logits, "logits")


_register(
    f"logit_loss(Tensor[] logits, {_SPEC}, ScalarType dtype, bool detailed) -> (Tensor, Tensor)",
    _check_loss,
    _loss,
    lambda logits, *call: (logits[0].new_empty((), dtype=call[-2]), _details(logits, call[-1])),
)
_register(
    f"logit_loss_backward(Tensor grad, Tensor[] logits, {_SPEC}) -> Tensor[]",
    _check_loss_backward,
    _loss_backward,
    lambda _, logits, *__: [_contiguous_like(t) for t in logits],
)
_register(
    "logit_loss_terms(Tensor logits, str loss, float label, float weight) -> Tensor",
    _check_terms,
    lambda logits, *call: choose(logits).loss_terms(logits, *call).contiguous(),
    lambda logits, *_: _contiguous_like(logits),
)
_register(
    "logit_loss_terms_backward(Tensor grad, Tensor logits, str loss, float label, float weight) -> Tensor",
    _check_terms_backward,
    lambda grad, logits, *call: choose(logits).loss_terms_backward(grad, logits, *call).contiguous(),
    lambda _, logits, *__: _contiguous_like(logits),
)


# --- L1 distances of pairs of tensors


def _check_pair(x: Tensor, y: Tensor, index: str = "") -> None:
    check_tensor(x, f"x{index}")
    check_same_shape(y, f"y{index}", x, f"x{index}")


def _check_pairs(x: list[Tensor], y: list[Tensor], weights: list[float]) -> None:
    if not 0 < len(x) == len(y) == len(weights):
        raise ValueError(
            f"got {len(x)} and {len(y)} tensors with {len(weights)} weights, expected as many of each, and "
            "at least one"
        )
    for i, (a, b, weight) in enumerate(zip(x, y, weights, strict=True)):
        check_like(a, f"x[{i}]", x[0], "x[0]")
        _check_pair(a, b, f"[{i}]")
        check_finite(weight, f"weights[{i}]")


def _check_l1_loss(
    x: list[Tensor], y: list[Tensor], weights: list[float], _: bool, dtype: torch.dtype
) -> None:
    _check_pairs(x, y, weights)
    _check_result_dtype(dtype)


def _check_l1_loss_backward(
    grad: Tensor, x: list[Tensor], y: list[Tensor], weights: list[float], *_: Any
) -> None:
    _check_pairs(x, y, weights)
    _check_scalar(grad, x[0])


def _l1_loss_backward(
    grad: Tensor, x: list[Tensor], y: list[Tensor], weights: list[float], mean: bool, *needs: bool
) -> list[Tensor]:
    dx, dy = choose(x[0]).l1_loss_backward(
        grad, tuple(x), tuple(y), tuple(weights), mean, (needs[0], needs[1])
    )
    return [t.contiguous() for t in dx + dy]


def _check_l1_terms_backward(grad: Tensor, x: Tensor, y: Tensor, *_: bool) -> None:
    _check_pair(x, y)
    check_same_shape(grad, "grad", x, "x")


def _l1_terms_backward(grad: Tensor, x: Tensor, y: Tensor, *needs: bool) -> tuple[Tensor, ...]:
    grads = choose(x).l1_terms_backward(grad, x, y, (needs[0], needs[1]))
    return tuple(x.new_empty(0) if each is None else each.contiguous() for each in grads)


_register(
    "l1_loss(Tensor[] x, Tensor[] y, float[] weights, bool mean, ScalarType dtype) -> Tensor",
    _check_l1_loss,
    lambda x, y, weights, *call: choose(x[0]).l1_loss(tuple(x), tuple(y), tuple(weights), *call),
    lambda x, _, __, ___, dtype: x[0].new_empty((), dtype=dtype),
)
_register(
    "l1_loss_backward(Tensor grad, Tensor[] x, Tensor[] y, float[] weights, bool mean, bool with_x, "
    "bool with_y) -> Tensor[]",
    _check_l1_loss_backward,
    _l1_loss_backward,
    lambda _, x, __, ___, ____, *needs: [_contiguous_like(t) for t in x * sum(needs)],
)
_register(
    "l1_terms(Tensor x, Tensor y) -> Tensor",
    _check_pair,
    lambda x, y: choose(x).l1_terms(x, y).contiguous(),
    lambda x, _: _contiguous_like(x),
)
_register(
    "l1_terms_backward(Tensor grad, Tensor x, Tensor y, bool with_x, bool with_y) -> (Tensor, Tensor)",
    _check_l1_terms_backward,
    _l1_terms_backward,
    lambda _, x, __, *needs: tuple(x.new_empty(x.shape if n else 0) for n in needs),
)


# --- layers


def _check_dim(tensor: Tensor, dim: int) -> None:
    if not 0 <= dim < tensor.dim():
        raise IndexError(f"dim must be one of the {tensor.dim()} dimensions, from 0 on, but is {dim}")


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
    _check_dim(tensor, dim)
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
    return _in_order_of(input, dim, choose(input).bias_act(input, bias, Act(*act), dim))


def _fake_like(input: Tensor, dim: int) -> Tensor:
    return torch.empty_like(input) if _is_channels_last(input, dim) else _contiguous_like(input)


def _is_channels_last(tensor: Tensor, dim: int) -> bool:
    return not tensor.is_contiguous() and tensor.movedim(dim, -1).is_contiguous()


def _in_order_of(like: Tensor, dim: int, result: Tensor) -> Tensor:
    if not _is_channels_last(like, dim):
        return result.contiguous()
    return result if result.stride() == like.stride() else torch.empty_like(like).copy_(result)


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
    return _in_order_of(saved, dim, grads[0]), saved.new_empty(0) if grads[1] is None else grads[1]


def _with_sum_fake(saved: Tensor, *call: Any) -> tuple[Tensor, Tensor]:
    *_, dim, with_bias = call
    return _fake_like(saved, dim), saved.new_empty(saved.shape[dim] if with_bias else 0)


def _check_linear_leaky_relu(
    input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float, gain: float, clamp: float
) -> None:
    check_tensor(input, "input")
    check_negative_slope(negative_slope)
    check_gain(gain, clamp)
    if input.dim() != 2:
        raise ValueError(f"input must be [N, in_features], but has shape {tuple(input.shape)}")
    check_linear(input.shape, input, weight, bias)


def _check_channels(input: Tensor) -> None:
    check_tensor(input, "input")
    _check_dim(input, 1)


def _check_batch_norm_statistics(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
) -> None:
    _check_channels(input)
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
    _check_channels(input)
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
    return _grads(input, grads)


def _grads(input: Tensor, grads: Grads) -> tuple[Tensor, ...]:
    """Gradients of an input and of two numbers for each channel, for an operator."""
    dx, *others = grads
    dx = None if dx is None else _in_order_of(input, 1, dx)
    return tuple(input.new_empty(0) if each is None else each for each in (dx, *others))


def _grads_fake(input: Tensor, numbers: Sequence[Tensor | None], needs: Sequence[bool]) -> tuple[Tensor, ...]:
    dx, *others = (
        like.new_empty(like.shape) if need and like is not None else input.new_empty(0)
        for like, need in zip((input, *numbers), needs, strict=True)
    )
    return _fake_like(input, 1) if needs[0] else dx, *others


_register(
    "batch_norm_statistics(Tensor input, Tensor(a!)? running_mean, Tensor(b!)? running_var, float momentum) "
    "-> (Tensor, Tensor)",
    _check_batch_norm_statistics,
    lambda input, *call: choose(input).batch_norm_statistics(input, *call),
    _batch_norm_statistics_fake,
)
_register(
    "batch_norm_leaky_relu(Tensor input, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, float eps, "
    "float negative_slope) -> Tensor",
    _check_batch_norm,
    lambda input, *call: _in_order_of(input, 1, choose(input).batch_norm_leaky_relu(input, *call)),
    lambda input, *_: _fake_like(input, 1),
)
_register(
    "batch_norm_leaky_relu_backward(Tensor grad, Tensor input, Tensor mean, Tensor var, Tensor? weight, "
    "Tensor? bias, float eps, float negative_slope, bool training, bool with_input, bool with_weight, "
    "bool with_bias) -> (Tensor, Tensor, Tensor)",
    _check_batch_norm_backward,
    _batch_norm_backward,
    lambda _, input, *call: _grads_fake(input, call[2:4], call[-3:]),
)
_register(
    f"bias_act(Tensor input, Tensor? bias, {_ACT}, int dim) -> Tensor",
    _check_bias_act,
    _bias_act,
    lambda input, *call: _fake_like(input, call[-1]),
)
_register(
    f"bias_act_backward(Tensor grad, Tensor saved, Tensor? bias, {_ACT}, int dim, bool with_bias) "
    "-> (Tensor, Tensor)",
    _check_bias_act_backward,
    _bias_act_backward,
    lambda _, saved, *call: _with_sum_fake(saved, *call),
)
_register(
    f"bias_act_curvature(Tensor cotangent, Tensor grad, Tensor saved, Tensor? bias, {_ACT}, int dim, "
    "bool with_bias) -> (Tensor, Tensor)",
    _check_bias_act_curvature,
    _bias_act_curvature,
    lambda _, __, saved, *call: _with_sum_fake(saved, *call),
)
_register(
    "linear_leaky_relu(Tensor input, Tensor weight, Tensor? bias, float negative_slope, float gain, "
    "float clamp) -> Tensor",
    _check_linear_leaky_relu,
    lambda input, weight, bias, *act: choose(input).linear_leaky_relu(
        input, weight, bias, Act("leaky", *act)
    ),
    lambda input, weight, *_: input.new_empty(input.shape[0], weight.shape[0]),
)


# --- Snake


def _check_snake(input: Tensor, alpha: Tensor, beta: Tensor | None, log_scale: bool, eps: float) -> None:
    _check_channels(input)
    for name, each in (("alpha", alpha), ("beta", beta)):
        check_of_channels(each, name, input)
    check_eps(eps)


def _check_snake_backward(grad: Tensor, input: Tensor, *call: Any) -> None:
    _check_snake(input, *call[:4])
    check_same_shape(grad, "grad", input, "input")


def _check_anti_aliased_snake(
    input: Tensor, alpha: Tensor, beta: Tensor | None, up: Tensor, down: Tensor, log_scale: bool, eps: float
) -> None:
    _check_snake(input, alpha, beta, log_scale, eps)
    check_signal(input, "input")
    check_filter(up, "up_filter", input, "input")
    check_filter(down, "down_filter", input, "input")


def _check_anti_aliased_snake_backward(grad: Tensor, input: Tensor, *call: Any) -> None:
    _check_anti_aliased_snake(input, *call[:6])
    check_same_shape(grad, "grad", input, "input")


_OF_SNAKE = "Tensor input, Tensor alpha, Tensor? beta"
_FILTERS = "Tensor up_filter, Tensor down_filter"
_SCALE = "bool log_scale, float eps"
_NEEDS = "bool with_input, bool with_alpha, bool with_beta"
_register(
    f"snake({_OF_SNAKE}, {_SCALE}) -> Tensor",
    _check_snake,
    lambda input, alpha, beta, *scale: _in_order_of(
        input, 1, choose(input).snake(input, alpha, beta, Scale(*scale))
    ),
    lambda input, *_: _fake_like(input, 1),
)
_register(
    f"snake_backward(Tensor grad, {_OF_SNAKE}, {_SCALE}, {_NEEDS}) -> (Tensor, Tensor, Tensor)",
    _check_snake_backward,
    lambda grad, input, alpha, beta, log_scale, eps, *needs: _grads(
        input, choose(input).snake_backward(grad, input, alpha, beta, Scale(log_scale, eps), needs)
    ),
    lambda _, input, alpha, beta, *call: _grads_fake(input, (alpha, beta), call[-3:]),
)
_register(
    f"anti_aliased_snake({_OF_SNAKE}, {_FILTERS}, {_SCALE}) -> Tensor",
    _check_anti_aliased_snake,
    lambda input, alpha, beta, up, down, *scale: _in_order_of(
        input, 1, choose(input).anti_aliased_snake(input, alpha, beta, up, down, Scale(*scale))
    ),
    lambda input, *_: _fake_like(input, 1),
)
_register(
    f"anti_aliased_snake_backward(Tensor grad, {_OF_SNAKE}, {_FILTERS}, {_SCALE}, {_NEEDS}) "
    "-> (Tensor, Tensor, Tensor)",
    _check_anti_aliased_snake_backward,
    lambda grad, input, alpha, beta, up, down, log_scale, eps, *needs: _grads(
        input,
        choose(input).anti_aliased_snake_backward(
            grad, input, alpha, beta, up, down, Scale(log_scale, eps), needs
        ),
    ),
    lambda _, input, alpha, beta, *call: _grads_fake(input, (alpha, beta), call[-3:]),
)


# --- images


def _check_upfirdn2d(input: Tensor, filter: Tensor, *call: Any) -> None:
    check_images(input, "input")
    check_image_filter(filter, "filter", input, "input")
    if input.dtype is torch.float64:
        check_like(filter, "filter", input, "input")
    resampling = Resampling(*call)
    for name, pair in (("up", resampling.up), ("down", resampling.down)):
        if len(pair) != 2 or min(pair) < 1:
            raise ValueError(f"{name} must be two numbers of at least 1, for x and y, but is {list(pair)}")
    if len(resampling.padding) != 4:
        raise ValueError(
            f"padding must be four numbers: left, right, top, bottom, but is {list(resampling.padding)}"
        )
    check_finite(resampling.gain, "gain")
    check_room(input, filter, resampling)


def _upfirdn2d(input: Tensor, filter: Tensor, *call: Any) -> Tensor:
    output = choose(input).upfirdn2d(input, filter, _resampling(*call))
    return output.contiguous(memory_format=_format_of(input))


def _upfirdn2d_fake(input: Tensor, filter: Tensor, *call: Any) -> Tensor:
    samples, channels, height, width = input.shape
    shape = (samples, channels, *_resampling(*call).size(height, width, taps_of(filter)))
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=_format_of(input))


def _resampling(up: list[int], down: list[int], padding: list[int], flip: bool, gain: float) -> Resampling:
    left, right, top, bottom = padding
    return Resampling((up[0], up[1]), (down[0], down[1]), (left, right, top, bottom), flip, gain)


def _format_of(input: Tensor) -> torch.memory_format:
    return torch.channels_last if _is_channels_last(input, 1) else torch.contiguous_format


_register(
    "upfirdn2d(Tensor input, Tensor filter, int[] up, int[] down, SymInt[] padding, bool flip_filter, "
    "float gain) -> Tensor",
    _check_upfirdn2d,
    _upfirdn2d,
    _upfirdn2d_fake,
)


# --- spectral norms


def _check_matrices(weights: list[Tensor], u: list[Tensor], v: list[Tensor]) -> None:
    if not 0 < len(weights) == len(u) == len(v):
        raise ValueError(
            f"got {len(weights)} weights with {len(u)} vectors u and {len(v)} vectors v, expected as many of "
            "each, and at least one"
        )
    for i, (w, a, b) in enumerate(zip(weights, u, v, strict=True)):
        check_like(w, f"weights[{i}]", weights[0], "weights[0]")
        check_like(a, f"u[{i}]", w, f"weights[{i}]")
        check_like(b, f"v[{i}]", w, f"weights[{i}]")
        if w.dim() != 2 or w.numel() == 0:
            raise ValueError(f"weights[{i}] must be a matrix with elements, but has shape {tuple(w.shape)}")
        if a.shape != w.shape[:1] or b.shape != w.shape[1:]:
            raise ValueError(
                f"u[{i}] and v[{i}] must have shapes {tuple(w.shape[:1])} and {tuple(w.shape[1:])}, but have "
                f"{tuple(a.shape)} and {tuple(b.shape)}"
            )


def _check_spectral_norm(
    weights: list[Tensor], u: list[Tensor], v: list[Tensor], eps: float, iterations: int, _: bool
) -> None:
    _check_matrices(weights, u, v)
    check_eps(eps)
    if iterations < 0:
        raise ValueError(f"iterations must not be negative, but is {iterations}")


def _spectral_norm(
    weights: list[Tensor], u: list[Tensor], v: list[Tensor], eps: float, iterations: int, columns_first: bool
) -> list[Tensor]:
    scaled, new_u, new_v, sigma = choose(weights[0]).spectral_norm(
        tuple(weights), tuple(u), tuple(v), eps, iterations, columns_first
    )
    # without iterations the vectors are the inputs, which an operator must not return
    vectors = [t.clone() for t in new_u + new_v] if iterations else []
    return [*(t.contiguous() for t in scaled), *vectors, sigma]


def _spectral_norm_fake(
    weights: list[Tensor], u: list[Tensor], v: list[Tensor], eps: float, iterations: int, _: bool
) -> list[Tensor]:
    return [*map(_contiguous_like, [*weights, *u, *v] if iterations else weights), _sigma_for(weights)]


def _sigma_for(weights: list[Tensor]) -> Tensor:
    dtype = torch.float64 if weights[0].dtype is torch.float64 else torch.float32
    return weights[0].new_empty(len(weights), dtype=dtype)


def _check_spectral_norm_backward(
    grads: list[Tensor], weights: list[Tensor], u: list[Tensor], v: list[Tensor], sigma: Tensor
) -> None:
    _check_matrices(weights, u, v)
    if len(grads) != len(weights):
        raise ValueError(f"got {len(grads)} gradients of {len(weights)} weights, expected as many")
    for i, (grad, w) in enumerate(zip(grads, weights, strict=True)):
        check_same_shape(grad, f"grads[{i}]", w, f"weights[{i}]")
    check_same_shape(sigma, "sigma", _sigma_for(weights), "the sigma of the forward pass")


_register(
    "spectral_norm(Tensor[] weights, Tensor[] u, Tensor[] v, float eps, int iterations, bool columns_first) "
    "-> Tensor[]",
    _check_spectral_norm,
    _spectral_norm,
    _spectral_norm_fake,
)
_register(
    "spectral_norm_backward(Tensor[] grads, Tensor[] weights, Tensor[] u, Tensor[] v, Tensor sigma) "
    "-> Tensor[]",
    _check_spectral_norm_backward,
    lambda grads, weights, u, v, sigma: [
        t.contiguous()
        for t in choose(weights[0]).spectral_norm_backward(
            tuple(grads), tuple(weights), tuple(u), tuple(v), sigma
        )
    ],
    lambda _, weights, *__: [_contiguous_like(w) for w in weights],
)


# --- the output layer of a generator of tables


def _check_spans(
    input: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    noise: Tensor | None,
    temperature: float,
    conditions: Tensor | None,
) -> None:
    spans = Spans(tuple(sizes), tuple(discrete))
    check_span_input(input, spans, noise, temperature)
    if conditions is not None:
        check_conditions(conditions, spans, input)


def _entropy_like(input: Tensor, conditions: Tensor | None) -> Tensor:
    return input.new_empty(() if conditions is not None else 0, dtype=compute_dtype(input.dtype))


def _span_activations(
    input: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    noise: Tensor | None,
    temperature: float,
    conditions: Tensor | None,
) -> tuple[Tensor, Tensor]:
    spans = Spans(tuple(sizes), tuple(discrete))
    output, entropy = choose(input).span_activations(input, spans, noise, temperature, conditions)
    return output.contiguous(), _entropy_like(input, None) if entropy is None else entropy


def _check_spans_backward(
    grad: Tensor,
    grad_entropy: Tensor | None,
    input: Tensor | None,
    output: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    temperature: float,
    conditions: Tensor | None,
) -> None:
    _check_spans(output, sizes, discrete, None, temperature, conditions)
    check_same_shape(grad, "grad", output, "output")
    if grad_entropy is not None:
        _check_scalar(grad_entropy, output)
        if input is None or conditions is None:
            missing = "input" if input is None else "conditions"
            raise ValueError(f"{missing} is None, but the gradient of the cross-entropy needs it")
        check_same_shape(input, "input", output, "output")


def _span_activations_backward(
    grad: Tensor,
    grad_entropy: Tensor | None,
    input: Tensor | None,
    output: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    temperature: float,
    conditions: Tensor | None,
) -> Tensor:
    spans = Spans(tuple(sizes), tuple(discrete))
    dx = choose(output).span_activations_backward(
        grad, grad_entropy, input, output, spans, temperature, conditions
    )
    return dx.contiguous()


_register(
    "span_activations(Tensor input, int[] sizes, int[] discrete, Tensor? noise, float temperature, "
    "Tensor? conditions) -> (Tensor, Tensor)",
    _check_spans,
    _span_activations,
    lambda input, *call: (_contiguous_like(input), _entropy_like(input, call[-1])),
)
_register(
    "span_activations_backward(Tensor grad, Tensor? grad_entropy, Tensor? input, Tensor output, int[] sizes, "
    "int[] discrete, float temperature, Tensor? conditions) -> Tensor",
    _check_spans_backward,
    _span_activations_backward,
    lambda grad, _, __, output, *___: _contiguous_like(output),
)
