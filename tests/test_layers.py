"""Values and gradients of the layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from backends import BACKENDS, Backend
from oracle import VIEWS, assert_as_exact, by_reference, check, off_the_kink
from tables import cases, views_and_dtypes
from torch import Tensor
from torch.nn import functional

import fastgan
from fastgan import kernels
from fastgan.kernels.cpu import products
from fastgan.kernels.cpu.products import Product

Shape = tuple[int, ...]
# Rows and planes whose length 16 bytes divide, in every dtype, and others.
FEW_SHAPES_AND_DIMS: list[tuple[Shape, int]] = [
    ((64, 65), 1),
    ((33, 48), 1),
    ((2, 3, 5, 7), 1),
    ((2, 3, 4, 8), 1),
]
MORE_SHAPES_AND_DIMS: list[tuple[Shape, int]] = [
    ((1,), 0),
    ((5,), 0),
    ((1, 1), 1),
    ((64, 65), 0),
    ((1023, 15), -1),
    ((300, 130), 1),
    ((3, 4, 5), 1),
    ((2, 3, 5, 7), -1),
    ((2, 3, 5, 7), 0),
    ((2, 1, 130, 129), 1),
    ((2, 5, 1, 1), 1),
    ((4, 16, 33, 33), 1),
    ((2, 3, 2, 2, 2), 1),
    ((0, 4), 1),
    ((4, 0), 1),
    ((2, 0, 3), 1),
    ((2, 4, 0), 1),
]


def check_bias_leaky_relu(input: Tensor, bias: Tensor | None, dim: int, negative_slope: float = 0.2) -> None:
    check(
        lambda x, b=None: fastgan.bias_leaky_relu(x, b, negative_slope, dim=dim),
        lambda x, b=None: by_reference(fastgan.bias_leaky_relu)(x, b, negative_slope, dim=dim),
        lambda x, b=None: by_reference(fastgan.bias_leaky_relu)(x, b, negative_slope, dim=dim),
        [input] if bias is None else [input, bias],
    )


@pytest.mark.parametrize(("dtype", "shape_and_dim"), cases(FEW_SHAPES_AND_DIMS, MORE_SHAPES_AND_DIMS))
def test_bias_leaky_relu(variant: Backend, dtype: torch.dtype, shape_and_dim: tuple[Shape, int]) -> None:
    shape, dim = shape_and_dim
    input = torch.randn(shape).to(variant.device, dtype)
    check_bias_leaky_relu(input, torch.randn(shape[dim]).to(variant.device, dtype), dim)


@pytest.mark.parametrize(
    ("dtype", "shape_and_dim"), cases([((64, 65), 1)], [((5,), 0), ((2, 3, 4, 8), 1), ((0, 4), 1)])
)
def test_leaky_relu_alone(variant: Backend, dtype: torch.dtype, shape_and_dim: tuple[Shape, int]) -> None:
    """Without a bias every tensor is one row to the kernels."""
    shape, dim = shape_and_dim
    check_bias_leaky_relu(torch.randn(shape).to(variant.device, dtype), None, dim)


@views_and_dtypes
@pytest.mark.parametrize(
    ("shape", "dim", "with_bias"),
    [((33, 31), 1, True), ((6, 7, 5, 3), 1, True), ((33, 31), 0, False)],
    ids=str,
)
def test_bias_leaky_relu_strides(
    backend: Backend,
    dtype: torch.dtype,
    with_bias: bool,
    view: Callable[[Tensor], Tensor],
    shape: Shape,
    dim: int,
) -> None:
    input = view(torch.randn(shape).to(backend.device, dtype))
    bias = view(torch.randn(shape[dim]).to(backend.device, dtype)) if with_bias else None
    check_bias_leaky_relu(input, bias, dim)


def test_more_partial_sums_than_a_tile_has_rows(backend: Backend) -> None:
    """The bias gradient of 34 ranges: in float64 a tile of Triton's interpreter has 32 rows."""
    input, bias = (torch.randn(*s, dtype=torch.float64, device=backend.device) for s in ((4300, 256), (256,)))
    check_bias_leaky_relu(input, bias, 1)


@pytest.mark.parametrize(
    ("dtype", "shape"), cases([(2, 16, 3, 5)], [(2, 3, 5, 7), (4, 16, 33, 33), (2, 1, 5, 5), (2, 5, 1, 1)])
)
def test_channels_last_is_kept(variant: Backend, dtype: torch.dtype, shape: Shape) -> None:
    input = torch.randn(shape).to(variant.device, dtype).contiguous(memory_format=torch.channels_last)
    for bias in (torch.randn(shape[1]).to(variant.device, dtype), None):
        check_bias_leaky_relu(input, bias, 1)
        output = fastgan.bias_leaky_relu(input, bias)
        assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("negative_slope", [0.0, 1e-3, 1.0, 3.0])
def test_slopes(backend: Backend, negative_slope: float) -> None:
    check_bias_leaky_relu(
        torch.randn(40, 5, device=backend.device), torch.randn(5, device=backend.device), 1, negative_slope
    )


