"""upfirdn2d against SciPy and PyTorch's convolutions: filters, factors, paddings, memory orders."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from conftest import running_on
from oracle import DTYPES, check
from scipy.signal import upfirdn
from tables import cases, threaded, views_and_dtypes
from torch import Tensor

import fastgan

Sides = tuple[int, int, int, int]
FOUR = fastgan.setup_filter([1, 3, 3, 1])


def usual(
    x: Tensor,
    f: Tensor,
    up: int | tuple[int, int] = 1,
    down: int | tuple[int, int] = 1,
    padding: Sides = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """As it is written in PyTorch: zeros, padding, a convolution with a group for each channel, strides."""
    (up_x, up_y), (down_x, down_y) = ((n, n) if isinstance(n, int) else n for n in (up, down))
    n, c, h, w = x.shape
    x = x.reshape(n, c, h, 1, w, 1)
    x = F.pad(x, [0, up_x - 1, 0, 0, 0, up_y - 1]).reshape(n, c, h * up_y, w * up_x)
    left, right, top, bottom = padding
    x = F.pad(x, [max(side, 0) for side in padding])
    x = x[:, :, max(-top, 0) : x.shape[2] - max(-bottom, 0), max(-left, 0) : x.shape[3] - max(-right, 0)]
    kernel = f if f.dim() == 2 else torch.outer(f, f)
    kernel = (kernel if flip_filter else kernel.flip([0, 1])) * gain
    y = F.conv2d(x, kernel.to(x.dtype).expand(c, 1, *kernel.shape), groups=c)
    return y[:, :, ::down_y, ::down_x]


def check_upfirdn2d(x: Tensor, f: Tensor, **call: Any) -> None:
    def by(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: function(x, f.to(x), **call)

    check(by(fastgan.upfirdn2d), by(usual), by(usual), [x])


def sample(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    return torch.randn(shape).to(device, dtype)


# As networks call it: 2x up and down with four taps, a blur, and the 12 taps of StyleGAN3 and of ADA.
TWELVE = torch.hann_window(14)[1:-1] + torch.linspace(-0.1, 0.1, 12)
COMMON: dict[str, dict[str, Any]] = {
    "up": {"f": FOUR, "up": 2, "padding": (2, 1, 2, 1), "gain": 4.0},
    "down": {"f": FOUR, "down": 2, "padding": (1, 1, 1, 1)},
    "blur": {"f": FOUR, "padding": (1, 2, 2, 1)},
    "up-12": {"f": TWELVE, "up": 2, "padding": (6, 5, 6, 5), "gain": 4.0},
    "down-12": {"f": TWELVE, "down": 2, "padding": (5, 5, 5, 5)},
    "asymmetric": {"f": torch.arange(16.0).view(4, 4) / 16 - 0.4, "up": 2, "padding": (2, 1, 2, 1)},
}
common = pytest.mark.parametrize("name", [name for name in COMMON if not name.endswith("-12")])


@common
@pytest.mark.parametrize(
    ("dtype", "shape"),
    cases([(2, 3, 8, 8)], [(1, 1, 2, 2), (2, 2, 5, 19)], [(1, 2, 33, 70), (3, 40, 16, 16), (1, 1, 130, 3)]),
)
def test_common_calls(variant: Backend, dtype: torch.dtype, shape: tuple[int, ...], name: str) -> None:
    call = dict(COMMON[name])
    check_upfirdn2d(sample(shape, dtype, variant.device), call.pop("f"), **call)


@pytest.mark.parametrize("name", ["up-12", "down-12"])
@pytest.mark.parametrize(("dtype", "shape"), cases([(1, 2, 6, 9)], long=[(1, 2, 33, 70), (3, 40, 16, 16)]))
def test_twelve_taps(variant: Backend, dtype: torch.dtype, shape: tuple[int, ...], name: str) -> None:
    x, call = sample(shape, dtype, variant.device), dict(COMMON[name])
    f = call.pop("f")
    check_upfirdn2d(x, f, **call)
    check_upfirdn2d(x.contiguous(memory_format=torch.channels_last), f, **call)


@common
@pytest.mark.parametrize(("dtype", "shape"), cases([(2, 8, 8, 8)], [(1, 5, 7, 9)], [(2, 40, 17, 30)]))
def test_channels_last_is_kept(
    variant: Backend, dtype: torch.dtype, shape: tuple[int, ...], name: str
) -> None:
    x = sample(shape, dtype, variant.device).contiguous(memory_format=torch.channels_last)
    call = dict(COMMON[name])
    f = call.pop("f").to(x)
    check_upfirdn2d(x, f, **call)
    if variant.name == "reference":
        return  # PyTorch's convolutions return contiguous tensors
    leaf = x.detach().requires_grad_()
    output = fastgan.upfirdn2d(leaf, f, **call)
    assert output.is_contiguous(memory_format=torch.channels_last)
    for grad in (torch.ones_like(output), torch.ones_like(output).contiguous()):
        (dx,) = torch.autograd.grad(output, leaf, grad, retain_graph=True)
        assert dx.shape == x.shape


def any_call(draw: random.Random) -> tuple[tuple[int, int], Tensor, dict[str, Any]] | None:
    """A size of images, a filter and further arguments; None if nothing would be left."""
    numbers = lambda low, high, count: tuple(draw.randint(low, high) for _ in range(count))  # noqa: E731
    size, up, down = numbers(1, 9, 2), numbers(1, 4, 2), numbers(1, 4, 2)
    taps = numbers(1, 7, draw.randint(1, 2))
    padding = numbers(-4, 8, 4)
    height, width = size[0] * up[1] + sum(padding[2:]), size[1] * up[0] + sum(padding[:2])
    if height < taps[0] or width < taps[-1]:
        return None
    call = {"up": up, "down": down, "padding": padding, "flip_filter": draw.random() < 0.5}
    return size, torch.randn(taps), {**call, "gain": draw.choice([1.0, -2.5, 4.0])}  # type: ignore[return-value]


@pytest.mark.breadth
@pytest.mark.parametrize(
    "shape",
    [
        *[(1, 1, 3, 2100), (1, 97, 4, 5), (1, 1, 150, 3)],
        pytest.param((2, 130, 3, 40), marks=pytest.mark.long),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=["planes", "last"])
def test_several_tiles(variant: Backend, shape: tuple[int, ...], order: torch.memory_format) -> None:
    """More columns, channels and rows than kernels compute at a time, and many small planes."""
    x = sample(shape, torch.float32, variant.device).contiguous(memory_format=order)
    for call in ({"up": 2, "padding": (2, 1, 2, 1)}, {"down": (2, 3), "padding": (1, 1, 1, 1)}):
        check_upfirdn2d(x, torch.randn(4, 4), **call)
        check_upfirdn2d(x, FOUR, **call)


@pytest.mark.parametrize("change", [0.0, 1e-5])
def test_outer_product(variant: Backend, change: float) -> None:
    """Kernels may apply an outer product along one axis after the other, but not what is almost one."""
    f = torch.outer(torch.tensor([0.3, -0.7, 0.1]), torch.tensor([0.9, 0.2, -0.4, 0.3, 0.7]))
    f = f / f.sum()
    f[1, 2] *= 1 + change
    check_upfirdn2d(sample((1, 2, 9, 11), torch.float32, variant.device), f, padding=(2, 2, 1, 1))


def test_outer_product_of_small_and_large_taps(variant: Backend) -> None:
    """The first of two passes overflows no more than the result."""
    f = torch.outer(torch.tensor([1e-30, 2e-30]), torch.tensor([1e30, 3e30, 5e29]))
    check_upfirdn2d(sample((1, 2, 5, 6), torch.float32, variant.device) * 1e30, f, up=2)


@pytest.mark.parametrize("seed", range(8))
def test_any_factors_padding_and_filter(variant: Backend, seed: int) -> None:
    draw = random.Random(seed)
    done = 0
    while done < (6 if variant.is_interpreted else 40):
        found = any_call(draw)
        if found is None:
            continue
        size, f, call = found
        x = sample((1, 2, *size), torch.float64 if done % 2 else torch.float32, variant.device)
        check_upfirdn2d(x, f, **call)
        check_upfirdn2d(x.contiguous(memory_format=torch.channels_last), f, **call)
        done += 1


@pytest.mark.breadth
@pytest.mark.parametrize(
    "taps",
    [
        *[(1,), (2,), (3,), (8,), (32,), (1, 1), (2, 5)],
        *[pytest.param(taps, marks=pytest.mark.long) for taps in ((13,), (9, 9), (32, 32))],
    ],
    ids=str,
)
def test_filters(variant: Backend, taps: tuple[int, ...]) -> None:
    f = torch.randn(taps)
    x = sample((1, 2, 6, 10), torch.float32, variant.device)
    sides = (f.shape[-1] // 2, (f.shape[-1] - 1) // 2, len(f) // 2, (len(f) - 1) // 2)
    for factors in ({}, {"up": 2}, {"down": 2}, {"up": 3, "down": 2}):
        check_upfirdn2d(x, f, padding=sides, **factors)


@pytest.mark.parametrize("taps", [4, 12, 31])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_is_that_of_scipy(backend: Backend, taps: int, up: int, down: int) -> None:
    """Padded by the number of taps - 1, the ends are those of SciPy, and zeros after the last pixel."""
    h, x = np.random.default_rng(0).normal(size=taps), np.random.default_rng(1).normal(size=(2, 9))
    expected = upfirdn(h, x, up, down, axis=1)
    image = torch.from_numpy(x).view(1, 1, 2, 9).to(backend.device)
    filter = torch.from_numpy(h).view(1, -1).to(backend.device)
    found = fastgan.upfirdn2d(image, filter, up=(up, 1), down=(down, 1), padding=(taps - 1, taps - 1, 0, 0))
    end = expected.shape[1]
    torch.testing.assert_close(found[0, 0, :, :end].cpu(), torch.from_numpy(expected), rtol=0, atol=1e-13)
    assert not found[0, 0, :, end:].any()


@views_and_dtypes
def test_strides(variant: Backend, view: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    x = view(sample((4, 2, 6, 4), dtype, variant.device))
    for name in ("up", "down"):
        call = dict(COMMON[name])
        check_upfirdn2d(x, call.pop("f"), **call)


def test_half_types_with_a_float32_filter(variant: Backend) -> None:
    """The filter of a model in half precision is often float32: it is not rounded."""
    x = sample((2, 3, 8, 8), torch.float32, variant.device)
    f = torch.randn(4, 4).to(x)
    for dtype in (torch.float16, torch.bfloat16):
        half = x.to(dtype)
        found = fastgan.upfirdn2d(half, f, up=2, padding=(2, 1, 2, 1))
        exact = usual(half.double(), f.double(), up=2, padding=(2, 1, 2, 1))
        assert found.dtype is dtype
        assert (found.double() - exact).norm() <= torch.finfo(dtype).eps / 2 * exact.norm()


def test_float32_filter_of_float64_images(variant: Backend) -> None:
    x = sample((1, 2, 5, 5), torch.float64, variant.device)
    f = FOUR.to(variant.device)
    assert torch.equal(fastgan.filter2d(x, f), fastgan.filter2d(x, f.double()))


def test_functions_of_sizes(variant: Backend) -> None:
    x = sample((2, 3, 6, 10), torch.float64, variant.device)
    f = FOUR.to(variant.device)
    assert fastgan.filter2d(x, f).shape == (2, 3, 6, 10)
    assert fastgan.upsample2d(x, f).shape == (2, 3, 12, 20)
    assert fastgan.downsample2d(x, f).shape == (2, 3, 3, 5)
    assert fastgan.upsample2d(x, f, up=[3, 1], padding=[1, 0]).shape == (2, 3, 6, 32)
    assert fastgan.downsample2d(x, f, down=[1, 2], padding=-1).shape == (2, 3, 2, 8)
    ones = torch.ones_like(x)
    for resample in (fastgan.filter2d, fastgan.upsample2d, fastgan.downsample2d):
        inside = resample(ones, f)[..., 2:-1, 2:-2]
        torch.testing.assert_close(inside, torch.ones_like(inside))
    assert torch.equal(fastgan.upfirdn2d(x, None), x)
    assert torch.equal(fastgan.upsample2d(x, None)[..., 1::2, 1::2], 4 * x)


def test_setup_filter() -> None:
    assert FOUR.dtype is torch.float32
    assert torch.equal(FOUR, torch.outer(*[torch.tensor([1.0, 3, 3, 1])] * 2) / 64)
    assert fastgan.setup_filter(torch.ones(8)).shape == (8,)
    assert fastgan.setup_filter([1, 2, 1], separable=True).tolist() == [0.25, 0.5, 0.25]
    assert fastgan.setup_filter(None).tolist() == [[1.0]]
    assert fastgan.setup_filter(3.0, normalize=False).tolist() == [[9.0]]
    assert fastgan.setup_filter([[1, 2]], flip_filter=True, normalize=False, gain=2).tolist() == [[4.0, 2.0]]
    assert fastgan.setup_filter(torch.ones(8), normalize=False, gain=4.0).tolist() == [2.0] * 8


def test_only_the_filter_is_saved(backend: Backend) -> None:
    if backend.name == "reference":
        return  # PyTorch's convolution saves the padded image
    x = sample((2, 3, 16, 16), torch.float32, backend.device).requires_grad_()
    f = FOUR.to(backend.device)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        fastgan.upsample2d(x, f)
    assert [t.shape for t in saved] == [f.shape]


def test_filter_that_learns(backend: Backend) -> None:
    x = sample((2, 3, 6, 6), torch.float64, backend.device).requires_grad_()
    for shape in ((4,), (3, 4)):
        f = torch.randn(shape, dtype=torch.float64, device=backend.device).requires_grad_()
        found = fastgan.upfirdn2d(x, f, up=2, padding=3)
        expected = usual(x, f, up=2, padding=(3, 3, 3, 3))
        cotangent = torch.randn_like(found)
        torch.testing.assert_close(
            torch.autograd.grad(found, (x, f), cotangent),
            torch.autograd.grad(expected, (x, f), cotangent),
            rtol=1e-12,
            atol=1e-12,
        )


def test_third_derivative(backend: Backend) -> None:
    x = sample((1, 1, 4, 4), torch.float64, backend.device).requires_grad_()
    f = torch.randn(3, 3, dtype=torch.float64, device=backend.device)

    def penalty(function: Callable[..., Tensor]) -> Tensor:
        y = function(x, f, up=2, padding=(2, 1, 2, 1)).pow(3)
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = torch.autograd.grad(g.square().sum(), x, create_graph=True)
        (third,) = torch.autograd.grad(h.square().sum(), x)
        return third

    torch.testing.assert_close(penalty(fastgan.upfirdn2d), penalty(usual), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)], ids=str)
def test_no_images(variant: Backend, shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, device=variant.device, requires_grad=True)
    y = fastgan.upfirdn2d(x, FOUR.to(variant.device), padding=4)
    assert y.shape == (shape[0], shape[1], shape[2] + 5, shape[3] + 5)
    assert not y.any()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape


def test_cropped_by_more_than_there_is_on_one_side(variant: Backend) -> None:
    x = sample((1, 2, 5, 5), torch.float32, variant.device)
    check_upfirdn2d(x, torch.randn(3, 3), padding=(-7, 9, 8, -6))


def test_not_finite(variant: Backend) -> None:
    """A pixel that is not finite changes those that the filter reaches from it, and no others."""
    x = torch.zeros(1, 1, 40, 40, device=variant.device)
    x[0, 0, 20, 20] = math.nan
    y = fastgan.upsample2d(x, FOUR.to(variant.device))
    wrong = y[0, 0].isnan().nonzero()
    assert wrong.min() >= 39
    assert wrong.max() <= 42
    x[0, 0, 20, 20] = math.inf
    assert fastgan.upsample2d(x, FOUR.to(variant.device)).isinf().sum() == 16


@threaded
def test_bits_do_not_depend_on_threads(threaded: Backend) -> None:
    x = sample((2, 3, 70, 90), torch.float32, "cpu")
    before = torch.get_num_threads()
    results = []
    with running_on(threaded):
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append([fastgan.upfirdn2d(x, **call) for call in COMMON.values()])
    torch.set_num_threads(before)
    for one, two, three in zip(*results, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_autocast_changes_nothing(backend: Backend, dtype: torch.dtype) -> None:
    """A filter has no parameters to cast: the images keep their dtype."""
    x = sample((1, 2, 6, 6), dtype, backend.device)
    f = FOUR.to(x)
    with torch.autocast(backend.device, torch.bfloat16):
        found = fastgan.upsample2d(x, f)
    assert found.dtype is dtype
    assert torch.equal(found, fastgan.upsample2d(x, f))


X = torch.ones(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.ones(3, 8, 8)}, ValueError, r"x must be \[N, C, H, W\] with .* shape \(3, 8, 8\)"),
        ({"x": torch.ones(1, 3, 0, 8)}, ValueError, r"with H and W at least 1, but has shape \(1, 3, 0, 8\)"),
        ({"x": X.long()}, TypeError, "x must be float32, .*, but is torch.int64"),
        (
            {"f": torch.ones(33)},
            ValueError,
            r"f must be .* 1 to 32 taps along each axis, but has shape \(33,\)",
        ),
        ({"f": torch.ones(4, 33)}, ValueError, r"1 to 32 taps along each axis, but has shape \(4, 33\)"),
        ({"f": torch.ones(0)}, ValueError, r"but has shape \(0,\)"),
        ({"f": torch.ones(1, 1, 4)}, ValueError, r"f must be \[height, width\] or \[taps\].* \(1, 1, 4\)"),
        ({"f": [1.0, 3.0]}, TypeError, "f must be a torch.Tensor, but is list"),
        (
            {"f": torch.ones(4).double()},
            TypeError,
            "f must be torch.float32, as x, or float32, but is torch.float64",
        ),
        ({"up": 0}, ValueError, "up must be an integer of at least 1, .* but is 0"),
        ({"down": (2, -1)}, ValueError, r"down must be an integer .* but is \(2, -1\)"),
        ({"up": 1.5}, ValueError, "up must be an integer .* but is 1.5"),
        ({"down": (1, 2, 3)}, ValueError, r"down must be .* \[x, y\] of such, but is \(1, 2, 3\)"),
        (
            {"padding": (1, 2, 3)},
            ValueError,
            r"padding must be .* \[left, right, top, bottom\], but is \(1, 2, 3\)",
        ),
        ({"padding": 0.5}, ValueError, "padding must be an integer, .* but is 0.5"),
        (
            {"padding": -3},
            ValueError,
            r"x of shape \(2, 3, 8, 8\), .* padded by \(-3, -3, -3, -3\), is 2 x 2, less than",
        ),
        ({"gain": math.nan}, ValueError, "gain must be finite, but is nan"),
    ],
    ids=str,
)
def test_bad_arguments(
    backend: Backend, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fastgan.upfirdn2d(**{"x": X, "f": FOUR, **changes})


@pytest.mark.parametrize(
    ("f", "separable", "message"),
    [
        ([], None, r"f must be \[height, width\] or \[taps\], but has shape \(0,\)"),
        (torch.ones(1, 2, 2), None, r"but has shape \(1, 2, 2\)"),
        (torch.ones(2, 2), True, r"a filter of shape \(2, 2\) is not separable"),
        ([1.0, -1.0], None, "the taps of f add up to 0, so they cannot be normalized"),
    ],
)
def test_bad_filters(f: Any, separable: bool | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastgan.setup_filter(f, separable=separable)


def test_gain_of_a_separable_filter_is_a_square() -> None:
    with pytest.raises(ValueError, match="gain must not be negative for a separable filter, but is -1"):
        fastgan.setup_filter([1.0] * 8, gain=-1)
