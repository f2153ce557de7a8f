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
    """:func:`fastgan.discriminator_loss`. For "none" the sum of both sides' terms, of equal shapes."""
    terms = ops.discriminator_loss(
        real_logits,
        fake_logits,
        loss=loss,
        real_label=real_label,
        fake_label=fake_label,
        reduction=reduction,
    )
    return terms if isinstance(terms, Tensor) else terms[0] + terms[1]
