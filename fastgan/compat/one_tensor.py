"""fastgan's losses with one tensor as the result, like other libraries."""

from __future__ import annotations

from torch import Tensor

from fastgan import ops


def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = "bce",
    real_label: float = 1.0,
    fake_label: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """:func:`fastgan.discriminator_loss`, in one pass if it supports the labels.

    For "none" returns the sum of both sides' terms, whose shapes must match.
    """
    if fake_label == 0.0 and 0.0 <= real_label <= 1.0:
        terms = ops.discriminator_loss(
            real_logits, fake_logits, loss=loss, real_label=real_label, reduction=reduction
        )
        return terms if isinstance(terms, Tensor) else terms[0] + terms[1]
    on_fake = ops.labelled_loss(fake_logits, fake_label, loss=loss, reduction=reduction)
    return ops.labelled_loss(real_logits, real_label, loss=loss, reduction=reduction) + on_fake
