"""The generator's losses."""

from __future__ import annotations

from typing import overload

from torch import Tensor

from fastgan.kernels.logit_losses import LOSSES
from fastgan.kernels.reference import loss_stats
from fastgan.ops.arguments import No, Yes, check_loss, check_reduction, check_tensor
from fastgan.ops.logit_loss import dtype_of_loss, loss_and_grad, loss_terms, reduced_loss
from fastgan.ops.routing import Route, route


@overload
def generator_loss(
    fake_logits: Tensor,
    *,
    loss: str = ...,
    saturating: bool = ...,
    reduction: str = ...,
    return_stats: No = ...,
) -> Tensor: ...
@overload
def generator_loss(
    fake_logits: Tensor, *, loss: str = ..., saturating: bool = ..., reduction: str = ..., return_stats: Yes
) -> tuple[Tensor, Tensor]: ...
@overload
def generator_loss(
    fake_logits: Tensor, *, loss: str = ..., saturating: bool = ..., reduction: str = ..., return_stats: bool
) -> Tensor | tuple[Tensor, Tensor]: ...
def generator_loss(
    fake_logits: Tensor,
    *,
    loss: str = "bce",
    saturating: bool = False,
    reduction: str = "mean",
    return_stats: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    r"""The generator's loss on f = D(G(z)), in logits.

    Non-saturating, :math:`-\log \sigma(f) = \mathrm{softplus}(-f)`, gradient :math:`\sigma(f) - 1`; or
    saturating, the generator's part of the minimax value, :math:`\log(1 - \sigma(f)) =
    -\mathrm{softplus}(f)`, gradient :math:`-\sigma(f)`. Where the discriminator wins, f → -∞, the second
    gradient vanishes and the first tends to -1: both hold to f = -10⁴ in every dtype, without a clamp.
    (Goodfellow et al. 2014, section 3; arXiv:1406.2661.)

    Against a discriminator with another :func:`discriminator_loss` the generator's is that of the same name:

    | loss | of each f | |
    |---|---|---|
    | "hinge" | -f | Lim & Ye 2017; Miyato et al. 2018, eq. 17 |
    | "least-squares" | (f - 1)^2 / 2 | Mao et al. 2017, eq. 9 |
    | "wasserstein" | -f | Arjovsky et al. 2017, eq. 3 |

    Args:
        fake_logits: D(G(z)) before the sigmoid, any shape and strides, float64, float32, float16 or bfloat16.
        loss: "bce" or a name of the table.
        saturating: the minimax loss instead of the non-saturating one; of "bce" alone.
        reduction: "mean", "sum" or "none".
        return_stats: also return a float32 tensor [mean D(G(z)), share of saturated logits], the latter zero
            but for "bce"; D(G(z)) is the logit itself but for "bce".

    Returns:
        A scalar of the logits' dtype (float32 under autocast), or the terms for "none"; with
        ``return_stats`` the pair ``(loss, stats)``.

    Raises:
        TypeError: ``fake_logits`` is not a float tensor.
        ValueError: ``loss`` or ``reduction`` is not among the values above, or ``saturating`` does not go
            with ``loss``.

    >>> generator_loss(torch.zeros(4, 1))
    tensor(0.6931)
    """
    kind, label, sign = _check(fake_logits, loss, saturating, reduction)
    path = route(fake_logits)
    if path is not Route.REFERENCE and reduction != "none":
        mean = reduction == "mean"
        value, stats = reduced_loss(path, (fake_logits,), (label,), sign, mean, return_stats, kind)
        return value if stats is None else (value, stats)
    if path is Route.REFERENCE:
        result = generator_loss_reference(
            fake_logits.to(dtype_of_loss(fake_logits)), saturating, reduction, loss
        )
    else:
        result = loss_terms(path, fake_logits, label, sign, kind)
    return (result, loss_stats((fake_logits,), (label,), kind)) if return_stats else result


def generator_loss_reference(
    fake_logits: Tensor, saturating: bool = False, reduction: str = "mean", loss: str = "bce"
) -> Tensor:
    """What :func:`generator_loss` computes, in plain PyTorch."""
    kind, label, sign = _kind(loss, saturating)
    terms = sign * LOSSES[kind].term(fake_logits, label)
    if reduction == "none":
        return terms
    return terms.mean() if reduction == "mean" else terms.sum()


def generator_loss_value_and_grad(
    fake_logits: Tensor,
    *,
    loss: str = "bce",
    saturating: bool = False,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradient in one pass over the logits, outside autograd: for a training step.

    Args:
        fake_logits, loss, saturating: as for :func:`generator_loss`.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device that multiplies the gradient, not the loss.

    Returns:
        ``(loss, grad_fake, stats)``; the gradient has the shape and dtype of the logits.
    """
    kind, label, sign = _check(fake_logits, loss, saturating, reduction)
    value, (grad,), stats = loss_and_grad((fake_logits,), (label,), sign, reduction, scale, kind)
    return value, grad, stats


def _check(fake_logits: Tensor, loss: str, saturating: bool, reduction: str) -> tuple[str, float, float]:
    check_tensor(fake_logits, "fake_logits")
    check_loss(loss)
    check_reduction(reduction)
    if saturating and loss != "bce":
        raise ValueError(f"saturating must be False for the {loss} loss, but is True")
    return _kind(loss, saturating)


def _kind(loss: str, saturating: bool) -> tuple[str, float, float]:
    """The kind of terms, their label, and the sign."""
    return ("bce", 0.0, -1.0) if saturating else (LOSSES[loss].generator, 1.0, 1.0)
