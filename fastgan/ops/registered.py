"""Each kernel once more as a torch.library operator, for everything that is not plain eager PyTorch.

torch.compile, export, fake tensors, dispatch modes and tensor subclasses see one opaque operator with
its shape function and its gradient. Second derivatives through a compiled function are refused by
PyTorch itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fastgan.kernels import choose, reference
from fastgan.kernels.counters import in_operator
from fastgan.kernels.opaque import opaque
from fastgan.kernels.sizes import check_pair
from fastgan.ops.arguments import (
    DTYPES,
    check_bias,
    check_finite,
    check_like,
    check_loss,
    check_negative_slope,
    check_same_shape,
    check_scale,
    check_tensor,
)
from fastgan.ops.linear_leaky_relu import check_linear

_library = torch.library.Library("fastgan", "DEF")
_ops = torch.ops.fastgan

_SCHEMAS = (
    "logit_loss(Tensor[] logits, float[] labels, float sign, bool mean, ScalarType loss_dtype, "
    "bool with_stats, str kind) -> (Tensor, Tensor)",
    "logit_loss_backward(Tensor grad, Tensor[] logits, float[] labels, float sign, bool mean, "
    "str kind) -> Tensor[]",
    "logit_loss_terms(Tensor logits, float label, float sign, str kind) -> Tensor",
    "logit_loss_terms_backward(Tensor grad, Tensor logits, float label, float sign, str kind) -> Tensor",
    "reconstruction_loss(Tensor input, Tensor reconstruction, bool mean, ScalarType loss_dtype) -> Tensor",
    "reconstruction_loss_backward(Tensor grad, Tensor input, Tensor reconstruction, bool mean, "
    "bool with_input, bool with_reconstruction) -> (Tensor, Tensor)",
    "reconstruction_terms(Tensor input, Tensor reconstruction) -> Tensor",
    "bias_leaky_relu(Tensor input, Tensor? bias, float negative_slope, int dim) -> Tensor",
    "bias_leaky_relu_backward(Tensor grad, Tensor output, float negative_slope, int dim, bool with_bias) "
    "-> (Tensor, Tensor)",
    "linear_leaky_relu(Tensor input, Tensor weight, Tensor? bias, float negative_slope) -> Tensor",
)
for _schema in _SCHEMAS:
    _library.define(_schema)


def _plain(tensor: Tensor) -> Tensor:
    """A subclass without a dispatch of its own reaches the operator as it is."""
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def _register(name: str, kernel: Any, fake: Any, check: Any) -> None:
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


def _differentiate(name: str, backward: Any, setup_context: Any) -> None:
    torch.library.register_autograd(
        f"fastgan::{name}", opaque(backward), setup_context=setup_context, lib=_library
    )


# --- losses


def _check_logits(logits: list[Tensor], labels: list[float], kind: str) -> None:
    check_pair(logits, labels, "logits")
    check_finite(labels[0], "labels[0]")
    check_tensor(logits[0], "logits[0]")
    for second in logits[1:]:
        check_like(second, "logits[1]", logits[0], "logits[0]")
    check_loss(kind, "kind")


def _check_scalar(grad: Tensor, like: Tensor) -> None:
    check_scale(grad, like, "grad")
    if grad.dim():
        raise ValueError(f"grad must have no dimensions, but has shape {tuple(grad.shape)}")


def _check_loss_dtype(loss_dtype: torch.dtype) -> None:
    if loss_dtype not in DTYPES:
        raise TypeError(f"loss_dtype must be float32, bfloat16, float16 or float64, but is {loss_dtype}")


def _check_logit_loss(
    logits: list[Tensor],
    labels: list[float],
    _: float,
    __: bool,
    loss_dtype: torch.dtype,
    ___: bool,
    kind: str,
) -> None:
    _check_logits(logits, labels, kind)
    _check_loss_dtype(loss_dtype)


def _check_logit_loss_backward(
    grad: Tensor, logits: list[Tensor], labels: list[float], _: float, __: bool, kind: str
) -> None:
    _check_logits(logits, labels, kind)
    _check_scalar(grad, logits[0])


def _check_terms(logits: Tensor, label: float, _: float, kind: str) -> None:
    check_finite(label, "label")
    check_tensor(logits, "logits")
    check_loss(kind, "kind")


def _check_terms_backward(grad: Tensor, logits: Tensor, label: float, _: float, kind: str) -> None:
    _check_terms(logits, label, _, kind)
    check_same_shape(grad, "grad", logits, "logits")


def _logit_loss(
    logits: list[Tensor],
    labels: list[float],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str,
) -> tuple[Tensor, Tensor]:
    call = tuple(logits), tuple(labels), sign, mean, loss_dtype, with_stats, kind
    loss, stats = choose(logits[0]).loss(*call)
    return loss, logits[0].new_empty(0, dtype=torch.float32) if stats is None else stats


def _logit_loss_fake(
    logits: list[Tensor],
    labels: list[float],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str,
) -> tuple[Tensor, Tensor]:
    like = logits[0]
    stats = like.new_empty(len(logits) + 1 if with_stats else 0, dtype=torch.float32)
    return like.new_empty((), dtype=loss_dtype), stats


def _logit_loss_backward(
    grad: Tensor,
    logits: list[Tensor],
    labels: list[float],
    sign: float,
    mean: bool,
    kind: str,
) -> list[Tensor]:
    grads = choose(grad).loss_backward(grad, tuple(logits), tuple(labels), sign, mean, kind)
    return [each.contiguous() for each in grads]


def _logit_loss_backward_fake(grad: Tensor, logits: list[Tensor], *_: Any) -> list[Tensor]:
    return [_contiguous_like(t) for t in logits]


def _logit_loss_terms(logits: Tensor, label: float, sign: float, kind: str) -> Tensor:
    return choose(logits).loss_terms(logits, label, sign, kind).contiguous()


def _logit_loss_terms_backward(grad: Tensor, logits: Tensor, label: float, sign: float, kind: str) -> Tensor:
    return choose(logits).loss_terms_backward(grad, logits, label, sign, kind).contiguous()


def _contiguous_like(tensor: Tensor) -> Tensor:
    return tensor.new_empty(tensor.shape)


_register("logit_loss", _logit_loss, _logit_loss_fake, _check_logit_loss)
_register("logit_loss_backward", _logit_loss_backward, _logit_loss_backward_fake, _check_logit_loss_backward)
_register("logit_loss_terms", _logit_loss_terms, lambda logits, *_: _contiguous_like(logits), _check_terms)
_register(
    "logit_loss_terms_backward",
    _logit_loss_terms_backward,
    lambda _, logits, *__: _contiguous_like(logits),
    _check_terms_backward,
)


def _save_loss(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, labels, sign, mean, _, _, kind = inputs
    ctx.call = labels, sign, mean, kind
    ctx.save_for_backward(*logits)
    ctx.mark_non_differentiable(output[1])


def _loss_grad(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    call = grad, ctx.saved_tensors, *ctx.call
    grads = reference.loss_backward(*call) if torch.is_grad_enabled() else _ops.logit_loss_backward(*call)
    return list(grads), None, None, None, None, None, None


def _save_terms(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, *ctx.call = inputs
    ctx.save_for_backward(logits)


def _terms_grad(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (logits,) = ctx.saved_tensors
    call = grad, logits, *ctx.call
    if torch.is_grad_enabled():
        return reference.loss_terms_backward(*call), None, None, None
    return _ops.logit_loss_terms_backward(*call), None, None, None


_differentiate("logit_loss", _loss_grad, _save_loss)
_differentiate("logit_loss_terms", _terms_grad, _save_terms)


def _check_reconstruction(input: Tensor, reconstruction: Tensor, *_: Any) -> None:
    check_tensor(input, "input")
    check_same_shape(reconstruction, "reconstruction", input, "input")


def _check_reconstruction_loss(
    input: Tensor, reconstruction: Tensor, _: bool, loss_dtype: torch.dtype
) -> None:
    _check_reconstruction(input, reconstruction)
    _check_loss_dtype(loss_dtype)


def _check_reconstruction_backward(grad: Tensor, input: Tensor, reconstruction: Tensor, *_: Any) -> None:
    _check_reconstruction(input, reconstruction)
    if grad.shape == input.shape and grad.dtype is input.dtype:
        check_like(grad, "grad", input, "input")
    else:
        _check_scalar(grad, input)


def _reconstruction_loss(
    input: Tensor, reconstruction: Tensor, mean: bool, loss_dtype: torch.dtype
) -> Tensor:
    return choose(input).reconstruction_loss(input, reconstruction, mean, loss_dtype)


def _reconstruction_loss_fake(
    input: Tensor, reconstruction: Tensor, mean: bool, loss_dtype: torch.dtype
) -> Tensor:
    return input.new_empty((), dtype=loss_dtype)


def _reconstruction_loss_backward(
    grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, *needs: bool
) -> tuple[Tensor, ...]:
    grads = choose(input).reconstruction_loss_backward(
        grad, input, reconstruction, mean, (needs[0], needs[1])
    )
    return tuple(input.new_empty(0) if each is None else each.contiguous() for each in grads)


def _reconstruction_loss_backward_fake(
    grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, *needs: bool
) -> tuple[Tensor, ...]:
    return tuple(input.new_empty(input.shape if needed else 0) for needed in needs)


def _reconstruction_terms(input: Tensor, reconstruction: Tensor) -> Tensor:
    return choose(input).reconstruction_terms(input, reconstruction).contiguous()


_register("reconstruction_loss", _reconstruction_loss, _reconstruction_loss_fake, _check_reconstruction_loss)
_register(
    "reconstruction_loss_backward",
    _reconstruction_loss_backward,
    _reconstruction_loss_backward_fake,
    _check_reconstruction_backward,
)
_register(
    "reconstruction_terms",
    _reconstruction_terms,
    lambda input, _: _contiguous_like(input),
    _check_reconstruction,
)


def _save_reconstruction(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, reconstruction, *reduced = inputs
    ctx.mean = bool(reduced) and reduced[0]
    ctx.save_for_backward(input, reconstruction)


def _reconstruction_grads(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    input, reconstruction = ctx.saved_tensors
    call = grad, input, reconstruction, ctx.mean
    needs = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
    if torch.is_grad_enabled():
        return reference.reconstruction_loss_backward(*call, needs)
    grads = _ops.reconstruction_loss_backward(*call, *needs)
    return grads[0] if needs[0] else None, grads[1] if needs[1] else None


_differentiate(
    "reconstruction_loss",
    lambda ctx, grad: (*_reconstruction_grads(ctx, grad), None, None),
    _save_reconstruction,
)
_differentiate("reconstruction_terms", _reconstruction_grads, _save_reconstruction)


# --- layers


def _check_dim(tensor: Tensor, dim: int) -> None:
    if not 0 <= dim < tensor.dim():
        raise IndexError(f"dim must be one of the {tensor.dim()} dimensions, from 0 on, but is {dim}")


def _check_bias_leaky_relu(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> None:
    check_tensor(input, "input")
    check_negative_slope(negative_slope)
    _check_dim(input, dim)
    check_bias(bias, input.shape[dim], input)


def _check_bias_leaky_relu_backward(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, _: bool
) -> None:
    check_tensor(output, "output")
    check_same_shape(grad, "grad", output, "output")
    check_negative_slope(negative_slope)
    _check_dim(output, dim)


def _bias_leaky_relu(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
    return _in_order_of(input, dim, choose(input).bias_leaky_relu(input, bias, negative_slope, dim))


def _bias_leaky_relu_fake(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
    return torch.empty_like(input) if _is_channels_last(input, dim) else _contiguous_like(input)


def _is_channels_last(tensor: Tensor, dim: int) -> bool:
    return not tensor.is_contiguous() and tensor.movedim(dim, -1).is_contiguous()


def _in_order_of(like: Tensor, dim: int, result: Tensor) -> Tensor:
    return result if _is_channels_last(like, dim) else result.contiguous()


def _bias_leaky_relu_backward(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, with_bias: bool
) -> tuple[Tensor, Tensor]:
    masked, summed = choose(output).bias_leaky_relu_backward(grad, output, negative_slope, dim, with_bias)
    return _in_order_of(output, dim, masked), output.new_empty(0) if summed is None else summed


def _bias_leaky_relu_backward_fake(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, with_bias: bool
) -> tuple[Tensor, Tensor]:
    summed = output.new_empty(output.shape[dim] if with_bias else 0)
    return _bias_leaky_relu_fake(output, None, negative_slope, dim), summed


_register("bias_leaky_relu", _bias_leaky_relu, _bias_leaky_relu_fake, _check_bias_leaky_relu)
_register(
    "bias_leaky_relu_backward",
    _bias_leaky_relu_backward,
    _bias_leaky_relu_backward_fake,
    _check_bias_leaky_relu_backward,
)


def _save_bias_leaky_relu(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, _, ctx.negative_slope, ctx.dim = inputs
    ctx.save_for_backward(output)


def _bias_leaky_relu_grad(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (output,) = ctx.saved_tensors
    return *_masked(grad, output, ctx.negative_slope, ctx.dim, ctx.needs_input_grad[1]), None, None


def _masked(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    if torch.is_grad_enabled():
        return reference.bias_leaky_relu_backward(grad, output, negative_slope, dim, with_bias)
    masked, summed = _ops.bias_leaky_relu_backward(grad, output, negative_slope, dim, with_bias)
    return masked, summed if with_bias else None


_differentiate("bias_leaky_relu", _bias_leaky_relu_grad, _save_bias_leaky_relu)


def _check_linear_leaky_relu(
    input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float
) -> None:
    check_tensor(input, "input")
    check_negative_slope(negative_slope)
    if input.dim() != 2:
        raise ValueError(f"input must be [N, in_features], but has shape {tuple(input.shape)}")
    check_linear(input.shape, input, weight, bias)


def _linear_leaky_relu(input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float) -> Tensor:
    return choose(input).linear_leaky_relu(input, weight, bias, negative_slope)


def _linear_leaky_relu_fake(
    input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float
) -> Tensor:
    return input.new_empty(input.shape[0], weight.shape[0])


_register("linear_leaky_relu", _linear_leaky_relu, _linear_leaky_relu_fake, _check_linear_leaky_relu)


def _save_linear_leaky_relu(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, _, ctx.negative_slope = inputs
    ctx.save_for_backward(input, weight, output)


def _linear_leaky_relu_grad(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    input, weight, output = ctx.saved_tensors
    needs_input, needs_weight, needs_bias, _ = ctx.needs_input_grad
    dz, db = _masked(grad, output, ctx.negative_slope, 1, needs_bias)
    return dz @ weight if needs_input else None, dz.t() @ input if needs_weight else None, db, None


_differentiate("linear_leaky_relu", _linear_leaky_relu_grad, _save_linear_leaky_relu)
