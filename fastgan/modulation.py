"""Convolutions whose input channels are scaled for each sample, and statistics of a batch as a channel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from fastgan import ops
from fastgan.graphs import in_graph

_EPS = 1e-8


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    padding: int = 0,
    up: int = 1,
    down: int = 1,
    filter: Tensor | None = None,
) -> Tensor:
    r"""A convolution with weights :math:`s_i w_{oik}` of each sample's own, normalized for each output.

    With styles s, input channels i and places k in the kernel, the weights are

    .. math:: \frac{s_i w_{oik}}{\sqrt{\sum_{ik} (s_i w_{oik})^2 + 10^{-8}}}

    (Karras et al. 2020, arXiv:1912.04958, eq. 1 and 3). They are never stored: the input is scaled by s, and
    the output by the inverse root. All derivatives of both factors are exact.

    In float16, also under autocast, weights and styles are first divided by their largest magnitudes, which
    cancel, so that sums do not overflow (as in the code of Karras et al. 2020, arXiv:2006.06676).

    Args:
        x: ``[N, I, H, W]``.
        weight: ``[O, I, height, width]``.
        styles: s, ``[N, I]``.
        demodulate: whether to divide by the root.
        padding, up, down, filter: as for :func:`resampled_conv2d`.

    Raises:
        ValueError: the shapes do not fit each other, or as :func:`resampled_conv2d`.
    """
    if styles.shape != x.shape[:2]:
        raise ValueError(
            f"styles must have shape {list(x.shape[:2])}, one number for each channel of x, but has "
            f"{list(styles.shape)}"
        )
    if demodulate and _computes_in_float16(x):
        weight, styles = _scaled_down(weight), styles / _largest(styles, [1])
    # One group for each sample, with weights of its own, would be the same: on a CPU, forward and backward of
    # 16 samples take 409 ms instead of 15 with 256 channels of 4 x 4, 51 instead of 49 with 64 of 32 x 32.
    scaled = x * styles.to(x.dtype)[:, :, None, None]
    y = resampled_conv2d(scaled, weight.to(x.dtype), padding=padding, up=up, down=down, filter=filter)
    if not demodulate:
        return y
    return y * _inverse_norms(weight, styles).to(y.dtype)[:, :, None, None]


def resampled_conv2d(
    x: Tensor,
    weight: Tensor,
    *,
    padding: int = 0,
    up: int = 1,
    down: int = 1,
    filter: Tensor | None = None,
) -> Tensor:
    """A convolution after upsampling or before downsampling, with a low-pass filter on the finer grid.

    Args:
        x: ``[N, I, H, W]``.
        weight: ``[O, I, height, width]``. With ``up`` it is mirrored, as in ``F.conv_transpose2d``.
        padding: zeros on each side of the finer grid. Half the kernel's size, rounded down, keeps the size of
            an image whose sides ``down`` divides.
        up, down: factors; one of them is 1.
        filter: of :func:`fastgan.setup_filter`; needed unless both factors are 1.

    Raises:
        ValueError: the shapes do not fit, both factors are greater than 1, or the filter is missing.
    """
    _check_convolution(x, weight, up, down, filter)
    if filter is None or up == down == 1:
        return F.conv2d(x, weight, padding=padding)
    taps = filter.shape[-1], filter.shape[0]  # of x, then y, as in upfirdn2d
    kernel = weight.shape[3], weight.shape[2]
    if up > 1:
        # the transposed convolution pads by all of the kernel, except for zeros that it does not insert
        # after the last pixel; what it pads too much, the filter crops
        y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=up)
        sides = [
            side
            for t, k in zip(taps, kernel, strict=True)
            for side in (padding + (t + up - 1) // 2 - (k - 1), padding + (t - up) // 2 - (k - up))
        ]
        return ops.upfirdn2d(y, filter, padding=sides, gain=up * up)
    sides = [padding + side for t in taps for side in ((t - down + 1) // 2, (t - down) // 2)]
    if kernel == (1, 1):  # which need not see the pixels that are left out
        return F.conv2d(ops.upfirdn2d(x, filter, down=down, padding=sides), weight)
    return F.conv2d(ops.upfirdn2d(x, filter, padding=sides), weight, stride=down)


class ModulatedConv2d(nn.Module):
    """:func:`modulated_conv2d` with a weight to learn: ``[N, in_channels, H, W]`` and styles to maps.

    The weight is normal. Without demodulation the output is divided by the root of the number of its inputs,
    which keeps the variance. The size is kept, or multiplied by ``up``.

    Args:
        in_channels, out_channels: I and O.
        kernel_size: an odd number.
        demodulate: whether to normalize the weights of each sample.
        up: factor of the size.
        filter: taps of the filter for upsampling, if ``up`` is greater than 1.

    Raises:
        ValueError: ``kernel_size`` is not odd and positive, or ``up`` is less than 1.
    """

    filter: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        demodulate: bool = True,
        up: int = 1,
        filter: tuple[float, ...] = (1, 3, 3, 1),
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and positive, but is {kernel_size}")
        if up < 1:
            raise ValueError(f"up must be at least 1, but is {up}")
        self.demodulate, self.up = demodulate, up
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.register_buffer("filter", ops.setup_filter(filter) if up > 1 else None)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy):
            return in_graph(self, x, styles)
        if not self.demodulate:
            styles = styles / math.sqrt(self.weight[0].numel())
        return modulated_conv2d(
            x,
            self.weight,
            styles,
            demodulate=self.demodulate,
            padding=self.weight.shape[-1] // 2,
            up=self.up,
            filter=self.filter,
        )

    def extra_repr(self) -> str:
        out_channels, in_channels, kernel_size, _ = self.weight.shape
        return f"{in_channels}, {out_channels}, {kernel_size}, demodulate={self.demodulate}, up={self.up}"


class MinibatchStdDev(nn.Module):
    """Appends the standard deviation within groups of samples: [N, C, H, W] to [N, C + channels, H, W].

    The deviation of each element among the samples of a group, averaged over the map and over C / channels
    channels, is a constant map of all samples of the group (Karras et al. 2018, arXiv:1710.10196, section 3).
    A group has the samples i, i + N / group_size, and so on. A smaller batch is one group.

    Args:
        group_size: samples of a group.
        channels: maps to append.
    """

    def __init__(self, group_size: int = 4, channels: int = 1) -> None:
        super().__init__()
        for name, number in (("group_size", group_size), ("channels", channels)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, but is {number}")
        self.group_size, self.channels = group_size, channels

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError if the groups do not divide the batch, or ``channels`` those of ``x``."""
        if isinstance(x, fx.Proxy):
            return in_graph(self, x)
        n, c, h, w = x.shape
        group = min(self.group_size, n)
        if n == 0 or n % group or c % self.channels:
            raise ValueError(
                f"x has {n} samples of {c} channels, expected multiples of group_size, {group}, and of "
                f"channels, {self.channels}"
            )
        # squares of half types would overflow or vanish
        grouped = x.to(_wide(x.dtype)).reshape(group, n // group, self.channels, -1)
        deviations = (grouped.var(0, correction=0) + _EPS).sqrt().mean(-1)  # [N / group, channels]
        maps = deviations.to(x.dtype).repeat(group, 1)[:, :, None, None].expand(-1, -1, h, w)
        return torch.cat([x, maps], 1)

    def extra_repr(self) -> str:
        return f"group_size={self.group_size}, channels={self.channels}"


def _inverse_norms(weight: Tensor, styles: Tensor) -> Tensor:
    """One divided by the norm of each sample's weights for each output, ``[N, O]``."""
    w, s = (t.to(_wide(t.dtype)) for t in (weight, styles))
    with torch.autocast(w.device.type, enabled=False):  # the sums of squares of half types would overflow
        return (s.square() @ w.square().sum([2, 3]).t() + _EPS).rsqrt()


def _scaled_down(weight: Tensor) -> Tensor:
    """The weight with rows of norm at most 1."""
    return weight / (_largest(weight, [1, 2, 3]) * math.sqrt(weight[0].numel()))


def _largest(tensor: Tensor, dims: list[int]) -> Tensor:
    """The largest magnitude. It has no gradient, as the result does not depend on it."""
    return tensor.detach().abs().amax(dims, keepdim=True).clamp(min=torch.finfo(tensor.dtype).tiny)


def _computes_in_float16(x: Tensor) -> bool:
    kind = x.device.type
    under_autocast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    return x.dtype == torch.float16 or under_autocast


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _check_convolution(x: Tensor, weight: Tensor, up: int, down: int, filter: Tensor | None) -> None:
    if x.dim() != 4 or weight.dim() != 4 or weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"x has shape {list(x.shape)} and weight {list(weight.shape)}, expected [N, I, H, W] and "
            "[O, I, height, width]"
        )
    if min(up, down) != 1:
        raise ValueError(f"up is {up} and down is {down}, expected one of them to be 1")
    if max(up, down) > 1 and filter is None:
        raise ValueError(
            "filter is missing, which upsampling and downsampling need; pass fastgan.setup_filter's"
        )
