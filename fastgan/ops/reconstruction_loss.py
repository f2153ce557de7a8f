"""The L1 reconstruction loss of an autoencoder, such as BEGAN's discriminator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.ops.arguments import (
    HALVES,
    check_like,
    check_reduced,
    check_reduction,
    check_scale,
    check_tensor,
)
from fastgan.ops.l1_loss import l1_loss
from fastgan.ops.logit_loss import dtype_of_loss
from fastgan.ops.routing import Function, apply, autocast_dtype, backend_for, route


def reconstruction_loss(input: Tensor, reconstruction: Tensor, *, reduction: str = "mean") -> Tensor:
    r"""The L1 distance between samples v and their reconstructions by an autoencoder, :math:`|v - D(v)|`.

    The gradient of v is the sign of v - D(v), and that of D(v) is its negative; both are zero at a tie, like
    the gradient of PyTorch's ``abs``. One pass computes the gradients that are needed. (Berthelot et al.
    2017, section 3.1 with eta = 1; arXiv:1703.10717. They use a norm per sample; we average all elements.)

    Args:
        input: v, any shape and strides, float64, float32, float16 or bfloat16.
        reconstruction: D(v), of the same shape, dtype and device. If the dtypes differ, autocast converts
            half types to float32.
        reduction: "mean" or "sum" over all elements, or "none".

    Returns:
        A scalar of the inputs' dtype (float32 under autocast), or the terms for "none".

    Raises:
        TypeError: an argument is not a float tensor, or the dtypes differ outside autocast.
        ValueError: shapes or devices differ, or ``reduction`` is invalid.

    >>> reconstruction_loss(torch.zeros(4, 2), torch.ones(4, 2))
    tensor(1.)
    """
    check_tensor(input, "input")
    check_tensor(reconstruction, "reconstruction")
    check_reduction(reduction)
    loss_dtype = dtype_of_loss(input)
    if autocast_dtype(input) is not None and (reduction == "none" or input.dtype is not reconstruction.dtype):
        input, reconstruction = _single(input), _single(reconstruction)
    _check_alike(input, reconstruction)
    if reduction != "none":
        return l1_loss((input,), (reconstruction,), (1.0,), reduction == "mean", loss_dtype)
    backend, is_wired = route(input, reconstruction)
    if not is_wired:
        return backend.l1_terms(input, reconstruction)
    terms: Tensor = apply(L1Terms, backend, input, reconstruction)
    return terms


def reconstruction_loss_value_and_grad(
    input: Tensor,
    reconstruction: Tensor,
    *,
    reduction: str = "mean",
    scale: Tensor | None = None,
    with_input_grad: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Loss and gradients in one pass over both tensors, without autograd, for a training step.

    Args:
        input, reconstruction: as for :func:`reconstruction_loss`, but without autocast.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device, a factor of the gradients but not of the loss. With BEGAN's
            -k, the term of generated samples in D's loss needs no extra pass.
        with_input_grad: compute the gradient of ``input``; real samples do not need it.

    Returns:
        ``(loss, grad_input, grad_reconstruction)``. The gradients have the shape and dtype of the inputs;
        ``grad_input`` is None without ``with_input_grad``.
    """
    check_tensor(input, "input")
    check_reduced(reduction)
    _check_alike(input, reconstruction)
    check_scale(scale, input)
    backend, _ = route(input, reconstruction, scale)
    with torch.no_grad():
        loss, grad_input, (grad,) = backend.l1_loss_and_grad(
            (input,),
            (reconstruction,),
            (1.0,),
            reduction == "mean",
            None if scale is None else scale.reshape(()),
            dtype_of_loss(input),
            (with_input_grad, True),
        )
    return loss, grad_input[0] if with_input_grad else None, grad


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALVES else tensor


def _check_alike(input: Tensor, reconstruction: Tensor) -> None:
    check_like(reconstruction, "reconstruction", input, "input")
    if input.shape != reconstruction.shape:
        raise ValueError(
            f"reconstruction has shape {tuple(reconstruction.shape)} but input {tuple(input.shape)}; "
            "they must be the same"
        )


class L1Terms(Function):
    """(input, reconstruction) -> the terms."""

    @staticmethod
    def forward(ctx: Any, backend: Reference, input: Tensor, reconstruction: Tensor) -> Tensor:
        ctx.save_for_backward(input, reconstruction)
        ctx.backend = backend
        return backend.l1_terms(input, reconstruction)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, reconstruction = ctx.saved_tensors
        grads = backend_for(ctx.backend, grad).l1_terms_backward(
            grad, input, reconstruction, ctx.needs_input_grad[1:]
        )
        return (None, *grads)
