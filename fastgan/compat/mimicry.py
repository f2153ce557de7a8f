"""torch-mimicry 0.1.16, ``torch_mimicry/modules/losses.py``: logits of generated samples come first."""

from __future__ import annotations

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss, generator_loss
from fastgan.ops import labelled_loss


def minimax_loss_gen(output_fake: Tensor, real_label_val: float = 1.0, reduction: str = "mean") -> Tensor:
    """``minimax_loss_gen``, which is the non-saturating loss."""
    return labelled_loss(output_fake, real_label_val, reduction=reduction)


def minimax_loss_dis(
    output_fake: Tensor,
    output_real: Tensor,
    real_label_val: float = 1.0,
    fake_label_val: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """``minimax_loss_dis``."""
    if fake_label_val == 0:
        return discriminator_loss(output_real, output_fake, real_label=real_label_val, reduction=reduction)
    on_fake = labelled_loss(output_fake, fake_label_val, reduction=reduction)
    return labelled_loss(output_real, real_label_val, reduction=reduction) + on_fake


def ns_loss_gen(output_fake: Tensor) -> Tensor:
    """``ns_loss_gen`` without its epsilon: there -log(sigmoid(f) + 1e-8), whose gradient fades at f = -18."""
    return generator_loss(output_fake)
