"""Tensors that hold no memory of their own, and modes and transforms that want to see every operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from conftest import Python
from oracle import by_reference, eager_generator_loss
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan.ops import (
    labelled_loss,
)

Function = Callable[..., Tensor]


def chain(mlp: Function) -> Function:
    return lambda x, w: mlp(x, [w, w], [None, None])


def upfirdn2d(x: Tensor, w: Tensor) -> Tensor:
    taps = torch.arange(16.0).view(4, 4).to(x.device)
    return fastgan.upfirdn2d((x * w).view(1, 1, 4, 4), taps, up=2, down=2, padding=(2, 1, 2, 1))[0, 0]


def anti_aliased_snake(x: Tensor, w: Tensor) -> Tensor:
    up, down = (torch.linspace(-0.3, 0.6, n, dtype=x.dtype, device=x.device) for n in (6, 5))
    return fastgan.anti_aliased_snake(x.view(1, 4, 4), w[0], w[1], up, down, log_scale=True)[0]


def span_activations(x: Tensor, w: Tensor) -> Tensor:
    spans, conditions = fastgan.Spans((1, 3), conditions=(1,)), torch.arange(4, device=x.device) % 3
    output, entropy = fastgan.span_activations(x * w, spans, conditions=conditions, temperature=0.7)
    return output + entropy


# Each of input [4, 4] and weight [4, 4]: ours, and plain PyTorch.
OPERATIONS: dict[str, tuple[Function, Function]] = {
    "discriminator_loss": (
        fastgan.discriminator_loss,
        lambda r, f: eager_generator_loss(r) - eager_generator_loss(f, saturating=True),
    ),
    "generator_loss": (
        lambda f, _: fastgan.generator_loss(f, reduction="none"),
        lambda f, _: eager_generator_loss(f, reduction="none"),
    ),
    "labelled_loss": (
        lambda t, _: labelled_loss(t, 0.3),
        lambda t, _: F.binary_cross_entropy_with_logits(t, torch.full_like(t, 0.3)),
    ),
    "hinge": (
        lambda r, f: fastgan.discriminator_loss(r, f, loss="hinge"),
        lambda r, f: torch.relu(1 - r).mean() + torch.relu(1 + f).mean(),
    ),
    "relativistic_loss": (
        lambda a, b: fastgan.relativistic_loss(a, b, average=True),
        lambda a, b: by_reference(fastgan.relativistic_loss)(a, b, average=True),
    ),
    "reconstruction_loss": (
        lambda x, w: fastgan.reconstruction_loss(x, w, reduction="none"),
        lambda x, w: by_reference(fastgan.reconstruction_loss)(x, w, reduction="none"),
    ),
    "feature_matching_loss": (
        lambda x, w: fastgan.feature_matching_loss([w, x], [x, w], detach_real=False),
        lambda x, w: by_reference(fastgan.feature_matching_loss)([w, x], [x, w], detach_real=False),
    ),
    "bias_leaky_relu": (
        lambda x, w: fastgan.bias_leaky_relu(x, w[0]),
        lambda x, w: by_reference(fastgan.bias_leaky_relu)(x, w[0]),
    ),
    "bias_act": (
        lambda x, w: fastgan.bias_act(x, w[0], act="softplus", clamp=1.5),
        lambda x, w: by_reference(fastgan.bias_act)(x, w[0], act="softplus", clamp=1.5),
    ),
    "bias_act, swish": (
        lambda x, w: fastgan.bias_act(x, w[0], act="swish"),
        lambda x, w: by_reference(fastgan.bias_act)(x, w[0], act="swish"),
    ),
    "batch_norm_leaky_relu": (
        lambda x, w: fastgan.batch_norm_leaky_relu(x, None, None, w[0], w[1], training=True),
        lambda x, w: F.leaky_relu(F.batch_norm(x, None, None, w[0], w[1], training=True), 0.2),
    ),
    "batch_norm_leaky_relu, evaluation": (
        lambda x, w: fastgan.batch_norm_leaky_relu(x, w[2].detach(), w[3].detach().square(), w[0], w[1]),
        lambda x, w: F.leaky_relu(F.batch_norm(x, w[2].detach(), w[3].detach().square(), w[0], w[1]), 0.2),
    ),
    "snake": (
        lambda x, w: fastgan.snake(x, w[0], w[1], log_scale=True),
        lambda x, w: by_reference(fastgan.snake)(x, w[0], w[1], log_scale=True),
    ),
    "anti_aliased_snake": (anti_aliased_snake, by_reference(anti_aliased_snake)),
    "upfirdn2d": (upfirdn2d, by_reference(upfirdn2d)),
    "span_activations": (span_activations, by_reference(span_activations)),
    "linear_leaky_relu": (fastgan.linear_leaky_relu, by_reference(fastgan.linear_leaky_relu)),
    "mlp": (chain(fastgan.mlp), chain(by_reference(fastgan.mlp))),
}
# An operation of the same autograd Function as another is not for the interpreter.
_ALIKE = ("labelled_loss", "hinge")
operations = pytest.mark.parametrize(
    ("ours", "plain"),
    [
        pytest.param(*pair, id=name, marks=[pytest.mark.long] * (name in _ALIKE))
        for name, pair in OPERATIONS.items()
    ],
)


class Seen(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


class Wrapped(Tensor):
    """A tensor subclass that keeps every default."""


def samples(backend: Backend) -> list[Tensor]:
    return [torch.randn(4, 4, device=backend.device, requires_grad=True) for _ in range(2)]


def gradients(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    output = function(*inputs)
    found = torch.autograd.grad(output.square().sum(), inputs, allow_unused=True)
    return [output, *(torch.zeros_like(t) if g is None else g for g, t in zip(found, inputs, strict=True))]


def penalty_gradients(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    """The second derivative, as in R1."""
    (first,) = torch.autograd.grad(function(*inputs).square().sum(), inputs[0], create_graph=True)
    found = torch.autograd.grad(first.square().sum(), inputs, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, inputs, strict=True)]


@operations
def test_dispatch_mode_sees_the_operator(backend: Backend, ours: Function, plain: Function) -> None:
    inputs = samples(backend)
    with Seen() as seen:
        results = gradients(ours, inputs)
    assert any(name.startswith("fastgan.") for name in seen.names)
    torch.testing.assert_close(results, gradients(plain, inputs))


@operations
def test_second_derivative_under_a_dispatch_mode(backend: Backend, ours: Function, plain: Function) -> None:
    inputs = samples(backend)
    expected = penalty_gradients(plain, inputs)
    with Seen():
        torch.testing.assert_close(penalty_gradients(ours, inputs), expected)


def test_statistics_carry_no_graph_under_a_dispatch_mode(backend: Backend) -> None:
    with Seen():
        loss, stats = fastgan.generator_loss(samples(backend)[0], return_stats=True)
    assert loss.requires_grad
    assert not stats.requires_grad


@operations
def test_fake_tensors(backend: Backend, ours: Function, plain: Function) -> None:
    with FakeTensorMode():
        inputs = samples(backend)
        for mine, theirs in zip(gradients(ours, inputs), gradients(plain, inputs), strict=True):
            assert (mine.shape, mine.dtype, mine.device) == (theirs.shape, theirs.dtype, theirs.device)


@operations
def test_meta_tensors(ours: Function, plain: Function) -> None:
    inputs = [torch.empty(4, 4, device="meta", requires_grad=True) for _ in range(2)]
    for mine, theirs in zip(gradients(ours, inputs), gradients(plain, inputs), strict=True):
        assert (mine.shape, mine.dtype, mine.is_meta) == (theirs.shape, theirs.dtype, True)


@operations
def test_subclass(backend: Backend, ours: Function, plain: Function) -> None:
    inputs = samples(backend)
    wrapped = [t.detach().as_subclass(Wrapped).requires_grad_() for t in inputs]
    results = gradients(ours, wrapped)
    assert type(results[0]) is Wrapped
    for mine, theirs in zip(results, gradients(plain, inputs), strict=True):
        torch.testing.assert_close(mine.as_subclass(Tensor), theirs)


@operations
def test_func_transforms(backend: Backend, ours: Function, plain: Function) -> None:
    input, weight = (t.detach() for t in samples(backend))

    def loss(function: Function) -> Function:
        return lambda x: function(x, weight).square().sum()

    torch.testing.assert_close(torch.func.grad(loss(ours))(input), torch.func.grad(loss(plain))(input))
    torch.testing.assert_close(torch.func.hessian(loss(ours))(input), torch.func.hessian(loss(plain))(input))
    batch = torch.stack([input, -input])
    torch.testing.assert_close(
        torch.func.vmap(ours, (0, None))(batch, weight), torch.func.vmap(plain, (0, None))(batch, weight)
    )
    torch.testing.assert_close(
        torch.func.jvp(lambda x: ours(x, weight), (input,), (weight,)),
        torch.func.jvp(lambda x: plain(x, weight), (input,), (weight,)),
    )


@operations
def test_forward_mode(backend: Backend, ours: Function, plain: Function) -> None:
    input, weight = (t.detach() for t in samples(backend))

    def tangent(function: Function) -> Tensor:
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(input, weight)
            return torch.autograd.forward_ad.unpack_dual(function(dual, weight)).tangent

    torch.testing.assert_close(tangent(ours), tangent(plain))


@operations
def test_batched_backward(backend: Backend, ours: Function, plain: Function) -> None:
    """vmap over the backward pass of a graph made without it."""
    inputs = samples(backend)

    def jacobian(function: Function) -> Tensor:
        output = function(*inputs).flatten()
        basis = torch.eye(output.numel(), device=backend.device)
        return torch.autograd.grad(output, inputs[0], basis, is_grads_batched=True)[0]

    if not ours(*inputs).dim():
        pytest.skip("a scalar has one gradient")
    torch.testing.assert_close(jacobian(ours), jacobian(plain))


@operations
def test_checkpoint_and_saved_tensor_hooks(backend: Backend, ours: Function, plain: Function) -> None:
    inputs = samples(backend)
    expected = gradients(plain, inputs)

    def checkpointed(*args: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(ours, *args, use_reentrant=False)

    torch.testing.assert_close(gradients(checkpointed, inputs), expected)
    with torch.autograd.graph.save_on_cpu():
        torch.testing.assert_close(gradients(ours, inputs), expected)


@operations
def test_negative_bit(backend: Backend, ours: Function, plain: Function) -> None:
    """A view whose memory holds the negated values, as an input and as a gradient."""
    inputs = samples(backend)
    negated = [torch.complex(t, -t).conj().imag.detach().requires_grad_() for t in inputs]
    assert negated[0].is_neg()
    torch.testing.assert_close(gradients(ours, negated), gradients(plain, inputs))

    def through_imag(function: Function) -> Function:
        return lambda *args: torch.complex(function(*args), function(*args)).conj().imag

    torch.testing.assert_close(gradients(through_imag(ours), inputs), gradients(through_imag(plain), inputs))


def test_zero_tensors_have_no_memory(python: Python) -> None:
    """Some derivative formulas of PyTorch make tensors whose address is 0."""
    calls = [
        "discriminator_loss(zeros, zeros)",
        "generator_loss(zeros)",
        "reconstruction_loss(zeros, zeros)",
        "bias_leaky_relu(zeros, zeros[0])",
        "bias_act(zeros, zeros[0], act='swish')",
        "batch_norm_leaky_relu(zeros, None, None, zeros[0], zeros[0], True)",
        "linear_leaky_relu(zeros, zeros)",
        "mlp(zeros, [zeros, zeros], [None, None])",
    ]
    code = "import torch, fastgan; zeros = torch._efficientzerotensor((4, 4))\n"
    result = python(code + "\n".join(f"print({call!r}, fastgan.{call}, flush=True)" for call in calls))
    assert result.returncode == 0, result.stdout + result.stderr  # the call after the last that is printed
    assert [call for call in calls if call not in result.stdout] == []


@operations
def test_no_graph_without_gradients(backend: Backend, ours: Function, plain: Function) -> None:
    inputs = samples(backend)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            output = ours(*inputs)
            torch.testing.assert_close(output, plain(*inputs))
        assert not output.requires_grad
        assert output.is_inference() == (mode is torch.inference_mode)


@operations
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_jit_trace_records_operators_of_pytorch(backend: Backend, ours: Function, plain: Function) -> None:
    first, second = ([t.detach() for t in samples(backend)] for _ in range(2))
    traced = torch.jit.trace(ours, tuple(first), check_trace=False)
    assert "fastgan::" not in str(traced.graph)  # the file runs where there is no fastgan
    torch.testing.assert_close(traced(*second), plain(*second))
