"""Bias, activation, gain and bound: values, first and second derivatives, in every memory order."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from oracle import DTYPES, assert_as_exact, by_reference, check, softplus
from tables import views_and_dtypes
from torch import Tensor

import fastgan
from fastgan import kernels
from fastgan.kernels import choose
from fastgan.kernels.acts import ACTS, Act, act_of
from fastgan.kernels.cpu import products
from fastgan.kernels.cpu.products import Product

Shape = tuple[int, ...]
CURVED = [name for name in ACTS if not act_of(name, None, None, None, torch.float32).is_piecewise_linear]
# Shape, dimension of the channels, and whether they are last in memory.
LAYOUTS: list[tuple[Shape, int, bool]] = [
    ((33, 48), 1, False),
    ((19, 13), 1, False),
    ((2, 3, 5, 7), 1, False),
    ((2, 16, 3, 5), 1, True),
]
MORE_LAYOUTS: list[tuple[Shape, int, bool]] = [
    ((5,), 0, False),
    ((64, 65), 0, False),
    ((2, 3, 5, 7), -1, False),
    ((70, 300), 1, False),
    ((2, 5, 1, 1), 1, False),
    ((3, 2, 4100), 1, False),
    ((2, 5, 3, 3), 1, True),
    ((0, 4), 1, False),
    ((4, 0), 1, False),
    ((2, 4, 0), 1, False),
]
acts = pytest.mark.parametrize("act", ACTS)
curved = pytest.mark.parametrize("act", CURVED)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)

_USUAL: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "relu": F.relu,
    "lrelu": lambda z: F.leaky_relu(z, 0.2),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": softplus,
    "swish": F.silu,
}


def usual(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """As usually written in PyTorch."""
    z = x if b is None else x + b.view([-1 if i == dim % x.dim() else 1 for i in range(x.dim())])
    y = _USUAL[act](z) * (ACTS[act].gain if gain is None else gain)
    return y if clamp is None else y.clamp(-clamp, clamp)


def sample(
    layout: tuple[Shape, int, bool],
    dtype: torch.dtype,
    device: str,
    act: str = "linear",
    gain: float | None = None,
    clamp: float | None = None,
) -> tuple[Tensor, Tensor]:
    """An input and a bias whose sums are not close to 0, and whose results are not close to the bound."""
    shape, dim, is_last = layout
    x, b = torch.randn(shape).to(dtype), torch.randn(shape[dim]).to(dtype)
    for _ in range(100):
        z, y = usual(x, b, dim), usual(x.double(), b.double(), dim, act, gain)
        close = z.abs() < 0.02
        if clamp is not None:
            close |= (y.abs() / clamp - 1).abs() < 0.05
        if not close.any():
            break
        x = torch.where(close, torch.randn(shape).to(dtype), x)
    if is_last:
        x = x.movedim(dim, -1).contiguous().movedim(-1, dim)
    return x.to(device), b.to(device)


def check_act(
    layout: tuple[Shape, int, bool],
    dtype: torch.dtype,
    device: str,
    act: str,
    gain: float | None = None,
    clamp: float | None = None,
    with_bias: bool = True,
) -> None:
    print(f"{layout}, {dtype}, gain {gain}, clamp {clamp}")  # which pytest shows where it fails
    x, b = sample(layout, dtype, device, act, gain, clamp)
    dim = layout[1]

    def by(bias_act: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda x, b=None: bias_act(x, b, dim, act, gain=gain, clamp=clamp)

    if not with_bias:
        x, b = usual(x, b, dim), torch.zeros_like(b)
    check(by(fastgan.bias_act), by(usual), by(usual), [x, b] if with_bias else [x])


@acts
@dtypes
def test_values_and_gradients(variant: Backend, act: str, dtype: torch.dtype) -> None:
    for layout in LAYOUTS:
        check_act(layout, dtype, variant.device, act)


@pytest.mark.breadth
@acts
def test_more_layouts(variant: Backend, act: str) -> None:
    for layout in MORE_LAYOUTS[: 4 if variant.is_interpreted else None]:
        check_act(layout, torch.float32, variant.device, act)


@pytest.mark.breadth
@acts
def test_without_bias(variant: Backend, act: str) -> None:
    for layout in LAYOUTS[1:]:
        check_act(layout, torch.float32, variant.device, act, with_bias=False)


@acts
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gain_and_clamp(variant: Backend, act: str, dtype: torch.dtype) -> None:
    for gain, clamp in ((-1.5, 0.75), (0.5, 0.3), (0.0, 0.5), (-0.25, None), (3.0, 0.0)):
        for layout in (LAYOUTS[0], LAYOUTS[2]):
            if clamp == 0.0:
                check_zeros(layout, dtype, variant.device, act, clamp)
            else:
                check_act(layout, dtype, variant.device, act, gain, clamp)


def check_zeros(
    layout: tuple[Shape, int, bool], dtype: torch.dtype, device: str, act: str, clamp: float
) -> None:
    leaves = [t.requires_grad_() for t in sample(layout, dtype, device)]
    output = fastgan.bias_act(*leaves, layout[1], act, clamp=clamp)
    assert not output.any()
    assert not any(g.any() for g in torch.autograd.grad(output.sum(), leaves))


@views_and_dtypes
def test_strides(variant: Backend, view: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    for act in ("lrelu", "tanh", "swish"):
        x, b = (view(t) for t in sample(((6, 7, 5, 3), 1, False), dtype, variant.device, act))
        check(
            lambda x, b, act=act: fastgan.bias_act(x, b, act=act),
            lambda x, b, act=act: usual(x, b, act=act),
            lambda x, b, act=act: usual(x, b, act=act),
            [x, b],
        )


@acts
def test_channels_last_is_kept(backend: Backend, act: str) -> None:
    x, b = (t.requires_grad_() for t in sample(LAYOUTS[3], torch.float32, backend.device))
    output = fastgan.bias_act(x, b, act=act)
    assert output.stride() == x.stride()
    (dx,) = torch.autograd.grad(output.square().sum(), x)
    assert dx.stride() == x.stride()


@curved
@dtypes
def test_curvature(variant: Backend, act: str, dtype: torch.dtype) -> None:
    """The kernel of second derivatives, given the same saved tensors."""
    for layout in LAYOUTS:
        for gain, clamp in ((None, None), (-1.5, 0.7)):
            x, b = sample(layout, dtype, variant.device)
            dim, settings = layout[1], act_of(act, None, gain, clamp, dtype)
            saved = x if settings.saves_input else choose(x).bias_act(x, b, settings, dim)
            tensors = [*(torch.rand_like(saved) + 0.5 for _ in "vg"), saved, b]
            plain = kernels.reference.bias_act_curvature
            exact = plain(*(t.double() for t in tensors), settings, dim, True)
            for ours, usual_one, right in zip(
                choose(x).bias_act_curvature(*tensors, settings, dim, True),
                plain(*tensors, settings, dim, True),
                exact,
                strict=True,
            ):
                assert_as_exact(ours, usual_one, right)
            alone, no_sum = choose(x).bias_act_curvature(*tensors, settings, dim, False)
            assert no_sum is None
            assert_as_exact(alone, exact[0].to(dtype), exact[0])


@acts
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize(
    ("gain", "clamp"),
    [
        (None, None),
        pytest.param(-1.5, 0.7, marks=pytest.mark.long),
        pytest.param(0.0, None, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_gradcheck(
    backend: Backend, act: str, gain: float | None, clamp: float | None, with_bias: bool
) -> None:
    x, b = sample(((2, 3, 2), 1, False), torch.float64, backend.device, act, gain, clamp)
    inputs = [x, b] if with_bias else [usual(x, b)]
    leaves = [t.clone().requires_grad_() for t in inputs]

    def call(x: Tensor, b: Tensor | None = None) -> Tensor:
        return fastgan.bias_act(x, b, act=act, gain=gain, clamp=clamp)

    torch.autograd.gradcheck(call, leaves)
    torch.autograd.gradgradcheck(call, leaves)


@curved
def test_third_derivatives(backend: Backend, act: str) -> None:
    def derivatives(bias_act: Callable[..., Tensor]) -> list[Tensor]:
        torch.manual_seed(0)
        leaves = [t.requires_grad_() for t in sample(LAYOUTS[2], torch.float64, backend.device)]
        total = bias_act(*leaves, act=act, clamp=0.9).square().sum()
        found = []
        for _ in range(3):
            grads = torch.autograd.grad(total, leaves, create_graph=True)
            found += grads
            total = sum((g.square().sum() for g in grads), torch.zeros((), device=backend.device))
        return found

    for ours, plain in zip(derivatives(fastgan.bias_act), derivatives(usual), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


@acts
def test_gradient_penalty(backend: Backend, act: str) -> None:
    """R1 of two layers: gradients pass through the first one's derivative and through its output."""

    def gradients(bias_act: Callable[..., Tensor]) -> list[Tensor]:
        torch.manual_seed(0)
        leaves = [t.requires_grad_() for t in sample(((6, 5), 1, False), torch.float64, backend.device)]
        weight = torch.randn(5, 5).to(leaves[0]).requires_grad_()
        hidden = bias_act(*leaves, act=act)
        output = bias_act(hidden @ weight, leaves[1], act=act)
        (dx,) = torch.autograd.grad(output.sum(), leaves[0], create_graph=True)
        penalty = dx.square().sum() + output.square().sum()
        once = torch.autograd.grad(penalty, [*leaves, weight], retain_graph=True)
        again = torch.autograd.grad(penalty, [*leaves, weight])
        assert all(map(torch.equal, once, again))
        return list(once)

    for ours, plain in zip(gradients(fastgan.bias_act), gradients(usual), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-11, atol=1e-11)


