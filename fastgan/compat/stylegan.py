"""StyleGAN's logistic losses: functions, and the softplus in NVIDIA's training code."""

from __future__ import annotations

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss
from fastgan.ops import generator_loss, labelled_loss


def d_logistic_loss(real_pred: Tensor, fake_pred: Tensor) -> Tensor:
    """``d_logistic_loss`` of rosinality/stylegan2-pytorch, ``train.py``."""
    return discriminator_loss(real_pred, fake_pred)


def g_nonsaturating_loss(fake_pred: Tensor) -> Tensor:
    """``g_nonsaturating_loss`` of rosinality/stylegan2-pytorch, ``train.py``."""
    return generator_loss(fake_pred)


def softplus(input: Tensor) -> Tensor:
    """``torch.nn.functional.softplus`` in NVlabs/stylegan2-ada-pytorch and stylegan3, ``training/loss.py``.

    There each term has its own backward pass: ``softplus(-gen_logits)`` for G, ``softplus(gen_logits)`` and
    ``softplus(-real_logits)`` for D.
    """
    return labelled_loss(input, 0.0, reduction="none")
