"""The operators of torch.library: their shape functions and gradients, and torch.compile over them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from backends import GPU, Backend
from conftest import Python
from functorch.compile import make_boxed_func
from oracle import DTYPES, VIEWS, as_tuple
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch.utils.flop_counter import FlopCounterMode

import fastgan
from fastgan import fuse, kernels
from fastgan.kernels.logit_losses import NUMBERS

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
ops = torch.ops.fastgan


def sample(*shape: int, backend: Backend, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape).to(backend.device, dtype)


def opcheck(operator: torch._ops.OpOverload, arguments: tuple[Any, ...], *, compiles: bool = True) -> None:
    """What torch.library.opcheck looks at.

    Its slow part, compiling, knows nothing of who computes, nor of dtypes: the reference alone has it, for
    tensors of float32, and a test may leave it out where it looks at another case of the same operator.
    """
    tensors = [
        t for a in arguments for t in (a if isinstance(a, (list, tuple)) else [a]) if isinstance(t, Tensor)
    ]
    compiles &= all(t.dtype is torch.float32 for t in tensors)
    compiles &= kernels.choose(tensors[0]) is kernels.reference
    checks = ["test_schema", "test_faketensor"]
    torch.library.opcheck(
        operator, arguments, test_utils=[*checks, "test_aot_dispatch_dynamic"] if compiles else checks
    )


def is_one_view_of_all(view: Callable[[Tensor], Tensor]) -> bool:
    """The graph that is compiled for one view is that for another."""
    return view is VIEWS["transposed"]


# What opcheck looks at depends on the dtype or on what else is varied, never on both together.
@pytest.mark.parametrize(
    ("dtype", "mean", "with_stats"),
    [
        *[(dtype, True, True) for dtype in DTYPES],
        (torch.float32, True, False),
        (torch.float32, False, True),
        (torch.float32, False, False),
    ],
    ids=str,
)
def test_opcheck_logit_loss(backend: Backend, dtype: torch.dtype, mean: bool, with_stats: bool) -> None:
    logits = [sample(6, 4, backend=backend, dtype=dtype), sample(5, backend=backend, dtype=dtype)]
    opcheck(ops.logit_loss.default, (logits, "bce", [0.9, 0.0], [1.0, 0.5], mean, dtype, with_stats))
    if mean and with_stats:
        opcheck(ops.logit_loss_terms.default, (logits[0], "bce", 0.9, -1.0))


def test_opcheck_other_losses(backend: Backend) -> None:
    logits = [sample(6, 4, backend=backend), sample(5, backend=backend)]
    for loss in NUMBERS:
        call = loss, [1.0, 0.0], [1.0, 1.0], True
        opcheck(ops.logit_loss.default, (logits, *call, torch.float32, True), compiles=False)
        opcheck(ops.logit_loss_terms.default, (logits[0], loss, 0.0, -1.0), compiles=False)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_opcheck_logit_loss_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    logits, compiles = view(torch.randn(6, 4, device=backend.device)), is_one_view_of_all(view)
    call = [logits], "bce", [1.0], [1.0], True, torch.float32, False
    opcheck(ops.logit_loss.default, call, compiles=compiles)
    opcheck(ops.logit_loss_terms.default, (logits, "bce", 1.0, 1.0), compiles=compiles)
    grad = torch.ones_like(logits)
    opcheck(ops.logit_loss_terms_backward.default, (grad, logits, "bce", 1.0, 1.0), compiles=compiles)


def test_opcheck_logit_loss_backward(backend: Backend) -> None:
    logits = [torch.randn(6, 4, device=backend.device), torch.randn(4, 6, device=backend.device).t()]
    grad = torch.ones((), device=backend.device)
    opcheck(ops.logit_loss_backward.default, (grad, logits, "bce", [0.9, 0.0], [1.0, 1.0], True))


@pytest.mark.parametrize(
    ("dtype", "mean"), [*[(dtype, True) for dtype in DTYPES], (torch.float32, False)], ids=str
)
def test_opcheck_l1_loss(backend: Backend, dtype: torch.dtype, mean: bool) -> None:
    x, y = (
        [sample(6, 4, backend=backend, dtype=dtype), sample(5, backend=backend, dtype=dtype)] for _ in "xy"
    )
    opcheck(ops.l1_loss.default, (x, y, [1.0, 0.5], mean, dtype))
    if mean:
        opcheck(ops.l1_terms.default, (x[0], y[0]))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_opcheck_l1_loss_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    x, compiles = view(torch.randn(6, 4, device=backend.device)), is_one_view_of_all(view)
    y = sample(6, 4, backend=backend)
    call = [x], [y], [2.0], True
    opcheck(ops.l1_loss.default, (*call, torch.float32), compiles=compiles)
    opcheck(ops.l1_terms.default, (x, y), compiles=compiles)
    for needs in ((True, True), (False, True)):
        one = torch.ones((), device=backend.device)
        opcheck(ops.l1_loss_backward.default, (one, *call, *needs), compiles=compiles)
        opcheck(ops.l1_terms_backward.default, (torch.ones_like(y), x, y, *needs), compiles=compiles)


@pytest.mark.parametrize(
    ("dtype", "iterations"), [*[(dtype, 1) for dtype in DTYPES], (torch.float32, 0)], ids=str
)
def test_opcheck_spectral_norm(backend: Backend, dtype: torch.dtype, iterations: int) -> None:
    def ones(*shape: int) -> Tensor:
        return torch.ones(shape, dtype=dtype, device=backend.device)

    weights = [sample(4, 6, backend=backend, dtype=dtype), sample(6, 3, backend=backend, dtype=dtype).t()]
    vectors = [ones(4), ones(3)], [ones(6), ones(6)]
    opcheck(ops.spectral_norm.default, (weights, *vectors, 1e-12, iterations, False))
    sigma = torch.ones(2, device=backend.device, dtype=torch.promote_types(dtype, torch.float32))
    grads = [torch.ones_like(w, memory_format=torch.contiguous_format) for w in weights]
    opcheck(ops.spectral_norm_backward.default, (grads, weights, *vectors, sigma))


@pytest.mark.parametrize(
    ("dtype", "shape", "dim", "channels_last"),
    [
        *[(dtype, (2, 3, 4, 5), 1, False) for dtype in DTYPES],
        (torch.float32, (2, 3, 4, 5), 1, True),
        (torch.float32, (6, 4), 1, False),
        (torch.float32, (6, 4), 1, True),
        (torch.float32, (5,), 0, False),
        (torch.float32, (2, 1, 4, 5), 1, True),
    ],
    ids=str,
)
def test_opcheck_bias_act(
    backend: Backend, dtype: torch.dtype, shape: tuple[int, ...], dim: int, channels_last: bool
) -> None:
    input, bias = (
        sample(*shape, backend=backend, dtype=dtype),
        sample(shape[dim], backend=backend, dtype=dtype),
    )
    if channels_last:
        input = input.movedim(dim, -1).contiguous().movedim(-1, dim)
    compiles = shape == (2, 3, 4, 5)  # of the sizes the graph knows nothing
    act = "leaky", 0.2, 1.5, math.inf
    opcheck(ops.bias_act.default, (input, bias, *act, dim), compiles=compiles)
    opcheck(ops.bias_act.default, (input, None, *act, dim), compiles=compiles)
    grad, saved = torch.ones_like(input), input.detach()
    opcheck(ops.bias_act_backward.default, (grad, saved, None, *act, dim, True), compiles=compiles)
    call = grad, grad, saved, bias.detach(), "swish", 0.0, 1.0, 2.0, dim, True
    opcheck(ops.bias_act_backward.default, call[1:], compiles=compiles)
    opcheck(ops.bias_act_curvature.default, call, compiles=compiles)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_opcheck_bias_act_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    input = view(torch.randn(3, 4, 5, device=backend.device))
    call = input, sample(4, backend=backend), "tanh", 0.0, 1.0, 0.5, 1
    opcheck(ops.bias_act.default, call, compiles=is_one_view_of_all(view))


@pytest.mark.parametrize(
    ("dtype", "shape", "channels_last"),
    [
        *[(dtype, (2, 3, 4, 5), False) for dtype in DTYPES],
        (torch.float32, (2, 3, 4, 5), True),
        (torch.float32, (6, 4), False),
    ],
    ids=str,
)
def test_opcheck_batch_norm(
    backend: Backend, dtype: torch.dtype, shape: tuple[int, ...], channels_last: bool
) -> None:
    input = sample(*shape, backend=backend, dtype=dtype)
    if channels_last:
        input = input.contiguous(memory_format=torch.channels_last)
    weight, bias = (sample(shape[1], backend=backend, dtype=dtype) for _ in "wb")
    mean, var = (torch.rand(shape[1]).to(backend.device, dtype) for _ in "mv")
    call = input, mean, var, weight, bias, 1e-5, 0.2
    opcheck(ops.batch_norm_statistics.default, (input, mean.clone(), var.clone(), 0.1))
    opcheck(ops.batch_norm_statistics.default, (input, None, None, 0.1))
    opcheck(ops.batch_norm_leaky_relu.default, call)
    opcheck(ops.batch_norm_leaky_relu.default, (input, mean, var, None, None, 1e-5, 0.2))
    grad = torch.ones_like(input)
    for needs in ((True, True, True), (True, False, False), (False, True, True)):
        opcheck(ops.batch_norm_leaky_relu_backward.default, (grad, *call, True, *needs))
    opcheck(ops.batch_norm_leaky_relu_backward.default, (grad, *call, False, True, True, True))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_opcheck_batch_norm_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    input, compiles = view(torch.randn(3, 4, 5, device=backend.device)), is_one_view_of_all(view)
    mean, var = (torch.rand(4, device=backend.device) for _ in "mv")
    opcheck(ops.batch_norm_statistics.default, (input, mean.clone(), var.clone(), 0.1), compiles=compiles)
    opcheck(ops.batch_norm_leaky_relu.default, (input, mean, var, None, None, 0.0, 0.2), compiles=compiles)


@pytest.mark.parametrize(
    ("dtype", "channels_last"), [*[(dtype, False) for dtype in DTYPES], (torch.float32, True)], ids=str
)
def test_opcheck_snake(backend: Backend, dtype: torch.dtype, channels_last: bool) -> None:
    input = sample(2, 3, 8, backend=backend, dtype=dtype)
    if channels_last:
        input = input.transpose(1, 2).contiguous().transpose(1, 2)
    alpha, beta = (torch.rand(3).to(backend.device, dtype) for _ in "ab")
    filters = [torch.rand(n).to(backend.device, dtype) for n in (6, 5)]
    grad, scale = torch.ones_like(input), (False, 1e-9)
    for between, operator, backward in (
        ([], ops.snake, ops.snake_backward),
        (filters, ops.anti_aliased_snake, ops.anti_aliased_snake_backward),
    ):
        opcheck(operator.default, (input, alpha, beta, *between, *scale))
        opcheck(operator.default, (input, alpha, None, *between, *scale))
        for needs in ((True, True, True), (True, False, False), (False, True, True)):
            opcheck(backward.default, (grad, input, alpha, beta, *between, *scale, *needs))
        opcheck(backward.default, (grad, input, alpha, None, *between, *scale, True, True, False))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_opcheck_snake_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    input, compiles = view(torch.randn(3, 4, 5, device=backend.device)), is_one_view_of_all(view)
    alpha, taps = (torch.rand(n, device=backend.device) for n in (4, 6))
    opcheck(ops.snake.default, (input, alpha, None, False, 1e-9), compiles=compiles)
    opcheck(ops.anti_aliased_snake.default, (input, alpha, None, taps, taps, False, 1e-9), compiles=compiles)


@dtypes
def test_opcheck_upfirdn2d(backend: Backend, dtype: torch.dtype) -> None:
    input = sample(2, 3, 4, 6, backend=backend, dtype=dtype)
    call = [2, 1], [1, 2], [1, 2, -1, 3], False, 4.0
    for filter in (torch.rand(4), torch.rand(2, 3)):
        opcheck(ops.upfirdn2d.default, (input, filter.to(input), *call))
    last = input.contiguous(memory_format=torch.channels_last)
    opcheck(ops.upfirdn2d.default, (last, torch.rand(3, 3).to(input), *call))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_opcheck_upfirdn2d_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    input, compiles = view(torch.randn(3, 2, 4, 3, device=backend.device)), is_one_view_of_all(view)
    call = torch.rand(3, 3, device=backend.device), [1, 1], [1, 1], [1, 1, 1, 1], True, 1.0
    opcheck(ops.upfirdn2d.default, (input, *call), compiles=compiles)


@dtypes
def test_opcheck_span_activations(backend: Backend, dtype: torch.dtype) -> None:
    input = sample(4, 7, backend=backend, dtype=dtype)
    noise, conditions = torch.rand(4, 7).to(backend.device), torch.arange(4, device=backend.device)
    sizes, discrete = [1, 3, 1, 2], [1, 3]
    opcheck(ops.span_activations.default, (input, sizes, discrete, noise, 0.2, conditions))
    opcheck(ops.span_activations.default, (input, sizes, [], None, 0.2, None))
    grad, entropy = torch.ones_like(input), torch.ones((), device=backend.device)
    spans = sizes, discrete, 0.2
    opcheck(ops.span_activations_backward.default, (grad, entropy, input, input, *spans, conditions))
    opcheck(ops.span_activations_backward.default, (grad, None, None, input, *spans, None))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_opcheck_span_activations_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    input, compiles = view(torch.randn(3, 4, device=backend.device)), is_one_view_of_all(view)
    opcheck(ops.span_activations.default, (input, [1, 3], [], None, 0.2, None), compiles=compiles)
    call = input, None, None, input.detach(), [1, 3], [], 0.2, None
    opcheck(ops.span_activations_backward.default, call, compiles=compiles)


@dtypes
def test_opcheck_linear_leaky_relu(backend: Backend, dtype: torch.dtype) -> None:
    input, weight = sample(6, 4, backend=backend, dtype=dtype), sample(5, 4, backend=backend, dtype=dtype)
    bias = sample(5, backend=backend, dtype=dtype)
    opcheck(ops.linear_leaky_relu.default, (input, weight, bias, 0.2, 1.0, math.inf))
    opcheck(ops.linear_leaky_relu.default, (input, weight, None, 0.2, 1.5, 2.0))


def step(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
    """Every operation in one function."""
    real_logits = fastgan.bias_leaky_relu(discriminator(real), torch.ones_like(real[0, :1]))
    loss, stats = fastgan.discriminator_loss(
        real_logits, discriminator(fake), real_label=0.9, return_stats=True
    )
    terms = fastgan.generator_loss(real_logits, reduction="none")
    loss = loss + fastgan.discriminator_loss(real_logits, terms, loss="hinge")
    distances = fastgan.reconstruction_loss(real, fake + real_logits, reduction="none")
    return loss + terms.sum() + distances.sum() + fastgan.reconstruction_loss(real_logits, terms), stats


def results(function: Callable[..., tuple[Tensor, ...]], discriminator: nn.Module, rows: int) -> list[Tensor]:
    parameters = list(discriminator.parameters())
    device = parameters[0].device
    generator = torch.Generator().manual_seed(rows)
    real, fake = (torch.randn(rows, 6, generator=generator).to(device) for _ in range(2))
    loss, stats = function(discriminator, real, fake)
    return [loss, stats, *torch.autograd.grad(loss, parameters)]


def compare_compiled(fused: str, device: str, **options: Any) -> None:
    torch.compiler.reset()
    discriminator = (
        fastgan.nn.MLP([6, 8, 8, 1])
        if fused == "MLP"
        else fuse(nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)))
    ).to(device)
    compiled = torch.compile(step, fullgraph=True, **options)
    for rows in (4, 7, 16) if "dynamic" in options else (4,):
        torch.testing.assert_close(
            results(compiled, discriminator, rows), results(step, discriminator, rows), rtol=1e-5, atol=1e-6
        )


def test_compile(backend: Backend) -> None:
    """Each backend computes the same nodes, of whichever layers they are."""
    compare_compiled("fuse", backend.device, backend="aot_eager")


def test_compile_by_inductor() -> None:
    """To which an operator is one call, whoever computes it: for the backend that is chosen by itself."""
    compare_compiled("MLP", GPU, backend="inductor", dynamic=True)


def test_each_operation_is_one_node_of_a_compiled_graph() -> None:
    torch.compiler.reset()
    operators: list[list[str]] = []

    def kept(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        operators.append([str(n.target) for n in graph.graph.nodes if "fastgan" in str(n.target)])
        return make_boxed_func(graph.forward)

    layer = fastgan.nn.LinearLeakyReLU(6, 8)
    backend = aot_autograd(fw_compiler=kept)
    compiled = torch.compile(lambda x: fastgan.generator_loss(layer(x)), fullgraph=True, backend=backend)
    compiled(torch.randn(4, 6)).backward()
    assert operators == [
        ["fastgan.linear_leaky_relu.default", "fastgan.logit_loss.default"],
        ["fastgan.logit_loss_backward.default", "fastgan.bias_act_backward.default"],
    ]


@pytest.mark.parametrize("training", [True, False])
def test_compile_batch_norm(backend: Backend, training: bool) -> None:
    """The compiled module updates its statistics."""
    torch.compiler.reset()
    plain = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.LeakyReLU(0.2))
    model = fuse(copy.deepcopy(plain)).to(backend.device).train(training)
    plain.to(backend.device).train(training)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        input = torch.randn(3, 1, 6, 6, device=backend.device)
        results = []
        for call, module in ((compiled, model), (plain, plain)):
            output = call(input)
            grads = torch.autograd.grad(output.square().sum(), list(module.parameters()))
            results.append([output, *grads, *module.buffers()])
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_compile_under_autocast(backend: Backend) -> None:
    torch.compiler.reset()
    layer = fastgan.nn.LinearLeakyReLU(6, 8).to(backend.device)
    input = torch.randn(4, 6, device=backend.device)

    def run(input: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(backend.device, torch.bfloat16):
            hidden = layer(input)
            return hidden, fastgan.generator_loss(hidden)

    compiled = as_tuple(torch.compile(run, fullgraph=True, backend="aot_eager")(input))
    torch.testing.assert_close(compiled, run(input))


def test_compiled_value_and_grad(backend: Backend) -> None:
    torch.compiler.reset()
    fake = torch.randn(65, device=backend.device)
    compiled = torch.compile(fastgan.ops.generator_loss_value_and_grad, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(fake), fastgan.ops.generator_loss_value_and_grad(fake))


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, bias=False)
        self.bias = nn.Parameter(torch.ones(4))
        self.head = fastgan.nn.MLP([16, 8, 1])

    def forward(self, images: Tensor) -> Tensor:
        features = fastgan.bias_leaky_relu(self.convolution(images), self.bias)
        return self.head(features.flatten(1))


class Objective(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.discriminator = Discriminator()

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return fastgan.discriminator_loss(self.discriminator(real), self.discriminator(fake))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's, of torch's own calls
def test_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Python) -> None:
    """The exported program is of PyTorch's operators, takes any batch and runs where there is no fastgan."""
    objective = Objective()
    real, fake = torch.randn(2, 3, 1, 4, 4)
    batch = {0: torch.export.Dim("N")}
    program = torch.export.export(objective, (real, fake), dynamic_shapes=(batch, batch))
    assert not [node for node in program.graph.nodes if "fastgan" in str(node.target)]
    torch.export.save(program, tmp_path / "objective.pt2")
    real, fake = torch.randn(2, 5, 1, 4, 4)
    torch.save((real, fake, objective(real, fake).detach()), tmp_path / "expected.pt")
    monkeypatch.chdir(tmp_path)
    done = python(LOADS)
    assert done.returncode == 0, done.stderr