@curved
@pytest.mark.parametrize("frozen", [0, 1], ids=["input", "bias"])
def test_frozen_arguments(backend: Backend, act: str, frozen: int) -> None:
    def derivatives(bias_act: Callable[..., Tensor]) -> list[Tensor]:
        torch.manual_seed(0)
        tensors = sample(LAYOUTS[2], torch.float64, backend.device)
        leaf = tensors[1 - frozen].requires_grad_()
        (first,) = torch.autograd.grad(bias_act(*tensors, act=act).square().sum(), leaf, create_graph=True)
        return [first, *torch.autograd.grad(first.square().sum(), leaf)]

    for ours, plain in zip(derivatives(fastgan.bias_act), derivatives(usual), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-11, atol=1e-11)


@acts
def test_one_tensor_is_saved(backend: Backend, act: str) -> None:
    """The output, or swish's input; nothing for a linear function without a bound."""
    if backend.name == "reference":
        pytest.skip("PyTorch differentiates the reference")
    x, b = (t.requires_grad_() for t in sample(LAYOUTS[2], torch.float32, backend.device))

    def saved(clamp: float | None) -> tuple[Tensor, list[Tensor]]:
        large = []

        def pack(t: Tensor) -> Tensor:
            if t.untyped_storage().nbytes() > b.untyped_storage().nbytes():
                large.append(t)
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            output = fastgan.bias_act(x, b, act=act, clamp=clamp)
        return output, large

    for clamp in (None, 1.0):
        output, large = saved(clamp)
        if act == "linear" and clamp is None:
            assert large == []
        else:
            expected = x if act == "swish" else output
            assert {t.data_ptr() for t in large} == {expected.data_ptr()}


