"""D's loss of several discriminators with the loss of each side, from one launch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops.logit_loss import reduced_loss, sides_of

Sides = tuple[Tensor, list[Tensor], list[Tensor]]


def side_losses(real_logits: Sequence[Tensor], fake_logits: Sequence[Tensor], loss: str) -> Sides:
    """The sum over discriminators, and lists of scalars without a graph: the loss of each on either side."""
    real, fake = sides_of(real_logits, "real_logits", fake_logits, "fake_logits")
    count = len(real)
    spec = LossSpec.of(loss, (1.0,) * count + (0.0,) * count, (1.0,) * 2 * count, mean=True)
    total, each = reduced_loss(real + fake, spec, terms=True, discriminators=2 * count)
    values = list(each.unbind())
    return total, values[:count], values[count:]
