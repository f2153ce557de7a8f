"""StyleGAN2 (Karras et al. 2020, arXiv:1912.04958), for classes as in StyleGAN2-ADA (2006.06676)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.models.labels import Labels, projected
from fastgan.models.maps import halved_between
from fastgan.nn import MinibatchStdDev, ModulatedConv2d, resampled_conv2d
from fastgan.ops import bias_act, downsample2d, setup_filter, upsample2d

_FILTER = (1, 3, 3, 1)
_MAPPING_LAYERS, _MAPPING_RATE = 8, 0.01  # the rate multiplies that of the optimizer
_BOUND = 256.0  # of activations in float16

GROUP = 4
"""Samples whose standard deviation D sees."""


class StyleGAN2Generator(nn.Module):
    """Modulated convolutions from a learned constant to an image that each map adds to.

    The latent vector, and the vector of its class, pass through 8 layers to a style of the same size, which
    modulates all convolutions. While training, each convolution adds noise of a learned strength, drawn from
    torch's random generator; in evaluation mode the noise is always the same.

    Args:
        latent_dim: size of the latent vector and of the style.
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: channels of the maps, from the smallest map to that of the image's size; see
            :func:`fastgan.models.image_widths`.
        num_classes: number of classes, or 0 for samples without labels.

    Attributes:
        mapping: from latent vectors ``[N, latent_dim]``, and labels, to styles of the same shape.
        n_styles: number of styles of one image, which differ if styles are mixed.

    Raises:
        ValueError: if the image cannot be halved between each two of ``hidden``.
    """

    def __init__(
        self, latent_dim: int, sample_shape: Sequence[int], hidden: Sequence[int], *, num_classes: int = 0
    ) -> None:
        super().__init__()
        height, width = halved_between(sample_shape, hidden)
        self.n_styles = 2 * len(hidden)
        self.mapping = _Mapping(latent_dim, num_classes)
        self.constant = nn.Parameter(torch.randn(hidden[0], height, width))
        self.first = _StyledConv(hidden[0], hidden[0], latent_dim, (height, width))
        self.doubling, self.keeping = nn.ModuleList(), nn.ModuleList()
        for i, (n_in, n_out) in enumerate(pairwise(hidden), 1):
            size = height * 2**i, width * 2**i
            self.doubling.append(_StyledConv(n_in, n_out, latent_dim, size, up=2))
            self.keeping.append(_StyledConv(n_out, n_out, latent_dim, size))
        self.to_image = nn.ModuleList(_ToImage(n, sample_shape[0], latent_dim) for n in hidden)
        self.filter: Tensor
        self.register_buffer("filter", setup_filter(_FILTER))

    def forward(self, latent: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate ``[N, *sample_shape]`` from ``[N, latent_dim]`` and, of classes, labels int64 ``[N]``.

        Values are not bounded; those of images in [-1, 1] are expected to be there.
        """
        return self.synthesize(self.mapping(latent, y))

    def synthesize(self, styles: Tensor) -> Tensor:
        """Generate images from styles ``[N, latent_dim]``, or ``[N, n_styles, latent_dim]`` to mix styles."""
        if styles.dim() == 2:
            styles = styles.unsqueeze(1).expand(-1, self.n_styles, -1)
        at = styles.unbind(1)
        x = self.first(self.constant.expand(styles.shape[0], -1, -1, -1), at[0])
        image: Tensor = self.to_image[0](x, at[1])
        layers = zip(self.doubling, self.keeping, self.to_image[1:], strict=True)
        for i, (doubling, keeping, to_image) in enumerate(layers, 1):
            x = keeping(doubling(x, at[2 * i - 1]), at[2 * i])
            image = upsample2d(image, self.filter) + to_image(x, at[2 * i + 1])
        return image