@acts
@dtypes
def test_extremes(variant: Backend, act: str, dtype: torch.dtype) -> None:
    """Infinities, nan and large numbers; derivatives as those of the reference for the same saved tensor."""
    numbers = [math.inf, -math.inf, math.nan, 1e4, -1e4, 88.0, -88.0, 20.0, -20.0, 1e-4, -1e-4, 0.0, -0.0]
    x = torch.tensor([numbers * 6], dtype=dtype, device=variant.device)
    backend, plain = choose(x), kernels.reference
    tolerances = {"rtol": 8 * torch.finfo(dtype).eps, "equal_nan": True}
    for gain, clamp in ((None, None), (-2.0, 3.0), (0.0, None)):
        settings = act_of(act, None, gain, clamp, dtype)
        y = backend.bias_act(x, None, settings, 1)
        exact = plain.bias_act(x.double(), None, settings, 1).to(dtype)
        tolerances["atol"] = torch.finfo(dtype).tiny
        torch.testing.assert_close(y, exact, **tolerances)
        saved = x if settings.saves_input else y
        one = torch.ones_like(x)
        for ours, right in (
            (
                backend.bias_act_backward(one, saved, None, settings, 1, False)[0],
                plain.bias_act_backward(one.double(), saved.double(), None, settings, 1, False)[0],
            ),
            (
                backend.bias_act_curvature(one, one, saved, None, settings, 1, False)[0],
                plain.bias_act_curvature(
                    one.double(), one.double(), saved.double(), None, settings, 1, False
                )[0],
            ),
        ):
            torch.testing.assert_close(
                ours, right.to(dtype), **{**tolerances, "atol": 4 * float(torch.finfo(dtype).eps)}
            )


