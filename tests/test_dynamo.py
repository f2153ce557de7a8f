"""TorchDynamo and the operations: backward passes that it meets, and transforms that it compiles."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backends import Backend
from oracle import VIEWS
from test_transforms import _ALIKE, OPERATIONS, Wrapped
from torch import Tensor, func
from torch._dynamo.convert_frame import input_codes

import fastgan
from fastgan import kernels
from fastgan.kernels.reference import Reference
from fastgan.ops import routing

Function = Callable[..., Tensor]
# One of each autograd Function: TorchDynamo knows nothing of what a Function computes.
DISTINCT = [name for name in OPERATIONS if name not in _ALIKE]


def test_compiled_update_of_an_eager_loss() -> None:
    """The forward pass is eager; the backward pass read memory that was free already, and broke the heap."""
    torch.compiler.reset()
    discriminator, x = fastgan.nn.MLP([16, 64, 64, 1]), torch.randn(64, 16)
    found = []
    for update in (
        lambda loss: loss.backward(),
        torch.compile(lambda loss: loss.backward(), backend="eager"),
    ):
        for _ in range(5):
            update(fastgan.discriminator_loss(discriminator(x), discriminator(x / 2)))
        found.append([p.grad for p in discriminator.parameters()])
        discriminator.zero_grad()
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


def test_every_function_is_one_that_dynamo_leaves_alone() -> None:
    package = Path(fastgan.__file__).parent
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and "torch.autograd.Function" in map(ast.unparse, node.bases):
                assert file.name == "routing.py", f"{node.name} must derive from fastgan.ops.routing.Function"
    names = {each.__name__ for each in routing.Function.__subclasses__()}
    assert names >= {"LogitLoss", "MLP", "MLPGrad", "HeadLoss"}


def test_every_kernel_is_one_that_dynamo_leaves_alone(backend: Backend) -> None:
    for of in type(kernels.load(backend.name)).__mro__:
        if of in Reference.__mro__:
            continue
        for name, method in vars(of).items():
            assert not inspect.isfunction(method) or method._torchdynamo_disable, name


def eager_graph(
    ours: Function, view: Function, device: str, wrapped: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """An output, its gradient, and the leaves whose views the operation saw."""
    torch.default_generator.manual_seed(0)
    leaves = [torch.randn(4, 4, device=device).requires_grad_() for _ in range(2)]
    inputs = [view(t).as_subclass(Wrapped) if wrapped else view(t) for t in leaves]
    output = ours(*inputs).as_subclass(Tensor)
    return output, torch.rand(4, 4, device=device).t() if output.dim() else torch.rand_like(output), leaves


def first_order(output: Tensor, cotangent: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
    output.backward(cotangent)
    return [t.grad for t in leaves]


def second_order(output: Tensor, cotangent: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
    """As in R1."""
    (grad,) = torch.autograd.grad(output.square(), leaves[:1], cotangent, create_graph=True)
    grad.square().sum().backward()
    return [t.grad for t in leaves]


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("order", [first_order, second_order])
def test_compiled_backward(backend: Backend, name: str, order: Callable[..., list[Tensor | None]]) -> None:
    """A graph that was built eagerly gets the bits of an eager backward pass; Dynamo sees no frame of it."""
    ours, _ = OPERATIONS[name]
    torch.compiler.reset()
    compiled = torch.compile(order, backend="eager")
    # what a view becomes before a kernel sees it depends on no backend
    views = list(VIEWS.values()) if backend.name == "cpu" else [VIEWS["transposed"]]
    for view, wrapped in [(VIEWS["transposed"], True), *((view, False) for view in views)]:
        expected, found = (
            run(*eager_graph(ours, view, backend.device, wrapped)) for run in (order, compiled)
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for each in routing.Function.__subclasses__():
        assert each.backward.__code__ not in input_codes


def total(function: Function) -> Function:
    return lambda x, w: function(x, w).square().sum()


# Of an operation, its input and its weight.
TRANSFORMS: dict[str, Callable[[Function, Tensor, Tensor], object]] = {
    "grad": lambda f, x, w: func.grad(total(f))(x, w),
    "jvp": lambda f, x, w: func.jvp(lambda x: f(x, w), (x,), (w,)),
    "hessian": lambda f, x, w: func.hessian(total(f))(x, w),
    "vmap of grad": lambda f, x, w: func.vmap(func.grad(total(f)), (0, None))(torch.stack([x, -x]), w),
}


@pytest.mark.parametrize(
    ("name", "transform", "compiler"),
    [
        # "grad" alone is a part of the last two, and has nothing that depends on the operation
        *[(name, transform, "eager") for name in DISTINCT for transform in TRANSFORMS if transform != "grad"],
        *[(name, "grad", "eager") for name in ("discriminator_loss", "linear_leaky_relu")],
        # what comes after TorchDynamo takes as long again, and sees PyTorch's operators: a loss, and a layer
        *[
            (name, transform, "aot_eager")
            for name in ("discriminator_loss", "linear_leaky_relu")
            for transform in ("jvp", "vmap of grad")
        ],
    ],
)
def test_compiled_transforms(name: str, transform: str, compiler: str) -> None:
    torch.compiler.reset()
    (ours, plain), run = OPERATIONS[name], TRANSFORMS[transform]
    x, w = torch.randn(4, 4), torch.randn(4, 4)
    compiled = torch.compile(lambda x, w: run(ours, x, w), backend=compiler)
    torch.testing.assert_close(compiled(x, w), run(plain, x, w))
