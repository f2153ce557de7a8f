"""Class labels as vectors, for generators and discriminators of classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SMALLEST = 16  # size of vectors appended to latent ones: in few dimensions many classes lie close together


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
            _refuse(y)
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


def embedding(num_classes: int, latent_dim: int) -> tuple[Labels | None, int]:
    """Vectors to append to latent ones, and the size of both together; no vectors for 0."""
    if num_classes == 0:
        return None, latent_dim
    size = max(latent_dim, _SMALLEST)
    return Labels(num_classes, size), latent_dim + size


def projection(num_classes: int, size: int) -> tuple[Labels | None, int]:
    """Vectors for features of this size, and the number of D's outputs; no vectors for 0."""
    return (Labels(num_classes, size), 1 + size) if num_classes else (None, 1)


def appended(labels: Labels | None, latent: Tensor, y: Tensor | None) -> Tensor:
    """Latent vectors ``[N, latent_dim]`` and after them those of their classes; without classes as they are.

    The vectors of classes have length 1, as one-hot vectors would. If they were as long as latent ones, the
    weights of these few directions would soon outgrow those of the latent vector: a DCGAN then makes a single
    image of each class.
    """
    if labels is None:
        _refuse(y)
        return latent
    vectors = labels(y, latent.shape[0])  # len() would be a constant of exported programs
    return torch.cat([latent, F.normalize(vectors)], 1)


def judged(labels: Labels | None, outputs: Tensor, y: Tensor | None) -> Tensor:
    """Logits ``[N, 1]`` of a discriminator with outputs ``[N, 1]``, or ``[N, 1 + size]`` if it has classes.

    Then the first output is that of a sample of any class, and the others are features (Miyato and Koyama,
    2018, equation 3).
    """
    if labels is None:
        _refuse(y)
        return outputs
    logits, features = outputs.tensor_split([1], 1)
    return logits + projected(features, labels(y, outputs.shape[0]))


def classes_of(network: nn.Module) -> int:
    """The number of classes of a network with :class:`Labels`; 0 for others."""
    return max((each.num_classes for each in network.modules() if isinstance(each, Labels)), default=0)


def _refuse(y: Tensor | None) -> None:
    if y is not None:
        raise ValueError("y was given to a network without classes; build it with num_classes")
