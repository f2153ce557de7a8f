"""Each kernel once more as a torch.library operator, for everything that is not plain eager PyTorch.

torch.compile, export, fake tensors, dispatch modes and tensor subclasses see one opaque operator with
its shape function and its gradient. Second derivatives through a compiled function are refused by
PyTorch itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import choose

_library = torch.library.Library("fastgan", "DEF")
_ops = torch.ops.fastgan

_SCHEMAS = (
    "logit_loss(Tensor[] logits, float[] labels, float sign, bool mean, ScalarType loss_dtype, "
    "bool with_stats) -> (Tensor, Tensor)",
    "logit_loss_backward(Tensor grad, Tensor[] logits, float[] labels, float sign, bool mean) -> Tensor[]",
    "logit_loss_terms(Tensor logits, float label, float sign) -> Tensor",
    "logit_loss_terms_backward(Tensor grad, Tensor logits, float label, float sign) -> Tensor",
    "bias_leaky_relu(Tensor input, Tensor? bias, float negative_slope, int dim) -> Tensor",
    "bias_leaky_relu_backward(Tensor grad, Tensor output, float negative_slope, int dim, bool with_bias) "
    "-> (Tensor, Tensor)",
    "linear_leaky_relu(Tensor input, Tensor weight, Tensor? bias, float negative_slope) -> Tensor",
)
for _schema in _SCHEMAS:
    _library.define(_schema)


def _register(name: str, kernel: Any, fake: Any) -> None:
    _library.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fastgan::{name}", fake, lib=_library)


def _differentiate(name: str, backward: Any, setup_context: Any) -> None:
    torch.library.register_autograd(f"fastgan::{name}", backward, setup_context=setup_context, lib=_library)


# --- losses


def _logit_loss(
    logits: list[Tensor],
    labels: list[float],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
) -> tuple[Tensor, Tensor]:
    loss, stats = choose(logits[0]).loss(tuple(logits), tuple(labels), sign, mean, loss_dtype, with_stats)
    return loss, logits[0].new_empty(0, dtype=torch.float32) if stats is None else stats


def _logit_loss_fake(
    logits: list[Tensor],
    labels: list[float],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
) -> tuple[Tensor, Tensor]:
    like = logits[0]
    stats = like.new_empty(len(logits) + 1 if with_stats else 0, dtype=torch.float32)
    return like.new_empty((), dtype=loss_dtype), stats


def _logit_loss_backward(
    grad: Tensor, logits: list[Tensor], labels: list[float], sign: float, mean: bool
) -> list[Tensor]:
    return list(choose(grad).loss_backward(grad, tuple(logits), tuple(labels), sign, mean))


def _logit_loss_backward_fake(grad: Tensor, logits: list[Tensor], *_: Any) -> list[Tensor]:
    return [_contiguous_like(t) for t in logits]


def _logit_loss_terms(logits: Tensor, label: float, sign: float) -> Tensor:
    return choose(logits).loss_terms(logits, label, sign)


def _logit_loss_terms_backward(grad: Tensor, logits: Tensor, label: float, sign: float) -> Tensor:
    return choose(logits).loss_terms_backward(grad, logits, label, sign)


def _contiguous_like(tensor: Tensor) -> Tensor:
    return tensor.new_empty(tensor.shape)


_register("logit_loss", _logit_loss, _logit_loss_fake)
_register("logit_loss_backward", _logit_loss_backward, _logit_loss_backward_fake)
_register("logit_loss_terms", _logit_loss_terms, lambda logits, *_: _contiguous_like(logits))
_register(
    "logit_loss_terms_backward", _logit_loss_terms_backward, lambda _, logits, *__: _contiguous_like(logits)
)


def _save_loss(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, ctx.labels, ctx.sign, ctx.mean, *_ = inputs
    ctx.save_for_backward(*logits)
    ctx.mark_non_differentiable(output[1])


def _loss_grad(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    grads = _ops.logit_loss_backward(grad, ctx.saved_tensors, ctx.labels, ctx.sign, ctx.mean)
    return grads, None, None, None, None, None


def _save_terms(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, ctx.label, ctx.sign = inputs
    ctx.save_for_backward(logits)


def _terms_grad(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (logits,) = ctx.saved_tensors
    return _ops.logit_loss_terms_backward(grad, logits, ctx.label, ctx.sign), None, None


_differentiate("logit_loss", _loss_grad, _save_loss)
_differentiate("logit_loss_terms", _terms_grad, _save_terms)


# --- layers


def _bias_leaky_relu(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
    return choose(input).bias_leaky_relu(input, bias, negative_slope, dim)


def _bias_leaky_relu_fake(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
    rows = input.movedim(dim, -1)
    if not input.is_contiguous() and rows.is_contiguous():
        return rows.new_empty(rows.shape).movedim(-1, dim)
    return input.new_empty(input.shape)


def _bias_leaky_relu_backward(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, with_bias: bool
) -> tuple[Tensor, Tensor]:
    masked, summed = choose(output).bias_leaky_relu_backward(grad, output, negative_slope, dim, with_bias)
    return masked, output.new_empty(0) if summed is None else summed


def _bias_leaky_relu_backward_fake(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, with_bias: bool
) -> tuple[Tensor, Tensor]:
    summed = output.new_empty(output.shape[dim] if with_bias else 0)
    return _bias_leaky_relu_fake(output, None, negative_slope, dim), summed


_register("bias_leaky_relu", _bias_leaky_relu, _bias_leaky_relu_fake)
_register("bias_leaky_relu_backward", _bias_leaky_relu_backward, _bias_leaky_relu_backward_fake)


def _save_bias_leaky_relu(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, _, ctx.negative_slope, ctx.dim = inputs
    ctx.save_for_backward(output)


def _bias_leaky_relu_grad(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (output,) = ctx.saved_tensors
    needs_bias = ctx.needs_input_grad[1]
    masked, summed = _ops.bias_leaky_relu_backward(grad, output, ctx.negative_slope, ctx.dim, needs_bias)
    return masked, summed if needs_bias else None, None, None


_differentiate("bias_leaky_relu", _bias_leaky_relu_grad, _save_bias_leaky_relu)


def _linear_leaky_relu(input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float) -> Tensor:
    return choose(input).linear_leaky_relu(input, weight, bias, negative_slope)


def _linear_leaky_relu_fake(
    input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float
) -> Tensor:
    return input.new_empty(input.shape[0], weight.shape[0])


_register("linear_leaky_relu", _linear_leaky_relu, _linear_leaky_relu_fake)


def _save_linear_leaky_relu(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, _, ctx.negative_slope = inputs
    ctx.save_for_backward(input, weight, output)


def _linear_leaky_relu_grad(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    input, weight, output = ctx.saved_tensors
    needs_input, needs_weight, needs_bias, _ = ctx.needs_input_grad
    dz, db = _ops.bias_leaky_relu_backward(grad, output, ctx.negative_slope, 1, needs_bias)
    dx = dz @ weight if needs_input else None
    dw = dz.t() @ input if needs_weight else None
    return dx, dw, db if needs_bias else None, None


_differentiate("linear_leaky_relu", _linear_leaky_relu_grad, _save_linear_leaky_relu)
