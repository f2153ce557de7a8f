"""Modulated convolutions and the standard deviation in a batch, against plain PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from plain_images import assert_same, doubled, filtered, modulated
from torch import Tensor, nn

from fastgan.nn import MinibatchStdDev, ModulatedConv2d, modulated_conv2d, resampled_conv2d
from fastgan.ops import setup_filter

TAPS = (1.0, 3.0, 3.0, 1.0)


def normal(*shape: int, device: str = "cpu") -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, device=device)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("kernel", "up"), [(1, False), (3, False), (3, True)])
def test_each_sample_has_its_own_weights(backend: Backend, demodulate: bool, kernel: int, up: bool) -> None:
    """And all second derivatives are exact."""
    filter = setup_filter(TAPS, backend.device) if up else None
    x, weight, styles = (
        normal(*shape, device=backend.device) for shape in ((3, 4, 5, 6), (2, 4, kernel, kernel), (3, 4))
    )

    def ours(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        more = {"demodulate": demodulate, "padding": kernel // 2, "up": 1 + up, "filter": filter}
        return modulated_conv2d(x, weight, styles, **more)

    def plain(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        return modulated(x, weight, styles, demodulate, up)

    assert_same(ours, plain, (x, weight, styles))


@pytest.mark.parametrize("taps", [(1, 2, 1), TAPS, (1, 2, 3, 4, 6), (3, 1)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_resampled_convolutions(taps: tuple[float, ...], kernel: int, padding: int) -> None:
    """The sums of the taps are powers of two, so that the filter has no rounding errors of float32."""
    x, weight, filter = normal(2, 3, 8, 9), normal(4, 3, kernel, kernel), setup_filter(taps)
    larger = resampled_conv2d(x, weight, padding=padding, up=2, filter=filter)
    torch.testing.assert_close(larger, F.conv2d(doubled(x, taps, padding), weight.flip(2, 3)))
    smaller = resampled_conv2d(x, weight, padding=padding, down=2, filter=filter)
    t = len(taps)
    low = filtered(x, taps, (t - 1) // 2 + padding, (t - 2) // 2 + padding)
    torch.testing.assert_close(smaller, F.conv2d(low, weight, stride=2))


def test_a_filter_may_be_wider_than_high() -> None:
    x, weight, filter = normal(2, 3, 8, 9), normal(4, 3, 3, 3), setup_filter([[1.0, 2.0, 3.0]])
    larger = resampled_conv2d(x, weight, padding=1, up=2, filter=filter)
    assert larger.shape == (2, 4, 16, 18)
    assert resampled_conv2d(x[..., :8], weight, padding=1, down=2, filter=filter).shape == (2, 4, 4, 4)


@pytest.mark.parametrize("autocast", [False, True])
def test_sums_of_float16_do_not_overflow(autocast: bool) -> None:
    x, weight, styles = 10 * torch.randn(2, 512, 4, 4), 100 * torch.randn(8, 512, 3, 3), torch.randn(2, 512)
    styles *= 1000
    exact = modulated(x.double(), weight.double(), styles.double(), demodulate=True)
    with torch.autocast("cpu", torch.float16, enabled=autocast):
        y = modulated_conv2d(x if autocast else x.half(), weight, styles, padding=1)
    assert y.dtype == torch.float16
    assert (y - exact).abs().max() < 2e-3 * exact.abs().max()


def test_scaling_down_in_float16_has_the_gradients_of_float32() -> None:
    inputs = torch.randn(2, 6, 4, 4), torch.randn(3, 6, 3, 3), torch.randn(2, 6)
    grads = []
    for dtype in (torch.float32, torch.float16):
        x, *leaves = (t.clone().requires_grad_() for t in inputs)
        modulated_conv2d(x.to(dtype), *leaves, padding=1).float().sin().sum().backward()
        grads.append([t.grad for t in (x, *leaves)])
    for exact, half in zip(*grads, strict=True):
        assert exact is not None
        assert half is not None
        assert (exact - half).abs().max() < 2e-2 * exact.abs().max()


@pytest.mark.parametrize("demodulate", [True, False])
def test_the_module_keeps_the_variance(demodulate: bool) -> None:
    layer = ModulatedConv2d(64, 48, 3, demodulate=demodulate)
    y = layer(torch.randn(4, 64, 16, 16), torch.ones(4, 64))
    assert y[..., 1:-1, 1:-1].std().item() == pytest.approx(1, abs=0.1)


def test_the_module_doubles_maps() -> None:
    layer = ModulatedConv2d(3, 5, 3, up=2).double()
    x, styles = normal(2, 3, 4, 6), normal(2, 3)
    torch.testing.assert_close(layer(x, styles), modulated(x, layer.weight, styles, True, up=True))


def usual_deviation(x: Tensor, group: int, channels: int) -> Tensor:
    n, c, h, w = x.shape
    groups = n // group
    maps = torch.zeros(n, channels, h, w, dtype=x.dtype)
    for g in range(groups):
        of_group = x[g::groups]
        deviation = (of_group.var(0, correction=0) + 1e-8).sqrt()
        for k in range(channels):
            part = deviation[k * (c // channels) : (k + 1) * (c // channels)].mean()
            maps[g::groups, k] = part
    return torch.cat([x, maps], 1)


@pytest.mark.parametrize(("n", "group", "channels"), [(8, 4, 1), (8, 2, 3), (3, 4, 1), (1, 4, 2)])
def test_deviation_within_groups(n: int, group: int, channels: int) -> None:
    layer = MinibatchStdDev(group, channels)
    usual: Callable[[Tensor], Tensor] = lambda x: usual_deviation(x, min(group, n), channels)  # noqa: E731
    assert_same(layer, usual, [normal(n, 6, 3, 2)])


def test_deviation_of_float16_does_not_overflow() -> None:
    x = (3000 * torch.randn(4, 2, 3, 3)).half()
    deviation = MinibatchStdDev()(x)[:, -1]
    assert deviation.dtype == torch.float16
    torch.testing.assert_close(
        deviation.double(), usual_deviation(x.double(), 4, 1)[:, -1], rtol=1e-3, atol=0
    )


def test_modules_are_single_calls_of_graphs() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.deviation = ModulatedConv2d(3, 4, 3), MinibatchStdDev()

        def forward(self, x: Tensor, styles: Tensor) -> Tensor:
            deviations: Tensor = self.deviation(self.conv(x, styles))
            return deviations

    both, inputs = Both(), (torch.randn(4, 3, 5, 5), torch.randn(4, 3))
    traced = torch.fx.symbolic_trace(both)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["conv", "deviation"]
    assert torch.equal(traced(*inputs), both(*inputs))


X, W = torch.randn(2, 3, 4, 4), torch.randn(5, 3, 3, 3)
ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "styles": (
        lambda: modulated_conv2d(X, W, torch.ones(2, 4)),
        r"styles must have shape \[2, 3\], one number for each channel of x, but has \[2, 4\]",
    ),
    "channels": (lambda: resampled_conv2d(X, W[:, :2]), r"weight \[5, 2, 3, 3\], expected"),
    "both": (lambda: resampled_conv2d(X, W, up=2, down=2), "up is 2 and down is 2"),
    "zero": (lambda: resampled_conv2d(X, W, up=0), "up is 0 and down is 1"),
    "filter": (lambda: resampled_conv2d(X, W, up=2), "filter is missing"),
    "even": (lambda: ModulatedConv2d(3, 4, 2), "kernel_size must be odd and positive, but is 2"),
    "group": (lambda: MinibatchStdDev(4)(torch.ones(6, 2, 3, 3)), "6 samples of 2 channels, expected mult"),
    "divided": (lambda: MinibatchStdDev(2, 2)(torch.ones(4, 3, 3, 3)), "and of channels, 2"),
    "empty": (lambda: MinibatchStdDev(4)(torch.ones(0, 2, 3, 3)), "x has 0 samples"),
    "none": (lambda: MinibatchStdDev(0), "group_size must be at least 1, but is 0"),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
