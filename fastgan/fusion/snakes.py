"""Fused classes for the Snakes of published packages, which are recognized by the names of their classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from fastgan.hooks import has_hooks
from fastgan.kernels.reference_snake import FEWEST_TAPS, MOST_TAPS, RATIO
from fastgan.ops.arguments import HALVES
from fastgan.snakes import AntiAliasedSnake, Snake


class PublishedSnake(Snake):
    """A Snake of a package, whose own forward takes other signals than [N, C, T], and mixes dtypes."""

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy) or _fits(x, *self.numbers()):
            return super().forward(x)
        y: Tensor = super(Snake, self).forward(x)
        return y


class BigVGANSnake(PublishedSnake):
    """``Snake`` and ``SnakeBeta`` of bigvgan, and ``SnakeBeta`` of stable_audio_tools."""

    alpha_logscale: bool
    no_div_by_zero: float

    @property
    def log_scale(self) -> bool:  # type: ignore[override]
        return self.alpha_logscale

    @property
    def eps(self) -> float:  # type: ignore[override]
        return self.no_div_by_zero


class BigVGANSnakeBeta(BigVGANSnake):
    beta: Tensor

    def numbers(self) -> tuple[Tensor, Tensor | None]:
        return self.alpha, self.beta


class DACSnake(PublishedSnake):
    """``Snake1d`` of dac, with alpha of shape [1, C, 1]."""

    log_scale = False
    eps = 1e-9


class BigVGANActivation(AntiAliasedSnake):
    """``Activation1d`` of bigvgan and alias_free_torch."""

    def _is_plain(self, x: Tensor, act: Snake) -> bool:
        if why_no_fused_activation(self) is not None:
            return False
        up, down = self.upsample, self.downsample
        if any(map(has_hooks, (act, up, down, down.lowpass))):
            return False
        return _fits(x, *act.numbers(), up.filter, down.lowpass.filter)


def _fits(x: Tensor, alpha: Tensor, *others: Tensor | None) -> bool:
    """Whether the operation takes a signal with these numbers and filters, as the package's forward does."""
    dtypes = (x.dtype, torch.float32) if x.dtype in HALVES else (x.dtype,)
    of_channels = x.dim() == 3 and x.shape[1] == alpha.numel()
    return of_channels and all(t is None or t.dtype in dtypes for t in (alpha, *others))


SNAKES: dict[str, type[nn.Module]] = {
    "bigvgan.activations.Snake": BigVGANSnake,
    "bigvgan.activations.SnakeBeta": BigVGANSnakeBeta,
    "dac.nn.layers.Snake1d": DACSnake,
    "stable_audio_tools.models.blocks.SnakeBeta": BigVGANSnakeBeta,
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "alias_free_torch.act.Activation1d": BigVGANActivation,
    "bigvgan.alias_free_activation.torch.act.Activation1d": BigVGANActivation,
}


def find_snakes(model: nn.Module) -> tuple[dict[nn.Module, str], dict[str, str]]:
    """Find the Snakes that can be fused.

    Returns the name of the operation for each of them, and the reason for each that cannot be fused, by name.
    """
    found: dict[nn.Module, str] = {}
    left: dict[str, str] = {}
    for name, each in model.named_modules():
        if isinstance(each, (Snake, AntiAliasedSnake)):
            continue
        cls = full_name(type_before_parametrizations(each))
        if cls in SNAKES:
            found[each] = "fastgan.snake"
        elif cls in ACTIVATIONS:
            reason = why_no_fused_activation(each)
            if reason is None:
                found[each] = "fastgan.anti_aliased_snake"
            else:
                left[name] = reason
    return found, left


def snake_class(plain: type[nn.Module]) -> type[nn.Module] | None:
    """Return the class with the forward of a published Snake; None if the class is not known."""
    return SNAKES.get(full_name(plain)) or ACTIVATIONS.get(full_name(plain))


def is_fused_snake(module: nn.Module) -> bool:
    """Whether :func:`fastgan.fuse` changed the class of a published Snake."""
    plain = snake_class(type_before_parametrizations(module))
    return plain is not None and isinstance(module, (Snake, AntiAliasedSnake))


def full_name(cls: type[nn.Module]) -> str:
    """Return the name under which a class is known here. A fused class has the name of the plain one."""
    return f"{cls.__module__}.{cls.__qualname__}"


def why_no_fused_activation(activation: Any) -> str | None:
    """The reason why an ``Activation1d`` cannot be computed in one kernel; None if it can."""
    up, down = activation.upsample, activation.downsample
    act = type_before_parametrizations(activation.act)
    if full_name(act) not in SNAKES:
        return f"its activation, {act.__name__}, has no fused form"
    package = type_before_parametrizations(activation).__module__.removesuffix("act")
    expected = "resample.UpSample1d", "resample.DownSample1d", "filter.LowPassFilter1d"
    low: Any = getattr(down, "lowpass", None)
    if any(full_name(type(m)) != package + name for m, name in zip((up, down, low), expected, strict=True)):
        return "its resampling was replaced"
    if (up.ratio, up.stride, down.ratio, low.stride) != (RATIO,) * 4:
        return (
            f"it upsamples by {up.ratio} and downsamples by {down.ratio}, and only {RATIO} has a fused form"
        )
    if not low.padding or low.padding_mode != "replicate":
        return "its low-pass filter does not repeat the ends of the signal"
    # the packages return an empty signal for an up filter of 2 taps
    taps = up.kernel_size, low.kernel_size
    if not FEWEST_TAPS < taps[0] <= MOST_TAPS or not FEWEST_TAPS <= taps[1] <= MOST_TAPS:
        return f"its filters have {taps[0]} and {taps[1]} taps, and only 3 to {MOST_TAPS} have a fused form"
    if up.filter.requires_grad or low.filter.requires_grad:
        return "its filters require gradients"
    return None
