"""Class labels as vectors, for generators and discriminators of classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Labels(nn.Module):
    """A vector to learn for each class, normal at first.

    Args:
        num_classes: number of classes; 0 for a network without labels.
        size: size of the vectors.
    """

    def __init__(self, num_classes: int, size: int) -> None:
        super().__init__()
        if num_classes < 0:
            raise ValueError(f"num_classes must not be negative, but is {num_classes}")
        self.num_classes = num_classes
        self.vectors = nn.Embedding(num_classes, size) if num_classes else None

    def forward(self, y: Tensor | None, count: int) -> Tensor | None:
        """Vectors ``[count, size]`` of labels ``y``, int64 ``[count]``; None without classes.

        Labels on a GPU are not compared with the number of classes, as that would wait for the device.

        Raises:
            TypeError: the labels are not int64.
            ValueError: labels are missing, not expected, of another shape or, on a CPU, out of range.
        """
        if self.vectors is None:
            if y is not None:
                raise ValueError("y was given to a network without classes; build it with num_classes")
            return None
        if y is None:
            raise ValueError(
                f"y is missing, expected labels of {self.num_classes} classes for {count} samples"
            )
        if y.dtype != torch.int64:
            raise TypeError(f"y must be int64, but is {y.dtype}")
        if y.shape != (count,):
            raise ValueError(
                f"y must have shape [{count}], one label for each sample, but has {list(y.shape)}"
            )
        if y.is_cpu and not torch.compiler.is_compiling() and ((y < 0) | (y >= self.num_classes)).any():
            raise ValueError(
                f"y has labels from {y.min()} to {y.max()}, expected 0 to {self.num_classes - 1}"
            )
        vectors: Tensor = self.vectors(y)
        return vectors


def projected(features: Tensor, vectors: Tensor | None) -> Tensor:
    """Logits ``[N, 1]``: products of features ``[N, size]`` with vectors of classes, which keep the variance.

    Without classes the features are the logits.
    """
    if vectors is None:
        return features
    return (features * vectors).sum(1, keepdim=True) / math.sqrt(features.shape[1])
