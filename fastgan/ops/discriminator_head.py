"""The discriminator's head: its last linear layer (H -> 1) and its loss, in one pass over the features."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops.arguments import No, Yes, check_bias, check_like, check_scale, check_tensor
from fastgan.ops.discriminator_loss import check_real_label
from fastgan.ops.linear_leaky_relu import autocast_like_linear
from fastgan.ops.logit_loss import dtype_of_loss
from fastgan.ops.routing import Function, apply, backend_for, outside_autocast, route, wants_graph


@overload
def discriminator_head_loss(
    real_features: Tensor,
    fake_features: Tensor,
    weight: Tensor,
    bias: Tensor | None = ...,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: str = ...,
    return_stats: No = ...,
) -> Tensor: ...
@overload
def discriminator_head_loss(
    real_features: Tensor,
    fake_features: Tensor,
    weight: Tensor,
    bias: Tensor | None = ...,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: str = ...,
    return_stats: Yes,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_head_loss(
    real_features: Tensor,
    fake_features: Tensor,
    weight: Tensor,
    bias: Tensor | None = ...,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: str = ...,
    return_stats: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
def discriminator_head_loss(
    real_features: Tensor,
    fake_features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    loss: str = "bce",
    real_label: float = 1.0,
    reduction: str = "mean",
    return_stats: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""``discriminator_loss(real_features @ weight.T + bias, fake_features @ weight.T + bias)``, fused.

    With features h, logits t = h wᵀ + b and :math:`g_i = \partial L / \partial t_i`, the gradients are
    dh = g wᵀ, dw = Σ gᵢ hᵢ and db = Σ gᵢ. One pass over the features computes the loss, g, dw and db; the
    backward pass reads no features. Logits are never rounded to a half type. Twice differentiable, for
    gradient penalties.

    Args:
        real_features: the last hidden layer for real samples, [..., H], any strides.
        fake_features: the same for generated samples, with the same dtype and device; the shape may differ.
        weight: weight of the last layer, [1, H] or [H].
        bias: [1], or None.
        loss, real_label: as for :func:`fastgan.discriminator_loss`.
        reduction: "mean" or "sum" over the samples of each tensor separately.
        return_stats: also return a float32 tensor [mean D(x), mean D(G(z)), share of saturated logits].

    Returns:
        A scalar of the features' dtype (float32 under autocast), or ``(loss, stats)``.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes differ outside autocast.
        ValueError: shapes do not match, devices differ, or ``loss``, ``real_label`` or ``reduction`` is
            invalid.

    >>> discriminator_head_loss(torch.zeros(4, 8), torch.zeros(4, 8), torch.ones(1, 8))
    tensor(1.3863)
    """
    loss_dtype = dtype_of_loss(real_features) if isinstance(real_features, Tensor) else torch.float32
    real, fake, weight, bias = autocast_like_linear(real_features, fake_features, weight, bias)
    _check(real, fake, weight, bias, loss, real_label, reduction)
    features, row = (_rows(real), _rows(fake)), weight.reshape(-1)
    call = _spec(loss, real_label, reduction), loss_dtype, return_stats
    backend, is_wired = route(real, fake, weight, bias)
    total: Tensor
    details: Tensor | None
    if is_wired:
        result = apply(HeadLoss, backend, *call, row, bias, *features)
        total, details = result if return_stats else (result, None)
    else:
        total, details, *_ = backend.head_loss(features, row, bias, *call, False)
    if details is None:
        return total
    return total, details[2:].float()


def _spec(loss: str, real_label: float, reduction: str) -> LossSpec:
    return LossSpec.of(loss, (real_label, 0.0), (1.0, 1.0), reduction == "mean")


