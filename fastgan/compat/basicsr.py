"""BasicSR 1.4.2: ``basicsr/losses/gan_loss.py``, one side at a time, and ``basicsr/ops``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastgan import penalties
from fastgan.compat.fused_leaky_relu import FusedLeakyReLU, fused_leaky_relu, upfirdn2d
from fastgan.compat.target_is_real import one_side

__all__ = [
    "FusedLeakyReLU",
    "GANLoss",
    "MultiScaleGANLoss",
    "fused_leaky_relu",
    "gradient_penalty_loss",
    "r1_penalty",
    "upfirdn2d",
]

_OF_DISCRIMINATOR = {
    "vanilla": "bce",
    "lsgan": "mse",
    "wgan": "wasserstein",
    "wgan_softplus": "bce",
    "hinge": "hinge",
}


class GANLoss(nn.Module):
    """``GANLoss``: G's loss is multiplied by ``loss_weight``, D's is not."""

    def __init__(
        self,
        gan_type: str,
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if gan_type not in _OF_DISCRIMINATOR:
            known = ", ".join(map(repr, _OF_DISCRIMINATOR))
            raise ValueError(f"gan_type must be one of {known}, but is {gan_type!r}")
        self.gan_type, self.loss_weight = gan_type, loss_weight
        self.real_label_val, self.fake_label_val = real_label_val, fake_label_val

    def forward(self, input: Tensor, target_is_real: bool, is_disc: bool = False) -> Tensor:
        labels = 1.0, 0.0
        if self.gan_type in ("vanilla", "lsgan"):
            labels = self.real_label_val, self.fake_label_val
        if self.gan_type == "hinge" and not is_disc:
            return one_side(input, True, "wasserstein") * self.loss_weight
        loss = one_side(input, target_is_real, _OF_DISCRIMINATOR[self.gan_type], labels)
        return loss if is_disc else loss * self.loss_weight


class MultiScaleGANLoss(GANLoss):
    """``MultiScaleGANLoss``: the mean over a list, with the last map of each discriminator."""

    def forward(
        self, input: Tensor | Sequence[Tensor], target_is_real: bool, is_disc: bool = False
    ) -> Tensor:
        if isinstance(input, Tensor):
            return super().forward(input, target_is_real, is_disc)
        logits = [each[-1] if isinstance(each, (list, tuple)) else each for each in input]
        losses = [super(MultiScaleGANLoss, self).forward(each, target_is_real, is_disc) for each in logits]
        return torch.stack(losses).mean()


def r1_penalty(real_pred: Tensor, real_img: Tensor) -> Tensor:
    """``r1_penalty``: E |grad|^2 without a factor, from logits and the images that they are of."""
    (grad,) = torch.autograd.grad(real_pred.sum(), real_img, create_graph=True)
    return grad.square().flatten(1).sum(1).mean()


def gradient_penalty_loss(discriminator: nn.Module, real_data: Tensor, fake_data: Tensor) -> Tensor:
    """``gradient_penalty_loss`` with the norm over a whole sample; theirs is over channels, at each pixel."""
    return penalties.wgan_gp(discriminator, real_data, fake_data, 1.0)