def test_slope_at_zero_is_the_negative_one(backend: Backend) -> None:
    input = torch.tensor([[0.0, -0.0, 1.0]], device=backend.device, requires_grad=True)
    fastgan.bias_leaky_relu(input, None, 0.25).sum().backward()
    assert input.grad.tolist() == [[0.25, 0.25, 1.0]]


def check_chain(function: str, tensors: list[Tensor], with_bias: list[bool]) -> None:
    """``tensors``: input, weights, biases; those biases that are left out are None."""
    depth = len(with_bias)
    input, weights = tensors[0], tensors[1 : depth + 1]
    given = [b for b, keep in zip(tensors[depth + 1 :], with_bias, strict=True) if keep]
    ours, reference = {
        "mlp": (fastgan.mlp, by_reference(fastgan.mlp)),
        "linear": (
            lambda x, w, b: fastgan.linear_leaky_relu(x, w[0], b[0]),
            lambda x, w, b: by_reference(fastgan.linear_leaky_relu)(x, w[0], b[0]),
        ),
    }[function]

    def unpacked(chain: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(x: Tensor, *parameters: Tensor) -> Tensor:
            rest = iter(parameters[depth:])
            return chain(x, list(parameters[:depth]), [next(rest) if keep else None for keep in with_bias])

        return call

    check(unpacked(ours), unpacked(reference), unpacked(reference), [input, *weights, *given])


# Rows, and features before and after.
FEW_LINEAR = [((65,), (64, 33)), ((2, 3), (15, 4))]
MORE_LINEAR = [
    ((1,), (1, 1)),
    ((1,), (3, 1)),
    ((0,), (3, 5)),
    ((4,), (0, 5)),
    ((4,), (3, 0)),
    # the same for the product of our own, which wants 16 output features
    ((0,), (3, 20)),
    ((4,), (0, 20)),
    ((1,), (1, 16)),
    ((), (15, 4)),
    ((), (0, 4)),
    ((2, 3), (0, 4)),
    ((0, 3), (15, 4)),
    ((128,), (100, 1)),
    ((130,), (96, 260)),
    # long sums in wgrad
    ((4096,), (16, 17)),
]
LONG_LINEAR = [((16,), (4096, 17))]


@pytest.mark.parametrize(("dtype", "sizes"), cases(FEW_LINEAR, MORE_LINEAR, LONG_LINEAR))
def test_linear_leaky_relu(variant: Backend, dtype: torch.dtype, sizes: tuple[Shape, Shape]) -> None:
    check_chain("linear", off_the_kink(*sizes, dtype, variant.device), [True])


@pytest.mark.parametrize(("dtype", "sizes"), cases(FEW_LINEAR[:1], [((2, 3), (0, 4)), ((1,), (1, 16))]))
def test_linear_leaky_relu_without_bias(
    variant: Backend, dtype: torch.dtype, sizes: tuple[Shape, Shape]
) -> None:
    check_chain("linear", off_the_kink(*sizes, dtype, variant.device), [False])


@views_and_dtypes
@pytest.mark.parametrize("argument", [0, 1, 2], ids=["input", "weight", "bias"])
def test_linear_leaky_relu_strides(
    backend: Backend, dtype: torch.dtype, argument: int, view: Callable[[Tensor], Tensor]
) -> None:
    tensors = off_the_kink((130,), (40, 33), dtype, backend.device)
    tensors[argument] = view(tensors[argument])
    check_chain("linear", tensors, [True])


@pytest.mark.parametrize("product", Product, ids=str)
def test_linear_leaky_relu_by_each_product(monkeypatch: pytest.MonkeyPatch, product: Product) -> None:
    if kernels.why_not("cpu", torch.device("cpu")) is not None:
        pytest.skip(kernels.why_not("cpu", torch.device("cpu")))
    if product is Product.ONEDNN and not products.HAS_ONEDNN:
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "choose", lambda *_: product)
    with fastgan.use_backend("cpu"):
        for name, view in VIEWS.items():
            for argument in range(3):
                tensors = off_the_kink((70,), (40, 33), torch.float32, "cpu")
                tensors[argument] = view(tensors[argument])
                print(f"argument {argument}: {name}")  # which pytest shows where it fails
                check_chain("linear", tensors, [True])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("product", ["fused", "library"])
@pytest.mark.parametrize("features", [(13, 16, 9, 1), (40, 300, 7)], ids=str)
def test_mlp_by_each_product_of_triton(
    monkeypatch: pytest.MonkeyPatch, product: str, dtype: torch.dtype, features: tuple[int, ...]
) -> None:
    (backend,) = (b for b in BACKENDS if b.name == "triton")
    if backend.why_not is not None:
        pytest.skip(backend.why_not)
    from fastgan.kernels.triton import layers

    monkeypatch.setattr(layers, "_forced", layers.Product(product))
    with fastgan.use_backend("triton"):
        tensors = off_the_kink((300,), features, dtype, backend.device)
        check_chain("mlp", tensors, [True] * (len(features) - 1))


