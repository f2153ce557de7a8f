"""Resampling, modulation and comparisons of derivatives in plain PyTorch, for tests of image networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def filtered(x: Tensor, taps: Sequence[float], left: int, right: int) -> Tensor:
    """Images [N, C, H, W], padded on both axes and convolved with taps along each, which add up to 1."""
    line = torch.tensor(taps, dtype=x.dtype, device=x.device).flip(0)
    line = line / line.sum()
    kernel = (line[:, None] * line).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (left, right, left, right)), kernel, groups=x.shape[1])


def spread(x: Tensor) -> Tensor:
    """A zero after each pixel, along both axes."""
    n, c, h, w = x.shape
    zeros = torch.zeros_like(x)
    pairs = torch.stack([torch.stack([x, zeros], -1), torch.stack([zeros, zeros], -1)], 3)
    return pairs.reshape(n, c, 2 * h, 2 * w)


def doubled(x: Tensor, taps: Sequence[float], more: int = 0) -> Tensor:
    """Twice the size, and ``more`` pixels on each side."""
    t = len(taps)
    return 4 * filtered(spread(x), taps, (t + 1) // 2 + more, (t - 2) // 2 + more)


def halved(x: Tensor, taps: Sequence[float]) -> Tensor:
    t = len(taps)
    return filtered(x, taps, (t - 1) // 2, (t - 2) // 2)[:, :, ::2, ::2]


def modulated(x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, up: bool = False) -> Tensor:
    """Each sample by itself, with its own weights (Karras et al. 2020, eq. 1 and 3)."""
    maps = []
    for each, style in zip(x, styles, strict=True):
        own = weight * style[:, None, None]
        if demodulate:
            own = own / (own.pow(2).flatten(1).sum(1) + 1e-8).sqrt()[:, None, None, None]
        reach = weight.shape[-1] // 2
        if up:
            maps.append(F.conv2d(doubled(each[None], (1, 3, 3, 1), reach), own.flip(2, 3)))
        else:
            maps.append(F.conv2d(each[None], own, padding=reach))
    return torch.cat(maps)


def derivatives(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The value, its gradients, and the gradients of a function of these."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    value = function(*leaves)
    first = torch.autograd.grad(value.sin().sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves, allow_unused=True)
    unused = [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, second, strict=True)]
    return [value, *first, *unused]


def assert_same(
    ours: Callable[..., Tensor],
    plain: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    tolerance: float = 1e-10,
) -> None:
    """Compare values, first and second derivatives, relative to the largest element of each tensor."""
    results = derivatives(ours, inputs), derivatives(plain, inputs)
    for i, (actual, expected) in enumerate(zip(*results, strict=True)):
        error = (actual - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
        assert error <= tolerance, f"tensor {i}: {error:.1e}"


def randomized(network: nn.Module) -> nn.Module:
    """In float64, with no parameter at its first value of zero."""
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def penalty_gradients(penalty: Callable[[], Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The penalty, and its gradient with respect to each parameter; zeros if it has none."""
    network.zero_grad()
    value = penalty()
    value.backward()
    grads = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in network.named_parameters()
    }
    return {"the penalty": value.detach(), **grads}


def plain_r1(discriminator: Callable[[Tensor], Tensor], real: Tensor, weight: float) -> Tensor:
    x = real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return weight / 2 * slope.pow(2).sum([1, 2, 3]).mean()


def assert_same_r1(
    ours: Callable[[], Tensor], plain: Callable[[], Tensor], network: nn.Module, tolerance: float = 1e-10
) -> None:
    """Compare two penalties and their gradients with respect to every parameter."""
    expected = penalty_gradients(plain, network)
    for name, actual in penalty_gradients(ours, network).items():
        error = (actual - expected[name]).abs().max() / expected[name].abs().max().clamp(min=1e-12)
        assert error <= tolerance, f"{name}: {error:.1e}"
