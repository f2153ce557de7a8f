"""Modules for Snake, with BigVGAN's parameters and state_dict keys."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from fastgan import ops
from fastgan.graphs import in_graph
from fastgan.hooks import has_hooks
from fastgan.kernels.native import in_compute_dtype
from fastgan.kernels.reference_snake import FEWEST_TAPS, MOST_TAPS, RATIO, downsampled, upsampled
from fastgan.ops.arguments import check_eps


class Snake(nn.Module):
    """:func:`fastgan.snake` with a frequency to learn for each channel: [N, C, T] to [N, C, T].

    Args:
        channels: C.
        alpha: the frequency at first, or its logarithm if ``log_scale``. By default the frequency is 1.
        log_scale: whether the parameters are logarithms.
        eps: added to the divisor.

    Raises:
        ValueError: ``eps`` is negative.
    """

    def __init__(
        self,
        channels: int,
        alpha: float | None = None,
        log_scale: bool = False,
        eps: float = 1e-9,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_eps(eps)
        self.log_scale, self.eps = log_scale, eps
        if alpha is None:
            alpha = 0.0 if log_scale else 1.0
        self.alpha = nn.Parameter(torch.full((channels,), float(alpha), device=device, dtype=dtype))

    def numbers(self) -> tuple[Tensor, Tensor | None]:
        """Return alpha, and beta if it is another tensor."""
        return self.alpha, None

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy):
            return in_graph(self, x)
        return ops.snake(x, *self.numbers(), self.log_scale, self.eps)

    def extra_repr(self) -> str:
        return f"{self.alpha.numel()}, log_scale={self.log_scale}, eps={self.eps:g}"


class SnakeBeta(Snake):
    """:class:`Snake` with a divisor to learn too, ``beta``, which starts at the value of ``alpha``."""

    def __init__(
        self,
        channels: int,
        alpha: float | None = None,
        log_scale: bool = False,
        eps: float = 1e-9,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, alpha, log_scale, eps, device, dtype)
        self.beta = nn.Parameter(self.alpha.detach().clone())

    def numbers(self) -> tuple[Tensor, Tensor | None]:
        return self.alpha, self.beta


class AntiAliasedSnake(nn.Module):
    """A Snake at twice the rate, :func:`fastgan.anti_aliased_snake`: [N, C, T] to [N, C, T].

    Upsampling, activation and downsampling are submodules. If one of them has a hook or was replaced, the
    three are called one by one.

    Args:
        act: the activation.
        up_taps: length of the filter for upsampling, 2 to 24, better even (see :func:`kaiser_sinc_filter`).
        down_taps: length of the filter for downsampling, 2 to 24.

    Raises:
        TypeError: ``act`` is not a :class:`Snake` or :class:`SnakeBeta`.
        ValueError: a filter is too short or too long.
    """

    act: nn.Module
    upsample: Any  # a module with a filter, unless replaced
    downsample: Any

    def __init__(self, act: Snake, up_taps: int = 12, down_taps: int = 12) -> None:
        super().__init__()
        if not isinstance(act, Snake):
            raise TypeError(f"act must be a Snake or SnakeBeta, but is {type(act).__name__}")
        for name, taps in (("up_taps", up_taps), ("down_taps", down_taps)):
            if not FEWEST_TAPS <= taps <= MOST_TAPS:
                raise ValueError(f"{name} must be {FEWEST_TAPS} to {MOST_TAPS}, but is {taps}")
        self.act = act
        self.upsample = Upsampling(kaiser_sinc_filter(up_taps).to(act.alpha))
        self.downsample = Downsampling(kaiser_sinc_filter(down_taps).to(act.alpha))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy):
            return in_graph(self, x)
        act = self.act
        if not isinstance(act, Snake) or not self._is_plain(x, act):
            y: Tensor = self.downsample(act(self.upsample(x)))
            return y
        up, down = self.upsample.filter, self.downsample.lowpass.filter
        return ops.anti_aliased_snake(x, *act.numbers(), up, down, RATIO, act.log_scale, act.eps)

    def _is_plain(self, x: Tensor, act: Snake) -> bool:
        """Whether calling the submodules with ``x`` does no more than their classes say."""
        up, down = self.upsample, self.downsample
        if type(up) is not Upsampling or type(down) is not Downsampling:
            return False
        is_known = type_before_parametrizations(act) in (Snake, SnakeBeta)
        return is_known and not any(map(has_hooks, (act, up, down, down.lowpass)))


class Filter(nn.Module):
    """A module with the taps of a filter.

    Attributes:
        filter: ``[1, 1, taps]``.
    """

    filter: Tensor

    def __init__(self, taps: Tensor) -> None:
        super().__init__()
        self.register_buffer("filter", taps.view(1, 1, -1))


class Upsampling(Filter):
    """Upsampling by 2: [N, C, T] to [N, C, 2 T]."""

    def forward(self, x: Tensor) -> Tensor:
        return upsampled(in_compute_dtype(x), self.filter.flatten()).to(x.dtype)


class LowPass(Filter):
    """A low-pass filter that keeps every other sample: [N, C, 2 T] to [N, C, T]."""

    def forward(self, x: Tensor) -> Tensor:
        return downsampled(in_compute_dtype(x), self.filter.flatten()).to(x.dtype)


class Downsampling(nn.Module):
    """Downsampling by 2, [N, C, 2 T] to [N, C, T]. The filter is that of a submodule, as in BigVGAN."""

    lowpass: nn.Module

    def __init__(self, taps: Tensor) -> None:
        super().__init__()
        self.lowpass = LowPass(taps)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lowpass(x)
        return y


def kaiser_sinc_filter(taps: int) -> Tensor:
    """Return BigVGAN's low-pass filter for a change of the rate by 2, ``[taps]``; the taps add up to 1.

    It is a sinc with cutoff at half the band, in a Kaiser window for a transition of 0.6 of the band. The
    window's attenuation is Kaiser's estimate for this number of taps (Kaiser 1974).

    For upsampling choose an even number. With an odd one, the taps behind the even samples and those behind
    the odd samples have other sums, and a constant signal alternates: by 12 % with 5 taps, 0.3 % with 11.

    Raises:
        ValueError: ``taps`` is less than 2.
    """
    if taps < FEWEST_TAPS:
        raise ValueError(f"taps must be at least {FEWEST_TAPS}, but is {taps}")
    width = 4 * 0.6 / RATIO  # of the transition, in units of half the rate
    attenuation = 2.285 * (taps // 2 - 1) * math.pi * width + 7.95  # in dB
    shape = 0.0
    if attenuation > 50:
        shape = 0.1102 * (attenuation - 8.7)
    elif attenuation >= 21:
        shape = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    at = torch.arange(taps) - taps // 2 + (0.5 if taps % 2 == 0 else 0.0)
    window = torch.kaiser_window(taps, periodic=False, beta=shape)
    impulse = window * torch.sinc(at / RATIO)
    return impulse / impulse.sum()
