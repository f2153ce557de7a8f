"""Classes with the names, parameters and results of Snakes in published packages, which CI does not install.

`make peers` runs the same checks with the packages.
"""

from __future__ import annotations

import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.nn import kaiser_sinc_filter


class Snake(nn.Module):
    """As bigvgan's."""

    has_beta = False

    def __init__(self, in_features: int, alpha_logscale: bool = False) -> None:
        super().__init__()
        self.alpha_logscale, self.no_div_by_zero = alpha_logscale, 1e-9
        self.alpha = nn.Parameter(torch.full((in_features,), 0.0 if alpha_logscale else 1.0))
        if self.has_beta:
            self.beta = nn.Parameter(self.alpha.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        numbers = self.alpha[:, None], (self.beta if self.has_beta else self.alpha)[:, None]
        alpha, beta = (n.exp() if self.alpha_logscale else n for n in numbers)
        return x + torch.sin(alpha * x) ** 2 / (beta + self.no_div_by_zero)


class SnakeBeta(Snake):
    has_beta = True


class Snake1d(nn.Module):
    """As dac's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(self.alpha * x) ** 2 / (self.alpha + 1e-9)


class UpSample1d(nn.Module):
    def __init__(self, ratio: int, kernel_size: int) -> None:
        super().__init__()
        self.ratio = self.stride = ratio
        self.kernel_size = kernel_size
        self.register_buffer("filter", kaiser_sinc_filter(kernel_size).view(1, 1, -1))

    def forward(self, x: Tensor) -> Tensor:
        channels, pad = x.shape[1], self.kernel_size // self.ratio - 1
        around = self.kernel_size - self.stride
        left, right = (pad * self.stride + half for half in (around // 2, (around + 1) // 2))
        x = F.pad(x, (pad, pad), mode="replicate")
        taps = self.filter.expand(channels, -1, -1)
        return self.ratio * F.conv_transpose1d(x, taps, stride=self.stride, groups=channels)[..., left:-right]


class LowPassFilter1d(nn.Module):
    def __init__(self, stride: int, kernel_size: int) -> None:
        super().__init__()
        self.stride, self.kernel_size, self.padding, self.padding_mode = (
            stride,
            kernel_size,
            True,
            "replicate",
        )
        self.register_buffer("filter", kaiser_sinc_filter(kernel_size).view(1, 1, -1))

    def forward(self, x: Tensor) -> Tensor:
        channels, half = x.shape[1], self.kernel_size // 2
        x = F.pad(x, (half - (self.kernel_size % 2 == 0), half), mode=self.padding_mode)
        return F.conv1d(x, self.filter.expand(channels, -1, -1), stride=self.stride, groups=channels)


class DownSample1d(nn.Module):
    def __init__(self, ratio: int, kernel_size: int) -> None:
        super().__init__()
        self.ratio, self.lowpass = ratio, LowPassFilter1d(ratio, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.lowpass(x)


class Activation1d(nn.Module):
    def __init__(
        self, activation: nn.Module, up_ratio: int = 2, up_kernel_size: int = 12, down_kernel_size: int = 12
    ) -> None:
        super().__init__()
        self.act = activation
        self.upsample = UpSample1d(up_ratio, up_kernel_size)
        self.downsample = DownSample1d(up_ratio, down_kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.act(self.upsample(x)))


RESAMPLING = {"act": [Activation1d], "resample": [UpSample1d, DownSample1d], "filter": [LowPassFilter1d]}
PACKAGES = {
    "bigvgan.activations": [Snake, SnakeBeta],
    **{f"bigvgan.alias_free_activation.torch.{name}": classes for name, classes in RESAMPLING.items()},
    "dac.nn.layers": [Snake1d],
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the classes those of the packages, which can then be imported."""
    for name, classes in PACKAGES.items():
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            outer = ".".join(parts[:i])
            if outer not in sys.modules:
                monkeypatch.setitem(sys.modules, outer, types.ModuleType(outer))
        for cls in classes:
            monkeypatch.setattr(cls, "__module__", name)
            monkeypatch.setattr(sys.modules[name], cls.__name__, cls, raising=False)
