"""fastgan's losses as the other libraries have them: the result is always one tensor."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan import ops


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, **options: Any) -> Tensor:
    """:func:`fastgan.discriminator_loss`; for "none" the sum of the pair, which must fit each other."""
    loss = ops.discriminator_loss(real_logits, fake_logits, **options)
    return loss if isinstance(loss, Tensor) else loss[0] + loss[1]


def generator_loss(fake_logits: Tensor, **options: Any) -> Tensor:
    """:func:`fastgan.generator_loss`, which without statistics is one tensor."""
    loss = ops.generator_loss(fake_logits, **options)
    assert isinstance(loss, Tensor)
    return loss