# Views of matrices that a product takes as they are, or copies.
OPERANDS: dict[str, Callable[[Tensor], Tensor]] = VIEWS | {
    "contiguous": lambda t: t,
    "columns": lambda t: functional.pad(t, (2, 1))[:, 2:-1],
    "a column": lambda t: t[:, :1].expand_as(t),
}


def exact_product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.double() @ b.double() + (0 if bias is None else bias.double())


@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("right", OPERANDS)
@pytest.mark.parametrize("left", OPERANDS)
def test_product_of_views(variant: Backend, left: str, right: str, with_bias: bool) -> None:
    """Operands have no row, one or more, and fill blocks and panels or not; results go into any memory."""
    for n, k, m in ((0, 3, 40), (1, 1, 1), (1, 20, 33), (17, 0, 5), (70, 33, 3), (9, 301, 70), (300, 40, 64)):
        a, b = OPERANDS[left](torch.randn(n, k)), OPERANDS[right](torch.randn(k, m))
        bias = torch.randn(2 * m)[::2] if with_bias else None
        exact, usual = exact_product(a, b, bias), torch.mm(a, b) + (0 if bias is None else bias)
        a, b = a.to(variant.device), b.to(variant.device)
        bias = None if bias is None else bias.to(variant.device)
        product = kernels.choose(a).product
        wider = torch.full((n, m + 3), 9.0, device=variant.device)
        into = wider[:, 1:-2]
        assert product(a, b, bias, into) is into
        assert (wider[:, [0, -2, -1]] == 9).all()
        for found in (product(a, b, bias), into):
            assert_as_exact(found.cpu(), usual, exact)


@pytest.mark.parametrize("view", OPERANDS.values(), ids=OPERANDS)
def test_row_sums_of_views(variant: Backend, view: Callable[[Tensor], Tensor]) -> None:
    """As exact as a product with ones, which a recorded step takes for a bias gradient."""
    for shape in ((0, 40), (1, 1), (17, 0), (1, 33), (600, 3), (301, 70)):
        matrix = view(torch.randn(shape)).to(variant.device)
        into = torch.full(shape[1:], 9.0, device=variant.device)
        operand = matrix.cpu()
        assert kernels.choose(matrix).row_sums(matrix, into) is into
        for found in (into, kernels.choose(matrix).row_sums(matrix)):
            assert_as_exact(found.cpu(), torch.ones(shape[0]) @ operand, operand.double().sum(0))


BIASES = [[True], [False], [True, False], [True] * 3, [False, True] * 2, [True] * 5]


@pytest.mark.parametrize(
    ("dtype", "chain"),
    cases(
        [((65,), [False, True] * 2)],
        [((65,), with_bias) for with_bias in BIASES] + [(s, [True] * 3) for s in ((), (0,), (1,), (2, 3))],
    ),
)
def test_mlp(backend: Backend, dtype: torch.dtype, chain: tuple[Shape, list[bool]]) -> None:
    rows, with_bias = chain
    features = (*(13, 16, 9, 17, 8)[: len(with_bias)], 1)
    check_chain("mlp", off_the_kink(rows, features, dtype, backend.device), with_bias)


@pytest.mark.long
@pytest.mark.parametrize("few", [1, 2, 3, 4])
def test_a_layer_of_few_features(variant: Backend, few: int) -> None:
    """Vectors run along the other dimension, over more than one block of the depth."""
    for features in ((few, 301, few), (20, few, 301)):
        check_chain("mlp", off_the_kink((270,), features, torch.float32, variant.device), [True] * 2)


@views_and_dtypes
@pytest.mark.parametrize(
    ("rows", "features"),
    [(33, (20, 17, 16, 3)), pytest.param(128, (144, 256, 160, 32), marks=pytest.mark.long)],
    ids=["small", "wide"],
)
def test_mlp_strides(
    backend: Backend,
    dtype: torch.dtype,
    view: Callable[[Tensor], Tensor],
    rows: int,
    features: Shape,
) -> None:
    tensors = off_the_kink((rows,), features, dtype, backend.device)
    check_chain("mlp", [view(t) for t in tensors], [True] * 3)


def test_zero_stride_gradients(backend: Backend) -> None:
    """sum() passes an expanded scalar back, and R1 one of higher order."""
    input, *parameters = (
        t.requires_grad_() for t in off_the_kink((128,), (144, 256, 160), torch.float64, "cpu")
    )
    inputs = [t.to(backend.device) for t in (input, *parameters)]

    def gradients(chain: Callable[..., Tensor]) -> list[Tensor]:
        output = chain(inputs[0], inputs[1:3], inputs[3:])
        first = torch.autograd.grad(output.sum(), inputs, create_graph=True)
        second = torch.autograd.grad(first[0].sum() + first[1].sum(), inputs[:3])
        return [*first, *second]

    for ours, exact in zip(gradients(fastgan.mlp), gradients(by_reference(fastgan.mlp)), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
