"""The loss of logits with one label: half of a discriminator's loss, or a generator's loss."""

from __future__ import annotations

from typing import overload

from torch import Tensor

from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops.arguments import No, Reduced, check_label, check_loss, check_reduction
from fastgan.ops.logit_loss import Logits, loss_terms, reduced_loss, sides_of, weight_of


@overload
def labelled_loss(
    logits: Tensor,
    label: float,
    *,
    loss: str = ...,
    reduction: str = ...,
    over: str = ...,
    return_terms: No = ...,
) -> Tensor: ...
@overload
def labelled_loss(
    logits: Logits,
    label: float,
    *,
    loss: str = ...,
    reduction: Reduced = ...,
    over: str = ...,
    return_terms: No = ...,
) -> Tensor: ...
@overload
def labelled_loss(
    logits: Logits,
    label: float,
    *,
    loss: str = ...,
    reduction: str = ...,
    over: str = ...,
    return_terms: bool = ...,
) -> Tensor | tuple[Tensor, ...]: ...
def labelled_loss(
    logits: Logits,
    label: float,
    *,
    loss: str = "bce",
    reduction: str = "mean",
    over: str = "sum",
    return_terms: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    r"""A loss of logits t with one label y for all; by default binary cross-entropy.

    .. math:: L = \frac1N \sum_i y\,\mathrm{softplus}(-t_i) + (1 - y)\,\mathrm{softplus}(t_i)

    Equals ``F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))`` without a tensor of
    labels. The other losses give the part of :func:`fastgan.discriminator_loss` for real samples with label
    1, and the part for generated samples with label 0: use it in scripts that compute both parts apart.

    Args:
        logits: any shape and strides, float64, float32, float16 or bfloat16; or a sequence of such tensors,
            one per discriminator.
        label: y. For "bce" in [0, 1], for "least-squares" and "mse" any number, else 0 or 1.
        loss: a name in the table of :func:`fastgan.discriminator_loss`.
        reduction: "mean" or "sum" over each tensor separately, or "none".
        over: "sum" or "mean" over the discriminators.
        return_terms: also return the loss of each discriminator, one tensor ``[discriminators]`` without a
            graph.

    Returns:
        A scalar of the logits' dtype (float32 under autocast). For "none" the terms, in a tuple for a
        sequence. Then the result of ``return_terms``.

    Raises:
        TypeError: ``logits`` is not a float tensor, or the dtypes differ.
        ValueError: ``label``, ``loss``, ``reduction`` or ``over`` is invalid, devices differ, or a sequence
            is empty.

    >>> labelled_loss(torch.zeros(4, 1), 0.9)
    tensor(0.6931)
    """
    tensors, _ = sides_of(logits, "logits")
    check_loss(loss)
    check_reduction(reduction)
    check_label(label, loss)
    count = len(tensors)
    weights = (weight_of(over, count),) * count
    spec = LossSpec.of(loss, (label,) * count, weights, reduction == "mean")
    if reduction != "none":
        return reduced_loss(tensors, spec, False, return_terms, count, over)
    if return_terms:
        raise ValueError("return_terms must be False for reduction='none', which returns terms, but is True")
    terms = tuple([loss_terms(t, spec.loss, label, spec.weights[0]) for t in tensors])
    return terms[0] if isinstance(logits, Tensor) else terms