class StyleGAN2Discriminator(nn.Module):
    """Convolutions that halve the map, and the standard deviation within groups of 4 samples.

    The batch has a multiple of 4 samples, or fewer than 4.

    Args:
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: channels of the maps, from that of the image's size to the smallest; see
            :func:`fastgan.models.image_widths`.
        num_classes: number of classes, or 0 for samples without labels. The logit is then the product of
            features and a vector of the class (Miyato and Koyama, 2018).
        architecture: ``"resnet"``: each halving is a residual block. ``"skip"``: each map gets the image of
            its size, too.

    Raises:
        ValueError: if the image cannot be halved between each two of ``hidden``, or there is no such
            architecture.
    """

    def __init__(
        self,
        sample_shape: Sequence[int],
        hidden: Sequence[int],
        *,
        num_classes: int = 0,
        architecture: Literal["resnet", "skip"] = "resnet",
    ) -> None:
        super().__init__()
        if architecture not in ("resnet", "skip"):
            raise ValueError(f"architecture is {architecture!r}, expected resnet or skip")
        height, width = halved_between(sample_shape, hidden)
        is_residual = architecture == "resnet"
        seen_at = hidden[:1] if is_residual else hidden
        self.from_image = nn.ModuleList(EqualizedConv2d(sample_shape[0], n, 1) for n in seen_at)
        self.blocks = nn.ModuleList(_Halving(*widths, is_residual) for widths in pairwise(hidden))
        last = hidden[-1]
        self.deviation = MinibatchStdDev(GROUP)
        self.conv = EqualizedConv2d(last + 1, last, 3)
        self.dense = EqualizedLinear(last * height * width, last, act="lrelu")
        self.out = EqualizedLinear(last, last if num_classes else 1)
        self.labels = Labels(num_classes, last)
        self.filter: Tensor
        self.register_buffer("filter", setup_filter(_FILTER))

    def forward(self, samples: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits ``[N, 1]`` of samples and, of classes, labels int64 ``[N]``; positive means real."""
        vectors = self.labels(y, samples.shape[0])
        x = self.from_image[0](samples)
        for i, block in enumerate(self.blocks, 1):
            x = block(x)
            if i < len(self.from_image):
                samples = downsample2d(samples, self.filter)
                x = x + self.from_image[i](samples)
        x = self.conv(self.deviation(x))
        return projected(self.out(self.dense(x.flatten(1))), vectors)


class EqualizedLinear(nn.Module):
    """A linear layer whose normal weights are scaled when it is called, then bias and activation.

    So all weights have the same dynamic range, and learn at the same rate (Karras et al. 2018,
    arXiv:1710.10196, section 4.1).

    Args:
        n_in, n_out: sizes.
        bias: the bias at first.
        rate: multiplies the learning rate.
        act: a function of :func:`fastgan.bias_act`.
    """

    def __init__(
        self, n_in: int, n_out: int, *, bias: float = 0.0, rate: float = 1.0, act: str = "linear"
    ) -> None:
        super().__init__()
        self.rate, self.act = rate, act
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / rate)
        self.bias = nn.Parameter(torch.full((n_out,), bias / rate))

    def forward(self, x: Tensor) -> Tensor:
        product = F.linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])))
        return bias_act(product, self.bias * self.rate, act=self.act)


class EqualizedConv2d(nn.Module):
    """The same for a convolution that keeps or halves the map; by default followed by leaky ReLU.

    Args:
        n_in, n_out: channels.
        kernel_size: an odd number.
        down: 1, or 2 to halve the map.
        bias: whether there are a bias and leaky ReLU.
    """

    filter: Tensor | None

    def __init__(self, n_in: int, n_out: int, kernel_size: int, *, down: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.down = down
        self.weight = nn.Parameter(torch.randn(n_out, n_in, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.register_buffer("filter", setup_filter(_FILTER) if down > 1 else None)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """The map times ``gain``."""
        scale = 1 / math.sqrt(self.weight[0].numel())
        if self.bias is None:
            scale *= gain
        padding = self.weight.shape[-1] // 2
        y = resampled_conv2d(x, self.weight * scale, padding=padding, down=self.down, filter=self.filter)
        return y if self.bias is None else _activated(y, self.bias, gain)


class _Mapping(nn.Module):
    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.labels = Labels(num_classes, latent_dim)
        sizes = [2 * latent_dim if num_classes else latent_dim, *[latent_dim] * _MAPPING_LAYERS]
        self.layers = nn.Sequential(
            *(EqualizedLinear(*pair, rate=_MAPPING_RATE, act="lrelu") for pair in pairwise(sizes))
        )

    def forward(self, latent: Tensor, y: Tensor | None = None) -> Tensor:
        vectors = self.labels(y, latent.shape[0])
        x = _normalized(latent)
        if vectors is not None:
            x = torch.cat([x, _normalized(vectors)], 1)
        styles: Tensor = self.layers(x)
        return styles


class _StyledConv(nn.Module):
    def __init__(self, n_in: int, n_out: int, style: int, size: tuple[int, int], up: int = 1) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style, n_in, bias=1.0)
        self.conv = ModulatedConv2d(n_in, n_out, 3, up=up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.noise: Tensor
        self.register_buffer("noise", torch.randn(1, 1, *size))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y: Tensor = self.conv(x, self.affine(style))
        noise = torch.randn_like(y[:, :1]) if self.training else self.noise.to(y.dtype)
        return _activated(y + noise * self.strength, self.bias)


class _ToImage(nn.Module):
    def __init__(self, n_in: int, channels: int, style: int) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style, n_in, bias=1.0)
        self.conv = ModulatedConv2d(n_in, channels, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        part = bias_act(self.conv(x, self.affine(style)), self.bias, clamp=_bound(x))
        return part.to(self.bias.dtype)  # images are added up in float32, also under autocast


class _Halving(nn.Module):
    def __init__(self, n_in: int, n_out: int, is_residual: bool) -> None:
        super().__init__()
        self.keep = EqualizedConv2d(n_in, n_in, 3)
        self.halve = EqualizedConv2d(n_in, n_out, 3, down=2)
        self.shortcut = EqualizedConv2d(n_in, n_out, 1, down=2, bias=False) if is_residual else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.keep(x)
        if self.shortcut is None:
            halved: Tensor = self.halve(y)
            return halved
        gain = math.sqrt(0.5)  # keeps the variance of the sum
        total: Tensor = self.shortcut(x, gain) + self.halve(y, gain)
        return total


def _activated(x: Tensor, bias: Tensor, gain: float = 1.0) -> Tensor:
    return bias_act(x, bias, act="lrelu", gain=math.sqrt(2) * gain, clamp=_bound(x, gain))


def _bound(x: Tensor, gain: float = 1.0) -> float | None:
    return _BOUND * gain if x.dtype == torch.float16 else None


def _normalized(x: Tensor) -> Tensor:
    """Vectors with a mean square of 1."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