LOADS = """
import sys, torch
real, fake, expected = torch.load("expected.pt")
loss = torch.export.load("objective.pt2").module()(real, fake)
torch.testing.assert_close(loss.detach(), expected)
assert "fastgan" not in sys.modules
"""


def plain_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)
    )


@pytest.mark.parametrize("build", [lambda: fuse(plain_network()), lambda: fastgan.nn.MLP([6, 8, 8, 1])])
def test_flops_are_counted(build: Callable[[], nn.Module]) -> None:
    """As many as of the same network of torch.nn, forward and backward."""

    def counted(run: Callable[[Tensor], Tensor]) -> int:
        with FlopCounterMode(display=False) as counter:
            run(torch.randn(5, 6, requires_grad=True)).sum().backward()
        return counter.get_total_flops()

    model = build()
    weights, biases = (
        [p for p in model.parameters() if p.dim() == 2],
        [p for p in model.parameters() if p.dim() == 1],
    )
    expected = counted(plain_network())
    assert expected > 0
    assert counted(model) == expected
    assert counted(lambda x: fastgan.mlp(x, weights, biases)) == expected


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:Exporting a model:UserWarning")
@pytest.mark.parametrize("dynamo", [True, False], ids=["torch.export", "TorchScript"])
@pytest.mark.parametrize("build", [lambda: fuse(plain_network()), lambda: fastgan.nn.MLP([6, 8, 8, 1])])
def test_onnx(build: Callable[[], nn.Module], dynamo: bool, tmp_path: Path) -> None:
    """By both of PyTorch's exporters, with the values of the model."""
    model, input = build(), torch.randn(5, 6)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (input,), path, dynamo=dynamo, verbose=False)
    assert {node.domain for node in onnx.load(path).graph.node} <= {"", "ai.onnx"}
    session = onnxruntime.InferenceSession(path)
    (output,) = session.run(None, {session.get_inputs()[0].name: input.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), model(input).detach())
