"""The backend that calls the operators."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.acts import Act
from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.reference import Pair, Tensors
from fastgan.kernels.reference_snake import Grads, Needs, Scale
from fastgan.kernels.reference_upfirdn import Resampling
from fastgan.kernels.spans import Spans

_ops = torch.ops.fastgan


class Registered(Reference, takes_addresses=False):
    """Calls the operators of this package."""

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


def _needed(grads: Sequence[Tensor], needs: Needs) -> Grads:
    """The results of an operator that returns an empty tensor for a gradient that is not needed."""
    first, second, third = (each if need else None for each, need in zip(grads, needs, strict=True))
    return first, second, third


registered = Registered()
