"""Fully connected networks on fused layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastgan.models.labels import appended, embedding, judged, projection
from fastgan.nn import MLP


class MLPGenerator(nn.Module):
    """Fully connected layers from a latent vector to a sample.

    Args:
        latent_dim: size of the latent vector.
        sample_shape: shape of one sample, ``(2,)`` or ``(C, H, W)``.
        hidden: widths of the hidden layers.
        bounded: whether to end with a tanh, for images in [-1, 1].
        num_classes: number of classes, or 0 for samples without labels.
    """

    def __init__(
        self,
        latent_dim: int,
        sample_shape: Sequence[int],
        hidden: Sequence[int],
        *,
        bounded: bool,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.sample_shape = tuple(sample_shape)
        self.bounded = bounded
        self.labels, width = embedding(num_classes, latent_dim)
        self.mlp = _mlp([width, *hidden, math.prod(sample_shape)])

    def forward(self, latent: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate ``[N, *sample_shape]`` from ``[N, latent_dim]`` and, of classes, labels int64 ``[N]``."""
        flat: Tensor = self.mlp(appended(self.labels, latent, y))
        values = torch.tanh(flat) if self.bounded else flat
        return values.reshape(-1, *self.sample_shape)


class MLPDiscriminator(nn.Module):
    """Fully connected layers from a sample to its logit.

    Args:
        sample_shape: shape of one sample, ``(2,)`` or ``(C, H, W)``.
        hidden: widths of the hidden layers.
        num_classes: number of classes, or 0 for samples without labels.
    """

    def __init__(self, sample_shape: Sequence[int], hidden: Sequence[int], *, num_classes: int = 0) -> None:
        super().__init__()
        features = [math.prod(sample_shape), *hidden]
        self.labels, outputs = projection(num_classes, features[-1])
        self.mlp = _mlp([*features, outputs])

    def forward(self, samples: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits ``[N, 1]`` of samples and, of classes, labels int64 ``[N]``; positive means real."""
        return judged(self.labels, self.mlp(samples.flatten(1)), y)


class MLPAutoencoder(nn.Module):
    """Fully connected layers from a sample to a short code and back: BEGAN's discriminator.

    Args:
        sample_shape: shape of one sample, ``(2,)`` or ``(C, H, W)``.
        hidden: widths of the encoder's layers; the last is the code, which has no activation (Berthelot et
            al., 2017, section 3.5). The decoder has them in reverse order.
    """

    def __init__(self, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        features = [math.prod(sample_shape), *hidden]
        self.encoder, self.decoder = _mlp(features), _mlp(features[::-1])

    def forward(self, samples: Tensor) -> Tensor:
        """Reconstructions ``[N, *sample_shape]`` of samples ``[N, *sample_shape]``."""
        flat: Tensor = self.decoder(self.encoder(samples.flatten(1)))
        return flat.view_as(samples)


def _mlp(features: Sequence[int]) -> MLP:
    """An MLP whose initial outputs are about as large as its inputs (He et al., 2015).

    PyTorch's default initialization shrinks values by 1.7 per layer: initial samples are then close together,
    and the generator may never reach all modes of the data.
    """
    mlp = MLP(features)
    layers = [layer for layer in mlp.layers if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, a=mlp.negative_slope)
        nn.init.zeros_(layer.bias)
    nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="linear")
    return mlp