@dtypes
def test_slope_at_the_bound_is_zero_on_all_routes(backend: Backend, dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, -1.0, 0.5, 3.0]], dtype=dtype, device=backend.device)
    expected = [[0.0, 0.0, 1.0, 0.0]]

    def total(x: Tensor) -> Tensor:
        return fastgan.bias_act(x, clamp=1.0).sum()

    leaf = x.clone().requires_grad_()
    assert torch.autograd.grad(total(leaf), leaf)[0].tolist() == expected
    assert torch.func.grad(total)(x).tolist() == expected


def test_relu_of_infinities(variant: Backend) -> None:
    x = torch.tensor([-math.inf, math.inf, math.nan, -0.0], device=variant.device, requires_grad=True)
    y = fastgan.bias_act(x, dim=0, act="relu", gain=2.0)
    assert y[:2].tolist() == [0.0, math.inf]
    assert y[2].isnan()
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 2.0, 0.0]


@pytest.mark.parametrize("act", ["linear", "lrelu", "relu", "softplus"])
def test_an_infinite_output_has_a_gradient_without_a_bound(variant: Backend, act: str) -> None:
    x = torch.tensor([math.inf], device=variant.device, requires_grad=True)
    fastgan.bias_act(x, dim=0, act=act, gain=1.0).backward()
    assert x.grad.tolist() == [1.0]
    x.grad = None
    fastgan.bias_act(x, dim=0, act=act, gain=1.0, clamp=5.0).backward()
    assert x.grad.tolist() == [0.0]


@dtypes
@pytest.mark.parametrize("act", ["linear", "lrelu", "relu", "elu", "swish"])
def test_gradients_at_the_bound(variant: Backend, act: str, dtype: torch.dtype) -> None:
    """The bound is rounded to the dtype, so that results that reach it are recognized."""
    bound = torch.tensor(0.1, dtype=dtype, device=variant.device)
    x = torch.tensor([9.0, 0.125, 0.0625], dtype=dtype, device=variant.device).requires_grad_()
    y = fastgan.bias_act(x, dim=0, act=act, gain=2.0, clamp=0.1)
    assert torch.equal(y[:2], bound.expand(2))
    assert y[2] != bound or act != "swish"
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx[:2].tolist() == [0.0, 0.0]
    assert (dx[2] == 0) == (y[2] == bound)


def test_alpha(variant: Backend) -> None:
    x, b = sample(LAYOUTS[0], torch.float32, variant.device)
    for alpha in (0.0, 0.5, 1.0, 3.0):
        check(
            lambda x, b, alpha=alpha: fastgan.bias_act(x, b, act="lrelu", alpha=alpha, gain=1.0),
            lambda x, b, alpha=alpha: F.leaky_relu(x + b, alpha),
            lambda x, b, alpha=alpha: F.leaky_relu(x + b, alpha),
            [x, b],
        )


