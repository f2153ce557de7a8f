"""Snake and anti-aliased Snake: values and gradients, in every memory order, with every filter."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from backends import VARIANTS, Backend
from conftest import as_parameters, running_on
from oracle import VIEWS, check
from tables import cases, threaded, views_and_dtypes
from torch import Tensor

import fastgan
from fastgan.kernels.reference_snake import MOST_TAPS
from fastgan.nn import kaiser_sinc_filter

Shape = tuple[int, ...]
EPS = 1e-9
forms = pytest.mark.parametrize(
    ("with_beta", "log_scale"),
    [(True, False), (True, True), (False, False), pytest.param(False, True, marks=pytest.mark.breadth)],
    ids=["beta", "beta-log", "alpha", "alpha-log"],
)


def usual_snake(x: Tensor, alpha: Tensor, beta: Tensor | None = None, log_scale: bool = False) -> Tensor:
    """As the packages write it."""
    a, b = (t.view(-1, *[1] * (x.dim() - 2)) for t in (alpha, alpha if beta is None else beta))
    if log_scale:
        a, b = torch.exp(a), torch.exp(b)
    return x + (1.0 / (b + EPS)) * torch.pow(torch.sin(x * a), 2)


def usual_anti_aliased_snake(
    x: Tensor, alpha: Tensor, beta: Tensor | None, up: Tensor, down: Tensor, log_scale: bool = False
) -> Tensor:
    """The three steps with PyTorch's padding and convolutions, one group for each channel."""
    channels, length = x.shape[1:]
    pad = len(up) // 2 - 1
    left = 2 * pad + (len(up) - 2) // 2
    x = F.pad(x, (pad, pad), mode="replicate")
    x = 2 * F.conv_transpose1d(x, up.expand(channels, 1, -1), stride=2, groups=channels)
    x = usual_snake(x[..., left : left + 2 * length], alpha, beta, log_scale)
    x = F.pad(x, (len(down) // 2 - (len(down) % 2 == 0), len(down) // 2), mode="replicate")
    return F.conv1d(x, down.expand(channels, 1, -1), stride=2, groups=channels)


def numbers(channels: int, with_beta: bool, log_scale: bool, dtype: torch.dtype, device: str) -> list[Tensor]:
    """[alpha], or [alpha, beta]."""
    drawn = [torch.rand(channels) * 1.5 + 0.5 for _ in range(1 + with_beta)]
    return [(t.log() if log_scale else t).to(device, dtype) for t in drawn]


def check_snake(x: Tensor, with_beta: bool = True, log_scale: bool = False) -> None:
    of_channels = numbers(x.shape[1], with_beta, log_scale, x.dtype, x.device.type)

    def by(snake: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda x, *n: snake(x, *n, log_scale=log_scale)

    check(by(fastgan.snake), by(usual_snake), by(usual_snake), [x, *of_channels])


def check_anti_aliased(
    x: Tensor, taps: tuple[int, int] = (12, 12), with_beta: bool = True, log_scale: bool = False
) -> None:
    of_channels = numbers(x.shape[1], with_beta, log_scale, x.dtype, x.device.type)
    filters = [(kaiser_sinc_filter(n) + 0.1 * torch.randn(n)).to(x) for n in taps]

    def by(snake: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(x: Tensor, alpha: Tensor, beta: Tensor | None = None) -> Tensor:
            return snake(x, alpha, beta, *(f.to(x.dtype) for f in filters), log_scale=log_scale)

        return call

    usual = by(usual_anti_aliased_snake)
    check(by(fastgan.anti_aliased_snake), usual, usual, [x, *of_channels])


def sample(shape: Shape, dtype: torch.dtype, device: str) -> Tensor:
    return torch.randn(shape).to(device, dtype)


@forms
@pytest.mark.parametrize(
    ("dtype", "shape"),
    cases(
        [(2, 3, 65), (3, 16, 48)],
        [(2, 3), (1, 1, 1), (2, 5, 1), (3, 2, 4, 8), (1, 2, 5000), (300, 3, 2), (2, 130, 3)],
    ),
)
def test_snake(variant: Backend, dtype: torch.dtype, shape: Shape, with_beta: bool, log_scale: bool) -> None:
    check_snake(sample(shape, dtype, variant.device), with_beta, log_scale)


@forms
@pytest.mark.parametrize(
    ("dtype", "shape"), cases([(2, 3, 65)], [(1, 1, 1), (2, 5, 2), (1, 2, 2500), (2, 130, 9), (1, 16, 128)])
)
def test_anti_aliased_snake(
    variant: Backend, dtype: torch.dtype, shape: Shape, with_beta: bool, log_scale: bool
) -> None:
    check_anti_aliased(sample(shape, dtype, variant.device), (12, 12), with_beta, log_scale)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 17, 33, 65])
def test_each_end(variant: Backend, length: int) -> None:
    check_anti_aliased(sample((2, 3, length), torch.float32, variant.device))


FEW_FILTERS = [(2, 2), (3, 12), (5, MOST_TAPS), (11, 13), (12, 5), (MOST_TAPS, 3)]
filters = pytest.mark.parametrize(
    "taps",
    [
        pytest.param(taps, id=str(taps), marks=[] if taps in FEW_FILTERS else [pytest.mark.long])
        for taps in product((2, 3, 4, 5, 11, 12, 13, 23, MOST_TAPS), (2, 3, 5, 11, 12, 13, MOST_TAPS))
    ],
)


@pytest.mark.breadth
@filters
def test_filters(variant: Backend, taps: tuple[int, int]) -> None:
    for length in (2, 40) if variant.is_interpreted else (1, 2, 3, 9, 40, 600):
        check_anti_aliased(sample((4, 16, length), torch.float32, variant.device), taps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("taps", [(3, 2), (12, 11), (MOST_TAPS, MOST_TAPS)], ids=str)
def test_filters_of_other_dtypes(variant: Backend, dtype: torch.dtype, taps: tuple[int, int]) -> None:
    check_anti_aliased(sample((4, 16, 40), dtype, variant.device), taps)


@pytest.mark.parametrize(
    ("dtype", "shape"), cases([(2, 16, 40)], [(3, 5, 7), (1, 33, 70), (2, 1, 9), (2, 40, 1)])
)
def test_channels_last_is_kept(variant: Backend, dtype: torch.dtype, shape: Shape) -> None:
    x = sample(shape, dtype, variant.device).transpose(1, 2).contiguous().transpose(1, 2)
    check_snake(x)
    check_anti_aliased(x)
    check_anti_aliased(x, (5, 8))
    if variant.name == "reference":
        return  # PyTorch's convolutions return contiguous tensors
    alpha, beta = numbers(shape[1], True, False, dtype, variant.device)
    filters = [kaiser_sinc_filter(12).to(x)] * 2
    for call in (
        lambda x: fastgan.snake(x, alpha, beta),
        lambda x: fastgan.anti_aliased_snake(x, alpha, beta, *filters),
    ):
        leaf = x.detach().requires_grad_()
        output = call(leaf)
        assert output.stride() == x.stride()
        for grad in (torch.ones_like(output), torch.ones_like(output).contiguous()):
            (dx,) = torch.autograd.grad(output, leaf, grad, retain_graph=True)
            assert dx.stride() == x.stride()
        in_order = call(x.contiguous())
        tolerance = 0 if variant.name == "cpu" else 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(output, in_order, rtol=tolerance, atol=tolerance)


@views_and_dtypes
def test_strides(variant: Backend, view: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    x = view(sample((4, 3, 40), dtype, variant.device))
    check_snake(x)
    check_anti_aliased(x)


def test_half_types_with_float32_numbers(variant: Backend) -> None:
    """Under autocast a model has parameters and filters in float32 and signals in half types."""
    x = sample((2, 3, 40), torch.float32, variant.device)
    alpha, beta = numbers(3, True, True, torch.float32, variant.device)
    filters = [kaiser_sinc_filter(n).to(x) for n in (12, 13)]
    for dtype in (torch.float16, torch.bfloat16):
        leaves = [t.detach().requires_grad_() for t in (x.to(dtype), alpha, beta)]
        exact = [t.detach().double().requires_grad_() for t in leaves]
        for ours, usual, more in (
            (fastgan.snake, usual_snake, []),
            (fastgan.anti_aliased_snake, usual_anti_aliased_snake, filters),
        ):
            output = ours(*leaves, *more, log_scale=True)
            expected = usual(*exact, *[f.double() for f in more], log_scale=True)
            assert output.dtype is dtype
            cotangent = torch.rand_like(output) + 0.5
            found = [output, *torch.autograd.grad(output, leaves, cotangent)]
            right = [expected, *torch.autograd.grad(expected, exact, cotangent.double())]
            assert [t.dtype for t in found] == [dtype, dtype, torch.float32, torch.float32]
            for one, other, tolerance in zip(found, right, (1, 1, 1e-3, 1e-3), strict=True):
                eps = tolerance * torch.finfo(dtype).eps
                torch.testing.assert_close(
                    one.double(), other, rtol=eps, atol=4 * eps * other.abs().max().item()
                )


@pytest.mark.parametrize("shape", [(0, 3, 8), (2, 0, 8), (2, 3, 0)], ids=str)
def test_empty(variant: Backend, shape: Shape) -> None:
    x = torch.zeros(shape, device=variant.device, requires_grad=True)
    alpha, beta = (torch.ones(shape[1], device=variant.device, requires_grad=True) for _ in "ab")
    filters = [kaiser_sinc_filter(12).to(x)] * 2
    outputs = [fastgan.snake(x, alpha, beta)]
    if shape[2]:
        outputs.append(fastgan.anti_aliased_snake(x, alpha, beta, *filters))
    for output in outputs:
        assert output.shape == shape
        grads = torch.autograd.grad(output.sum(), [x, alpha, beta])
        assert [g.shape for g in grads] == [x.shape, alpha.shape, beta.shape]
        assert not any(g.any() for g in grads)


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)], ids=str)
def test_frozen_arguments(variant: Backend, needs: tuple[bool, ...]) -> None:
    x = sample((2, 3, 40), torch.float32, variant.device)
    alpha, beta = numbers(3, True, False, torch.float32, variant.device)
    filters = [kaiser_sinc_filter(12).to(x)] * 2
    for call in (fastgan.snake, lambda *t: fastgan.anti_aliased_snake(*t, *filters)):
        every = [t.detach().requires_grad_() for t in (x, alpha, beta)]
        some = [t.detach().requires_grad_(need) for t, need in zip((x, alpha, beta), needs, strict=True)]
        expected = torch.autograd.grad(call(*every).square().sum(), every)
        leaf = some[needs.index(True)]
        (found,) = torch.autograd.grad(call(*some).square().sum(), leaf)
        assert torch.equal(found, expected[needs.index(True)])


def test_only_the_signal_is_saved(backend: Backend) -> None:
    """A thirteenth of what PyTorch's operations save."""
    x = sample((2, 3, 256), torch.float32, backend.device).requires_grad_()
    alpha, beta = (t.requires_grad_() for t in numbers(3, True, False, torch.float32, backend.device))
    filters = [kaiser_sinc_filter(12).to(x)] * 2

    def saved(call: Callable[..., Tensor], *more: Tensor) -> float:
        """Numbers that are kept, as a multiple of the signal's size."""
        sizes = {}

        def pack(t: Tensor) -> Tensor:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            output = call(x, alpha, beta, *more)
        del output
        return sum(sizes.values()) / x.untyped_storage().nbytes()

    if backend.name == "reference":
        assert saved(usual_anti_aliased_snake, *filters) > 13
    else:
        assert saved(fastgan.anti_aliased_snake, *filters) < 1.1
        assert saved(fastgan.snake) < 1.1


def angles() -> tuple[Tensor, Tensor]:
    """Powers of 2 by which alpha is multiplied, and angles: small ones, multiples of pi, and large ones."""
    multiples = (torch.arange(1, 200_000, dtype=torch.float64) * math.pi).float()
    above, below = (multiples.nextafter(torch.tensor(end)) for end in (math.inf, 0.0))
    small, large = (torch.logspace(low, high, 20_000, base=2.0) for low, high in ((-30, 0), (0, 127.9)))
    groups = [(96, small), (126, torch.cat([multiples, above, below, large]))]
    return torch.cat([torch.full_like(y, power) for power, y in groups]), torch.cat([y for _, y in groups])


@pytest.mark.parametrize("variant", as_parameters([b for b in VARIANTS if b.name == "cpu"]))
def test_square_of_the_sine_is_exact_to_2_ulp(variant: Backend) -> None:
    """With a huge alpha, a power of 2, the signal itself vanishes next to the square."""
    power, y = angles()
    x, one = torch.ldexp(y, -power), torch.ones(len(y))
    with running_on(variant):
        square = fastgan.snake(x.view(1, -1), torch.ldexp(one, power), one, eps=0.0).flatten().double()
    exact = torch.sin(y.double()).square()
    is_seen = x.double() < exact * 2**-26
    assert is_seen.float().mean() > 0.99
    ulp = torch.exp2(torch.floor(torch.log2(exact)) - 23)
    assert ((square - exact).abs() / ulp)[is_seen].max() <= 2


@pytest.mark.parametrize("size", [1.0, 1e3, 8192.0, 1e5, 1e10, 1e36])
def test_large_angles(variant: Backend, size: float) -> None:
    """Alpha is a power of 2, so that angles are exact: the sine of a rounded large angle is any number."""
    x = (2 * torch.rand(1, 2, 70) - 1) * size
    alpha, beta = torch.tensor([1.0, 0.5]), torch.tensor([0.7, 1.3])
    check(fastgan.snake, usual_snake, usual_snake, [t.to(variant.device) for t in (x, alpha, beta)])
    signal = torch.randn(1, 2, 70)
    signal[0, 0, 33] = size / 8
    filters = [kaiser_sinc_filter(12).to(variant.device)] * 2
    output = fastgan.anti_aliased_snake(*(t.to(variant.device) for t in (signal, alpha, beta)), *filters)
    assert output.isfinite().all()


def test_not_finite(variant: Backend) -> None:
    x = torch.tensor([1.0, math.inf, -math.inf, math.nan, 2.0], device=variant.device).view(1, 1, 5)
    one = torch.ones(1, device=variant.device)
    output = fastgan.snake(x, one).flatten()
    assert output.isfinite().tolist() == [True, False, False, False, True]
    assert output.isnan().tolist() == [False, True, True, True, False]
    x = torch.zeros(1, 1, 100, device=variant.device)
    x[..., 50] = math.nan
    output = fastgan.anti_aliased_snake(x, one, one, *[kaiser_sinc_filter(12).to(x)] * 2).flatten()
    assert output[44:57].isnan().any()
    assert output[:40].isfinite().all()
    assert output[61:].isfinite().all()


@threaded
def test_bits_do_not_depend_on_threads(threaded: Backend) -> None:
    x, (alpha, beta) = (
        sample((3, 5, 5000), torch.float32, "cpu"),
        numbers(5, True, False, torch.float32, "cpu"),
    )
    filters = [kaiser_sinc_filter(12), kaiser_sinc_filter(9)]
    before = torch.get_num_threads()
    results = []
    with running_on(threaded):
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            leaves = [t.detach().requires_grad_() for t in (x, alpha, beta)]
            outputs = fastgan.snake(*leaves), fastgan.anti_aliased_snake(*leaves, *filters)
            results.append([*outputs, *torch.autograd.grad(sum(y.square().sum() for y in outputs), leaves)])
    torch.set_num_threads(before)
    for one, two, three in zip(*results, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_shapes_of_the_packages(variant: Backend) -> None:
    """Alpha of DAC is [1, C, 1], and filters of BigVGAN are [1, 1, taps]."""
    x = sample((2, 3, 40), torch.float32, variant.device)
    alpha, beta = numbers(3, True, False, torch.float32, variant.device)
    taps = kaiser_sinc_filter(12).to(x)
    leaf = alpha.view(1, 3, 1).requires_grad_()
    output = fastgan.snake(x, leaf)
    assert torch.equal(output, fastgan.snake(x, alpha, alpha))
    assert torch.autograd.grad(output.sum(), leaf)[0].shape == (1, 3, 1)
    one = fastgan.anti_aliased_snake(x, alpha, beta, taps, taps)
    assert torch.equal(one, fastgan.anti_aliased_snake(x, leaf.detach(), beta, taps.view(1, 1, -1), taps))


@pytest.mark.parametrize("view", ["every_other", "transposed"])
def test_gradients_in_another_order(variant: Backend, view: str) -> None:
    x = sample((4, 3, 40), torch.float32, variant.device)
    alpha, beta = numbers(3, True, False, torch.float32, variant.device)
    filters = [kaiser_sinc_filter(12).to(x)] * 2
    for call in (fastgan.snake, lambda *t: fastgan.anti_aliased_snake(*t, *filters)):
        leaves = [t.detach().requires_grad_() for t in (x, alpha, beta)]
        output = call(*leaves)
        grad = VIEWS[view](torch.rand_like(x))
        found = torch.autograd.grad(output, leaves, grad, retain_graph=True)
        expected = torch.autograd.grad(output, leaves, grad.contiguous())
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.ones(3)}, ValueError, r"x must be \[N, C, .*, but has shape \(3,\)"),
        (
            {"x": torch.ones(2, 3, 8, dtype=torch.int64)},
            TypeError,
            "x must be float32, .*, but is torch.int64",
        ),
        (
            {"alpha": torch.ones(4)},
            ValueError,
            r"alpha must have shape \(3,\), .* x, which has shape \(2, 3, 8\), but has \(4,\)",
        ),
        ({"beta": torch.ones(1, 2, 1)}, ValueError, r"beta must have shape \(3,\), .* but has \(1, 2, 1\)"),
        ({"alpha": torch.ones(3).double()}, TypeError, "alpha is torch.float64 but x torch.float32"),
        ({"beta": [1.0]}, TypeError, "beta must be a torch.Tensor, but is list"),
        ({"eps": -1e-9}, ValueError, "eps must be finite and not negative, but is -1e-09"),
        (
            {"eps": 0.0, "beta": torch.tensor([1.0, 0.0, 1.0])},
            ValueError,
            r"beta\[1\] is 0 and eps is 0, .* pass",
        ),
        ({"eps": 0.0, "beta": None, "alpha": torch.zeros(3)}, ValueError, r"alpha\[0\] is 0 and eps is 0"),
    ],
)
def test_bad_numbers(changes: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"x": torch.ones(2, 3, 8), "alpha": torch.ones(3), "beta": torch.ones(3), **changes}
    filters = {"up_filter": kaiser_sinc_filter(12), "down_filter": kaiser_sinc_filter(12)}
    for call, more in ((fastgan.snake, {}), (fastgan.anti_aliased_snake, filters)):
        with pytest.raises(error, match=message):
            call(**arguments, **more)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"x": torch.ones(3, 8)},
            ValueError,
            r"x must be \[N, C, T\] with T at least 1, but has shape \(3, 8\)",
        ),
        ({"x": torch.ones(2, 3, 0)}, ValueError, r"T at least 1, but has shape \(2, 3, 0\)"),
        ({"ratio": 4}, ValueError, "ratio must be 2, but is 4; for others"),
        ({"up_filter": torch.ones(25)}, ValueError, "up_filter must have 2 to 24 taps, but has 25"),
        ({"down_filter": torch.ones(1)}, ValueError, "down_filter must have 2 to 24 taps, but has 1"),
        (
            {"down_filter": torch.ones(2, 1, 6)},
            ValueError,
            r"must be \[taps\] or \[1, 1, taps\], but has shape",
        ),
        ({"up_filter": torch.ones(6).double()}, TypeError, "up_filter is torch.float64 but x torch.float32"),
        (
            {"up_filter": torch.ones(6, requires_grad=True)},
            ValueError,
            r"requires a gradient, .* up_filter.detach",
        ),
    ],
)
def test_bad_filters(changes: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {
        **{"x": torch.ones(2, 8, 8), "alpha": torch.ones(8), "beta": torch.ones(8)},
        **{"up_filter": torch.ones(12), "down_filter": torch.ones(12)},
        **changes,
    }
    arguments["alpha"] = arguments["beta"] = torch.ones(arguments["x"].shape[1])
    with pytest.raises(error, match=message):
        fastgan.anti_aliased_snake(**arguments)


@pytest.mark.parametrize("with_beta", [True, False])
def test_a_divisor_of_zero_with_eps(variant: Backend, with_beta: bool) -> None:
    """As in the packages, the quotient is large: 1e9 times the square."""
    x = sample((1, 2, 30), torch.float32, variant.device)
    zero, one = torch.zeros(2, device=variant.device), torch.ones(2, device=variant.device)
    numbers = (one, zero) if with_beta else (zero,)
    check(fastgan.snake, usual_snake, usual_snake, [x, *numbers])
