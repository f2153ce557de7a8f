"""pytorch-CycleGAN-and-pix2pix, ``models/networks.py``: one side at a time; their models halve D's sum."""

from __future__ import annotations

from torch import Tensor, nn

from fastgan.compat.target_is_real import one_side

_LOSSES = {"lsgan": "mse", "vanilla": "bce", "wgangp": "wasserstein"}


class GANLoss(nn.Module):
    """``GANLoss``."""

    def __init__(self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0) -> None:
        super().__init__()
        if gan_mode not in _LOSSES:
            raise ValueError(f"gan_mode must be 'lsgan', 'vanilla' or 'wgangp', but is {gan_mode!r}")
        self.gan_mode, self.labels = gan_mode, (target_real_label, target_fake_label)

    def forward(self, prediction: Tensor, target_is_real: bool) -> Tensor:
        return one_side(prediction, target_is_real, _LOSSES[self.gan_mode], self.labels)