def discriminator_head_loss_value_and_grad(
    real_features: Tensor,
    fake_features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    loss: str = "bce",
    real_label: float = 1.0,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    """Loss and all gradients in one pass over the features, without autograd, for a training step.

    Args:
        real_features, fake_features, weight, bias, loss, real_label, reduction: as for
            :func:`discriminator_head_loss`, but without autocast.
        scale: a scalar tensor on the same device, a factor of the gradients but not of the loss.

    Returns:
        ``(loss, grad_real, grad_fake, grad_weight, grad_bias, stats)``. Gradients have the shape and dtype of
        their tensors; ``grad_bias`` is None without a bias.
    """
    _check(real_features, fake_features, weight, bias, loss, real_label, reduction)
    check_scale(scale, weight)
    backend, _ = route(real_features, fake_features, weight, bias, scale)
    with torch.no_grad():
        total, (grad_real, grad_fake), dw, db, details = backend.head_loss_and_grad(
            (_rows(real_features), _rows(fake_features)),
            weight.reshape(-1),
            bias,
            _spec(loss, real_label, reduction),
            None if scale is None else scale.reshape(()),
            dtype_of_loss(real_features),
        )
        return (
            total,
            grad_real.view(real_features.shape),
            grad_fake.view(fake_features.shape),
            dw.view(weight.shape),
            None if bias is None else db,
            details[2:].float(),
        )


def _rows(features: Tensor) -> Tensor:
    if features.dim() == 2:
        return features
    return features.reshape(features.shape[:-1].numel(), features.shape[-1])


def _check(
    real: Tensor,
    fake: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    loss: str,
    real_label: float,
    reduction: str,
) -> None:
    check_tensor(real, "real_features")
    check_like(fake, "fake_features", real, "real_features")
    check_like(weight, "weight", real, "real_features")
    if weight.dim() not in (1, 2) or (weight.dim() == 2 and weight.shape[0] != 1):
        raise ValueError(
            f"weight must be [1, features], for a last layer with one logit per sample, "
            f"but has shape {tuple(weight.shape)}"
        )
    for tensor, name in ((real, "real_features"), (fake, "fake_features")):
        if tensor.dim() == 0 or tensor.shape[-1] != weight.shape[-1]:
            raise ValueError(
                f"{name} must be [..., {weight.shape[-1]}] to match weight {tuple(weight.shape)}, but "
                f"has shape {tuple(tensor.shape)}"
            )
    check_bias(bias, 1, real)
    check_real_label(real_label, loss)
    if reduction not in ("mean", "sum"):
        raise ValueError(
            f"reduction must be 'mean' or 'sum', but is {reduction!r}; for single terms use "
            "discriminator_loss on the logits"
        )


class HeadLoss(Function):
    """(weight, bias, features ...) -> total, or (total, details)."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool,
        weight: Tensor,
        bias: Tensor | None,
        *features: Tensor,
    ) -> Tensor | tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.call = backend, spec, dtype
        total, details, slopes, dw, db = backend.head_loss(
            features, weight, bias, spec, dtype, detailed, True
        )
        ctx.save_for_backward(weight, bias, *features, *slopes, dw, db)
        if details is None:
            return total
        ctx.mark_non_differentiable(details)
        return total, details

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, grad: Tensor | None, _: None = None) -> tuple[Tensor | None, ...]:
        weight, bias, *rest = ctx.saved_tensors
        count = len(rest) // 2 - 1
        features, slopes, dw, db = tuple(rest[:count]), tuple(rest[count:-2]), rest[-2], rest[-1]
        if grad is None:
            return (None,) * (6 + count)
        backend, spec, dtype = ctx.call
        backend = backend_for(backend, grad)
        if wants_graph():  # for a second derivative the slopes need a graph
            slopes, dw, db = backend.head_loss(features, weight, bias, spec, dtype, False, True)[2:]
        needs_weight, needs_bias, *needs_features = ctx.needs_input_grad[4:]
        grads, dweight, dbias = backend.head_loss_backward(
            grad, slopes, weight, dw, db, (any(needs_features), needs_weight, needs_bias)
        )
        return (None,) * 4 + (dweight, dbias, *grads)
