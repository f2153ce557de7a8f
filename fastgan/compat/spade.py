"""SPADE, ``models/networks/loss.py``, and its feature loss, also that of pix2pixHD: one side at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fastgan.compat.target_is_real import one_side
from fastgan.ops import feature_matching_loss

_OF_DISCRIMINATOR = {"ls": "mse", "original": "bce", "w": "wasserstein", "hinge": "hinge"}


class GANLoss(nn.Module):
    """``GANLoss``: for a list of discriminators, the mean over them, of shape (1,)."""

    def __init__(self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0) -> None:
        super().__init__()
        if gan_mode not in _OF_DISCRIMINATOR:
            raise ValueError(f"gan_mode must be 'ls', 'original', 'w' or 'hinge', but is {gan_mode!r}")
        self.gan_mode, self.labels = gan_mode, (target_real_label, target_fake_label)

    def forward(self, input: Any, target_is_real: bool, for_discriminator: bool = True) -> Tensor:
        loss = _OF_DISCRIMINATOR[self.gan_mode]
        if self.gan_mode == "hinge" and not for_discriminator:
            if not target_is_real:
                raise ValueError("target_is_real must be True for G's hinge loss, but is False")
            loss = "wasserstein"
        if isinstance(input, Tensor):
            return one_side(input, target_is_real, loss, self.labels)
        logits = [each[-1] if isinstance(each, (list, tuple)) else each for each in input]
        return one_side(logits, target_is_real, loss, self.labels, over="mean").reshape(1)


def feature_loss(
    pred_fake: Sequence[Sequence[Tensor]],
    pred_real: Sequence[Sequence[Tensor]],
    lambda_feat: float = 10.0,
) -> Tensor:
    """``GAN_Feat`` of ``pix2pix_model.py``: the mean over discriminators, without their last maps."""
    return feature_matching_loss(pred_real, pred_fake, factor=lambda_feat, over="mean", with_last=False)
