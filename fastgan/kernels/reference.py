"""The backend in plain PyTorch, for every device and dtype.

Half types are computed in float32 and rounded once, as the kernels do. Every function is
differentiable, so the second derivatives of the losses come from here whatever backend served.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SATURATED_LOGIT = 6.906754778648554  # log(999): sigmoid within 0.1 % of 0 or 1


def why_not(device_type: str) -> str | None:
    return None


def _computed(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _terms(logits: Tensor, label: float, sign: float) -> Tensor:
    t = _computed(logits)
    zero = t.new_zeros(())
    # A weight of zero leaves its softplus out: 0 * inf would be nan.
    terms = torch.logaddexp(t, zero) * (1 - label) if label != 1 else zero
    if label != 0:
        terms = terms + torch.logaddexp(-t, zero) * label
    return sign * terms


def loss_stats(logits: Sequence[Tensor]) -> Tensor:
    with torch.no_grad():
        means = [torch.sigmoid(_computed(t)).mean() for t in logits]
        saturated = torch.cat([(t.abs() > SATURATED_LOGIT).flatten() for t in logits])
        return torch.stack([*(m.float() for m in means), saturated.float().mean()])


def loss_forward(
    logits: Sequence[Tensor],
    labels: Sequence[float],
    sign: float,
    reduction: str,
    loss_dtype: torch.dtype,
    with_stats: bool,
) -> tuple[list[Tensor], Tensor | None]:
    terms = [_terms(t, label, sign) for t, label in zip(logits, labels, strict=True)]
    stats = loss_stats(logits) if with_stats else None
    if reduction == "none":
        return [each.to(t.dtype) for each, t in zip(terms, logits, strict=True)], stats
    sums = [each.mean() if reduction == "mean" else each.sum() for each in terms]
    return [torch.stack(sums).sum().to(loss_dtype)], stats


def loss_backward(
    grads: Sequence[Tensor],
    logits: Sequence[Tensor],
    labels: Sequence[float],
    sign: float,
    reduction: str,
) -> list[Tensor]:
    result = []
    for i, (t, label) in enumerate(zip(logits, labels, strict=True)):
        scale = sign / t.numel() if reduction == "mean" and t.numel() else sign
        x = _computed(t)
        # sigmoid(x) - label, written so that neither end cancels
        slope = scale * ((1 - label) * torch.sigmoid(x) - label * torch.sigmoid(-x))
        if grads:
            slope = slope * _computed(grads[min(i, len(grads) - 1)])
        result.append(slope.to(t.dtype))
    return result


def loss_forward_backward(
    logits: Sequence[Tensor],
    labels: Sequence[float],
    sign: float,
    reduction: str,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
) -> tuple[Tensor, list[Tensor], Tensor]:
    values, stats = loss_forward(logits, labels, sign, reduction, loss_dtype, True)
    grads = loss_backward([] if scale is None else [scale], logits, labels, sign, reduction)
    assert stats is not None
    return values[0], grads, stats


def _along(bias: Tensor, dim: int, like: Tensor) -> Tensor:
    return bias.view([-1 if i == dim else 1 for i in range(like.dim())])


def bias_leaky_relu(
    input: Tensor, bias: Tensor | None, negative_slope: float, dim: int
) -> Tensor:
    z = _computed(input)
    if bias is not None:
        z = z + _along(_computed(bias), dim, input)
    return F.leaky_relu(z, negative_slope).to(input.dtype)


def bias_leaky_relu_backward(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    g = _computed(grad)
    masked = torch.where(output > 0, g, negative_slope * g)
    others = [i for i in range(output.dim()) if i != dim]
    # sum(()) would mean all dimensions
    summed = (masked.sum(others) if others else masked).to(grad.dtype) if with_bias else None
    return masked.to(grad.dtype), summed


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(input, weight, bias)


def linear_leaky_relu(
    input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float
) -> Tensor:
    return F.leaky_relu(F.linear(input, weight, bias), negative_slope)


def dgrad(grad: Tensor, weight: Tensor) -> Tensor:
    return grad @ weight


def dgrad_leaky_relu(
    grad: Tensor, weight: Tensor, output: Tensor, negative_slope: float, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    return bias_leaky_relu_backward(grad @ weight, output, negative_slope, 1, with_bias)


def wgrad(grad: Tensor, input: Tensor) -> Tensor:
    return grad.t() @ input
