"""First and second derivatives by finite differences, and what autograd promises about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle, pairwise, product

import pytest
import torch
from backends import Backend
from oracle import OTHER_LOSSES, as_tuple, by_reference, spectral_norm
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import fastgan

Operation = tuple[Callable[..., "Tensor | tuple[Tensor, ...]"], list[tuple[int, ...]]]


def mlp_of(depth: int, with_bias: bool) -> Operation:
    features = (*(2, 3, 2, 3, 2)[:depth], 2)
    weights = [(m, k) for k, m in pairwise(features)]
    biases = [(m,) for m in features[1:]] if with_bias else []

    def call(input: Tensor, *parameters: Tensor) -> Tensor:
        return fastgan.mlp(input, parameters[:depth], parameters[depth:] or [None] * depth)

    return call, [(2, features[0]), *weights, *biases]


def unit_vectors(a: Tensor, b: Tensor, dim: int) -> tuple[Tensor, ...]:
    return tuple(t.new_ones(t.shape[dim]) / t.shape[dim] ** 0.5 for t in (a, b))


def batch_norm(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return fastgan.batch_norm_leaky_relu(input, None, None, weight, bias, training=True)


def statistics_like(weight: Tensor) -> tuple[Tensor, Tensor]:
    return torch.full_like(weight, 0.1).detach(), torch.full_like(weight, 0.5).detach()


def snake(x: Tensor, alpha: Tensor, beta: Tensor | None = None) -> Tensor:
    return fastgan.snake(x, alpha, beta, log_scale=True)


def anti_aliased_snake(x: Tensor, alpha: Tensor, beta: Tensor | None = None) -> Tensor:
    """With filters of unlike taps, one of an even and one of an odd length."""
    up, down = (torch.linspace(-0.3, 0.6, n, dtype=x.dtype, device=x.device) for n in (4, 5))
    return fastgan.anti_aliased_snake(x, alpha, beta, up, down, log_scale=True)


SPANS = fastgan.Spans((1, 3, 1, 2), conditions=(1, 3))


def span_activations(x: Tensor) -> tuple[Tensor, Tensor]:
    """With a condition in each of the discrete spans."""
    noise = torch.linspace(0, 0.9, 14, device=x.device).view(2, 7)
    conditions = torch.tensor([2, 3], device=x.device)
    return fastgan.span_activations(x, SPANS, noise, conditions=conditions, temperature=0.7)


OPERATIONS: dict[str, Operation] = {
    # Each label, each reduction and each loss once: they are factors in one formula.
    **{
        f"discriminator_loss-{reduction}-{label}": (
            lambda r, f, label=label, reduction=reduction: fastgan.discriminator_loss(
                r, f, real_label=label, reduction=reduction
            ),
            [(2, 2), (3,)],
        )
        for reduction, label in (("mean", 0.9), ("sum", 1.0), ("none", 0.0), ("none", 0.9))
    },
    **{
        f"generator_loss-{reduction}-{saturating}": (
            lambda f, saturating=saturating, reduction=reduction: fastgan.generator_loss(
                f, saturating=saturating, reduction=reduction
            ),
            [(2, 2)],
        )
        for reduction, saturating in (("mean", False), ("sum", True), ("none", True))
    },
    **{
        f"{loss}-{reduction}": (
            lambda r, f, loss=loss, reduction=reduction: fastgan.discriminator_loss(
                r, f, loss=loss, reduction=reduction
            ),
            [(2, 2), (3,)],
        )
        for loss, reduction in zip(OTHER_LOSSES, cycle(("mean", "none")))
    },
    "relativistic_loss": (fastgan.relativistic_loss, [(2, 2), (2, 2)]),
    "relativistic_loss-average": (
        lambda a, b: fastgan.relativistic_loss(a, b, average=True),
        [(2, 2), (3,)],
    ),
    **{
        f"reconstruction_loss-{reduction}": (
            lambda v, d, reduction=reduction: fastgan.reconstruction_loss(v, d, reduction=reduction),
            [(2, 3), (2, 3)],
        )
        for reduction in ("mean", "sum", "none")
    },
    "feature_matching_loss": (
        lambda a, b, c, d: fastgan.feature_matching_loss(
            [[a], [b]], [[c], [d]], over_maps="mean", over="mean", weights=[3.0, 0.5], detach_real=False
        ),
        [(2, 3), (2,), (2, 3), (2,)],
    ),
    "bias_leaky_relu": (fastgan.bias_leaky_relu, [(2, 3, 2), (3,)]),
    "bias_leaky_relu-rows": (lambda x, b: fastgan.bias_leaky_relu(x, b, dim=-1), [(2, 3), (3,)]),
    "bias_leaky_relu-1d": (lambda x, b: fastgan.bias_leaky_relu(x, b, dim=0), [(3,), (3,)]),
    "bias_leaky_relu-no_bias": (fastgan.bias_leaky_relu, [(2, 3)]),
    "bias_act-tanh": (lambda x, b: fastgan.bias_act(x, b, act="tanh", gain=-1.5), [(2, 3, 2), (3,)]),
    "bias_act-swish": (lambda x, b: fastgan.bias_act(x, b, -1, "swish"), [(2, 3), (3,)]),
    "bias_act-linear": (lambda x, b: fastgan.bias_act(x, b, gain=2.0), [(2, 3), (3,)]),
    "batch_norm_leaky_relu": (batch_norm, [(3, 2, 2), (2,), (2,)]),
    "batch_norm_leaky_relu-rows": (batch_norm, [(4, 2), (2,), (2,)]),
    "batch_norm_leaky_relu-no_bias": (batch_norm, [(4, 2), (2,)]),
    "batch_norm_leaky_relu-evaluation": (
        lambda x, w, b: fastgan.batch_norm_leaky_relu(x, *statistics_like(w), w, b),
        [(2, 3, 2), (3,), (3,)],
    ),
    "linear_leaky_relu": (fastgan.linear_leaky_relu, [(3, 2), (2, 2), (2,)]),
    "linear_leaky_relu-3d": (fastgan.linear_leaky_relu, [(2, 2, 3), (2, 3), (2,)]),
    "linear_leaky_relu-no_bias": (fastgan.linear_leaky_relu, [(3, 2), (2, 2)]),
    "spectral_norm": (
        lambda a, b: spectral_norm((a, b), unit_vectors(a, b, 0), unit_vectors(a, b, 1), 1e-12, 0, False)[0],
        [(2, 3), (3, 2)],
    ),
    "snake": (snake, [(2, 3, 2), (3,), (3,)]),
    "snake-one_number": (snake, [(2, 3), (3,)]),
    "anti_aliased_snake": (anti_aliased_snake, [(2, 1, 3), (1,), (1,)]),
    "anti_aliased_snake-one_number": (anti_aliased_snake, [(1, 2, 3), (2,)]),
    "upfirdn2d": (lambda x: fastgan.upsample2d(x, fastgan.setup_filter([1, 3, 3, 1]).to(x)), [(1, 2, 2, 3)]),
    "upfirdn2d-separable": (lambda x: fastgan.downsample2d(x, torch.arange(5).to(x)), [(1, 1, 4, 4)]),
    "span_activations": (span_activations, [(2, 7)]),
    "span_activations-no_conditions": (lambda x: fastgan.span_activations(x, SPANS), [(2, 7)]),
    "mlp-1": mlp_of(1, True),
    "mlp-2": mlp_of(2, True),
    "mlp-3-no_bias": mlp_of(3, False),
    "mlp-5": mlp_of(5, True),
}


# What each autograd Function does with its tensors does not depend on labels and reductions.
FUNCTIONS = (
    "discriminator_loss-mean-0.9",
    "discriminator_loss-none-0.9",
    "relativistic_loss-average",
    "reconstruction_loss-mean",
    "reconstruction_loss-none",
    "feature_matching_loss",
    "bias_leaky_relu",
    "bias_act-tanh",
    "bias_act-swish",
    "batch_norm_leaky_relu",
    "batch_norm_leaky_relu-evaluation",
    "linear_leaky_relu",
    "snake",
    "anti_aliased_snake",
    "upfirdn2d",
    "spectral_norm",
    "span_activations",
    "mlp-2",
    "mlp-5",
)
# The interpreter has these, and the other kernels that a Function calls. Labels, reductions, losses, shapes
# and depths are in test_losses.py and test_layers.py, interpreted too; autograd does the same with each.
INTERPRETED = {*FUNCTIONS, "bias_leaky_relu-rows", "bias_leaky_relu-no_bias", "mlp-3-no_bias"} - {"mlp-5"}


def parametrized(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("function", "shapes"),
        [
            pytest.param(*OPERATIONS[name], id=name, marks=[] if name in INTERPRETED else [pytest.mark.long])
            for name in names
        ],
    )


operations = parametrized(OPERATIONS)
functions = parametrized(FUNCTIONS)


def samples(shapes: list[tuple[int, ...]], device: str) -> list[Tensor]:
    return [torch.randn(shape, dtype=torch.float64, device=device, requires_grad=True) for shape in shapes]


@operations
def test_first_and_second_derivative(
    backend: Backend, function: Callable[..., object], shapes: list[tuple[int, ...]]
) -> None:
    assert gradcheck(function, samples(shapes, backend.device))
    assert gradgradcheck(function, samples(shapes, backend.device))


@functions
def test_second_derivative_of_all_gradients_at_once(
    backend: Backend, function: Callable[..., object], shapes: list[tuple[int, ...]]
) -> None:
    """gradgradcheck asks for one at a time, and a penalty on several has terms of each."""

    def penalty(*inputs: Tensor) -> Tensor:
        total = torch.stack([y.square().sum() for y in as_tuple(function(*inputs))]).sum()
        grads = torch.autograd.grad(total, inputs, create_graph=True)
        return torch.stack([g.square().sum() for g in grads]).sum()

    assert gradcheck(penalty, samples(shapes, backend.device))


@functions
def test_frozen_inputs(
    backend: Backend, function: Callable[..., object], shapes: list[tuple[int, ...]]
) -> None:
    """Every choice of inputs that need gradients gives those gradients and no others."""
    tensors = [t.detach() for t in samples(shapes, backend.device)]
    outputs = as_tuple(function(*[t.requires_grad_() for t in tensors]))
    everything = torch.autograd.grad([y.square().sum() for y in outputs], tensors)
    for *chosen, create_graph in product((False, True), repeat=min(len(tensors), 5) + 1):
        chosen = (*chosen, *[True] * (len(tensors) - len(chosen)))
        inputs = [t.detach().requires_grad_(needed) for t, needed in zip(tensors, chosen, strict=True)]
        if not any(chosen):
            assert not any(y.requires_grad for y in as_tuple(function(*inputs)))
            continue
        loss = torch.stack([y.square().sum() for y in as_tuple(function(*inputs))]).sum()
        loss.backward(create_graph=create_graph)
        for t, needed, expected in zip(inputs, chosen, everything, strict=True):
            if not needed:
                assert t.grad is None
            else:
                torch.testing.assert_close(t.grad, expected)


@functions
def test_backward_twice(
    backend: Backend, function: Callable[..., object], shapes: list[tuple[int, ...]]
) -> None:
    """The same gradient twice; inputs, outputs and incoming gradients stay as they were."""
    inputs = samples(shapes, backend.device)
    outputs = as_tuple(function(*inputs))
    incoming = [torch.randn_like(y) for y in outputs]
    watched = [*inputs, *outputs, *incoming]
    before = [t.detach().clone() for t in watched]
    versions = [t._version for t in watched]
    first = torch.autograd.grad(outputs, inputs, incoming, retain_graph=True)
    kept = [g.clone() for g in first]
    second = torch.autograd.grad(outputs, inputs, incoming)
    for kept_grad, a, b in zip(kept, first, second, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, kept_grad)
    assert all(torch.equal(now, then) for now, then in zip(watched, before, strict=True))
    assert [t._version for t in watched] == versions


@functions
def test_gradients_share_no_memory(
    backend: Backend, function: Callable[..., object], shapes: list[tuple[int, ...]]
) -> None:
    inputs = samples(shapes, backend.device)
    outputs = as_tuple(function(*inputs))
    incoming = [torch.ones_like(y) for y in outputs]
    owners = [t.untyped_storage().data_ptr() for t in torch.autograd.grad(outputs, inputs, incoming)]
    owners += [t.untyped_storage().data_ptr() for t in (*inputs, *incoming, *outputs)]
    assert len(set(owners)) == len(owners)


@functions
def test_inputs_changed_in_place_after_forward(
    backend: Backend, function: Callable[..., object], shapes: list[tuple[int, ...]]
) -> None:
    """Either the gradient does not need the old value, or autograd says so."""
    for which in range(len(shapes)):
        inputs = samples(shapes, backend.device)
        outputs = as_tuple(function(*inputs))
        expected = torch.autograd.grad([y.sum() for y in outputs], inputs, retain_graph=True)
        with torch.no_grad():
            inputs[which].mul_(-3)
        try:
            grads = torch.autograd.grad([y.sum() for y in outputs], inputs)
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error)  # noqa: PT017
            continue
        for grad, want in zip(grads, expected, strict=True):
            torch.testing.assert_close(grad, want)


@pytest.mark.parametrize("wanted", ["input", "weight"])
def test_third_order_is_right_or_refused(backend: Backend, wanted: str) -> None:
    """None, or a part of a derivative, would train the wrong network."""

    def third(layer: Callable[..., Tensor]) -> Tensor:
        output = layer(input, weight).square().sum()
        (first,) = torch.autograd.grad(output, input, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), input, create_graph=True)
        return torch.autograd.grad(second.square().sum(), {"input": input, "weight": weight}[wanted])[0]

    input, weight = samples([(3, 4), (4, 4)], backend.device)
    expected = third(by_reference(fastgan.linear_leaky_relu))
    try:
        ours = third(fastgan.linear_leaky_relu)
    except RuntimeError:
        return
    torch.testing.assert_close(ours, expected)
