"""Losses that are called for one side at a time, with ``target_is_real``."""

from __future__ import annotations

from torch import Tensor

from fastgan.ops import labelled_loss
from fastgan.ops.logit_loss import Logits


def one_side(
    logits: Logits,
    target_is_real: bool,
    loss: str,
    labels: tuple[float, float] = (1.0, 0.0),
    over: str = "sum",
) -> Tensor:
    """The loss of logits with the label of real or of generated samples.

    Only losses that compare with a target, BCE and least squares, use ``labels``.
    """
    has_targets = loss in ("bce", "mse")
    label = labels[not target_is_real] if has_targets else float(target_is_real)
    return labelled_loss(logits, label, loss=loss, over=over)
