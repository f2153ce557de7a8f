"""torch-mimicry 0.1.16, ``torch_mimicry/modules/losses.py``: most functions take generated samples first."""

from __future__ import annotations

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss
from fastgan.ops import generator_loss, labelled_loss


def minimax_loss_gen(output_fake: Tensor, real_label_val: float = 1.0, reduction: str = "mean") -> Tensor:
    """``minimax_loss_gen``, the non-saturating loss."""
    return labelled_loss(output_fake, real_label_val, reduction=reduction)


def minimax_loss_dis(
    output_fake: Tensor,
    output_real: Tensor,
    real_label_val: float = 1.0,
    fake_label_val: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """``minimax_loss_dis``."""
    return discriminator_loss(
        output_real,
        output_fake,
        real_label=real_label_val,
        fake_label=fake_label_val,
        reduction=reduction,
    )


def ns_loss_gen(output_fake: Tensor) -> Tensor:
    """``ns_loss_gen`` without epsilon: the gradient of -log(sigmoid(f) + 1e-8) vanishes from f = -18 on."""
    return generator_loss(output_fake)


def hinge_loss_dis(output_fake: Tensor, output_real: Tensor) -> Tensor:
    """``hinge_loss_dis``."""
    return discriminator_loss(output_real, output_fake, loss="hinge")


def hinge_loss_gen(output_fake: Tensor) -> Tensor:
    """``hinge_loss_gen``."""
    return generator_loss(output_fake, loss="hinge")


def wasserstein_loss_dis(output_real: Tensor, output_fake: Tensor) -> Tensor:
    """``wasserstein_loss_dis``, the only function with the real samples first."""
    return discriminator_loss(output_real, output_fake, loss="wasserstein")


def wasserstein_loss_gen(output_fake: Tensor) -> Tensor:
    """``wasserstein_loss_gen``."""
    return generator_loss(output_fake, loss="wasserstein")
