"""csrc/logit_losses.h in Triton: the losses on logits that have no logarithm, one function each.

A function says everything of logits t under a label, 1 where D shall take the sample for real, 0 where not:
the term, its slope, what D says of the sample, and 1 where D learns nothing more from it. The compiler leaves
out what is not used. Cross-entropy, whose logarithms are taken for many at once, is in scalar_math.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fastgan.kernels.logit_losses import NUMBERS
from fastgan.kernels.triton.scalar_math import (
    LABEL_BETWEEN,
    label_kind,
    linear_part,
    loss_slope,
    sigmoid,
)
from fastgan.kernels.triton.scalar_math import saturated as saturated_sigmoid

# The kinds of a kernel: three labels of cross-entropy, then the other losses.
_HINGE = tl.constexpr(2 + NUMBERS["hinge"])
_LEAST_SQUARES = tl.constexpr(2 + NUMBERS["least-squares"])


def kind_of(loss: str, label: float) -> int:
    return label_kind(label) if loss == "bce" else 2 + NUMBERS[loss]


@triton.jit
def hinge(t, label):
    """max(0, 1 - t), max(0, 1 + t)."""
    side = 1.0 - 2.0 * label
    left = 1.0 + side * t
    beyond = left <= 0.0
    return tl.where(beyond, 0.0, left), tl.where(beyond, 0.0, side), t, tl.where(beyond, 1.0, 0.0)


@triton.jit
def least_squares(t, label):
    """(t - label)^2 / 2, any label."""
    off = t - label
    return 0.5 * off * off, off, t, tl.zeros_like(t)


@triton.jit
def wasserstein(t, label):
    """-t, t."""
    side = 1.0 - 2.0 * label
    return side * t, tl.zeros_like(t) + side, t, tl.zeros_like(t)


@triton.jit
def _plain(t, label, KIND: tl.constexpr):
    if KIND == _HINGE:
        return hinge(t, label)
    elif KIND == _LEAST_SQUARES:
        return least_squares(t, label)
    else:
        return wasserstein(t, label)


@triton.jit
def term(t, label, KIND: tl.constexpr):
    """Of cross-entropy without log1p(exp(-|t|))."""
    if KIND <= LABEL_BETWEEN:
        return linear_part(t, label, KIND)
    else:
        return _plain(t, label, KIND)[0]


@triton.jit
def slope(t, e, label, KIND: tl.constexpr):
    if KIND <= LABEL_BETWEEN:
        return loss_slope(t, e, label, KIND)
    else:
        return _plain(t, label, KIND)[1]


@triton.jit
def statistics(t, e, label, KIND: tl.constexpr):
    """D's output, and whether it is saturated."""
    if KIND <= LABEL_BETWEEN:
        return sigmoid(t, e), saturated_sigmoid(t)
    else:
        everything = _plain(t, label, KIND)
        return everything[2], everything[3]