@dtypes
def test_leaky_relus_with_gain_and_clamp(variant: Backend, dtype: torch.dtype) -> None:
    x, b = sample(LAYOUTS[0], dtype, variant.device, "lrelu", -1.5, 0.75)
    check(
        lambda x, b: fastgan.bias_leaky_relu(x, b, gain=-1.5, clamp=0.75),
        lambda x, b: usual(x, b, 1, "lrelu", -1.5, 0.75),
        lambda x, b: usual(x, b, 1, "lrelu", -1.5, 0.75),
        [x, b],
    )


def check_linear(n: int, k: int, m: int, dtype: torch.dtype, device: str, with_bias: bool = True) -> None:
    """Products of small integers are exact, so bounds and kinks are far from all results."""
    x, w = (torch.randint(-2, 3, shape).to(device, dtype) for shape in ((n, k), (m, k)))
    b = torch.randint(-2, 3, (m,)).to(device, dtype) + 0.5

    def eager(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return (F.leaky_relu(F.linear(x, w, b), 0.25) * -1.5).clamp(-4.2, 4.2)

    def ours(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return fastgan.linear_leaky_relu(x, w, b, 0.25, gain=-1.5, clamp=4.2)

    check(ours, eager, eager, [x, w, b] if with_bias else [x, w])


@dtypes
def test_linear_leaky_relu_with_gain_and_clamp(variant: Backend, dtype: torch.dtype) -> None:
    for n, k, m in ((5, 6, 20), (33, 20, 17), (7, 3, 3), (4, 5, 1)):
        check_linear(n, k, m, dtype, variant.device)


@pytest.mark.parametrize("product", Product, ids=str)
def test_linear_leaky_relu_by_each_product(monkeypatch: pytest.MonkeyPatch, product: Product) -> None:
    if kernels.why_not("cpu", torch.device("cpu")) is not None:
        pytest.skip(kernels.why_not("cpu", torch.device("cpu")))
    if product is Product.ONEDNN and not products.HAS_ONEDNN:
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "choose", lambda *_: product)
    with fastgan.use_backend("cpu"):
        for sizes in ((70, 40, 33), (9, 300, 40), (7, 20, 3)):
            for with_bias in (True, False):
                check_linear(*sizes, torch.float32, "cpu", with_bias)


def test_a_plain_leaky_relu_has_the_bits_of_the_reference(variant: Backend) -> None:
    for dtype in DTYPES:
        if dtype is torch.bfloat16 and variant.name == "triton" and variant.is_interpreted:
            continue  # the interpreter truncates
        x, b = (t.requires_grad_() for t in sample(LAYOUTS[2], dtype, variant.device))
        grad = torch.randn_like(x)
        outputs = [f(x, b, act="lrelu", gain=1.0) for f in (fastgan.bias_act, by_reference(fastgan.bias_act))]
        assert torch.equal(*outputs)
        assert torch.equal(*(torch.autograd.grad(y, x, grad)[0] for y in outputs))


def test_the_bound_is_rounded() -> None:
    for dtype in DTYPES:
        for clamp in (0.1, 1 / 3, 255.7, 1e-7, 3e-8, 65519.9, 65520.0, 1e39, 0.0, math.inf):
            rounded = torch.tensor(clamp, dtype=torch.float64).to(dtype).item()
            assert act_of("linear", None, None, clamp, dtype).clamp == rounded


@pytest.mark.parametrize("name", ["cotangent", "grad", "bias", "into"])
def test_wrong_sizes(backend: Backend, name: str) -> None:
    if backend.name == "reference":
        pytest.skip("PyTorch broadcasts")
    x = torch.ones(4, 5, device=backend.device)
    tensors = {"cotangent": x, "grad": x, "saved": x, "bias": x[0], "into": x[0].clone()}
    tensors[name] = torch.ones(3, device=backend.device)
    settings = Act("swish", 0.0, 1.0, math.inf)
    *cotangent_and_grad, saved, bias, into = tensors.values()
    call = saved, bias, settings, 1, True
    if name == "cotangent":
        with pytest.raises(ValueError, match="shape"):
            choose(x).bias_act_curvature(*cotangent_and_grad, *call)
    else:
        with pytest.raises(ValueError, match="shape"):
            choose(x).bias_act_backward(cotangent_and_grad[1], *call, into)
