"""The same input gives the same bits, whoever computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from backends import Backend
from conftest import running_on
from oracle import OTHER_LOSSES, spectral_norm
from tables import threaded
from torch import Tensor

import fastgan
from fastgan.nn import kaiser_sinc_filter
from fastgan.ops import (
    discriminator_loss_value_and_grad,
    reconstruction_loss_value_and_grad,
    relativistic_loss_value_and_grad,
)

SIZE = 3 * 16384 + 1  # four chunks: enough for threads to share


def losses(x: Tensor) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    loss, stats = fastgan.discriminator_loss(leaf, leaf[::2], return_stats=True)
    terms = fastgan.generator_loss(leaf, reduction="none")
    grads = torch.autograd.grad([loss, terms.sum()], leaf)
    return [loss, stats, terms, *grads, *discriminator_loss_value_and_grad(x, x[::3])]


def other_losses(x: Tensor) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    average = fastgan.relativistic_loss(leaf, leaf[::3] * 2, average=True)
    results = [average, *torch.autograd.grad(average, leaf)]
    results += relativistic_loss_value_and_grad(x, x[::3] * 2, average=True)
    for loss in OTHER_LOSSES:
        results += discriminator_loss_value_and_grad(x, x[::3], loss=loss)
    return results


def reconstructions(x: Tensor) -> list[Tensor]:
    leaf, other = x.detach().requires_grad_(), x.detach().flip(0).requires_grad_()
    loss = fastgan.reconstruction_loss(leaf, other)
    terms = fastgan.reconstruction_loss(leaf, other, reduction="none")
    grads = torch.autograd.grad([loss, terms.sum()], [leaf, other])
    value, *at_once = reconstruction_loss_value_and_grad(x, x.flip(0))
    return [loss, terms, *grads, value, *at_once]


def rows(x: Tensor) -> list[Tensor]:
    return layer(x[:-1].view(-1, 48), 1)


def planes(x: Tensor) -> list[Tensor]:
    return layer(x[:-1].view(4, 3, 64, 64), 1)


def spectral_norms(x: Tensor) -> list[Tensor]:
    weights = x[:12288].view(96, 128), x[:48600].view(200, 243).clone()
    leaves = tuple(w.detach().requires_grad_() for w in weights)
    u, v = (tuple(x.new_ones(w.shape[dim]) for w in weights) for dim in (0, 1))
    scaled, new_u, new_v = spectral_norm(leaves, u, v, 1e-12, 1, False)
    return [*scaled, *new_u, *new_v, *torch.autograd.grad([w.square().sum() for w in scaled], leaves)]


def layer(x: Tensor, dim: int) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    bias = torch.linspace(-1, 1, x.shape[dim], dtype=x.dtype, device=x.device).requires_grad_()
    output = fastgan.bias_leaky_relu(leaf, bias, dim=dim)
    return [output, *torch.autograd.grad(output.square().sum(), [leaf, bias])]


def norm_of_rows(x: Tensor) -> list[Tensor]:
    return norm(x[:-1].view(-1, 48))


def norm_of_planes(x: Tensor) -> list[Tensor]:
    return norm(x[:-1].view(4, 3, 64, 64))


def norm(x: Tensor) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    weight, bias, mean, var = (
        torch.linspace(0.5, 1, x.shape[1], dtype=x.dtype, device=x.device) for _ in range(4)
    )
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    output = fastgan.batch_norm_leaky_relu(leaf, mean, var, *parameters, training=True)
    return [output, mean, var, *torch.autograd.grad(output.square().sum(), [leaf, *parameters])]


def snakes(x: Tensor) -> list[Tensor]:
    return snake(x[:4400].view(2, 2, -1))


def snakes_with_channels_last(x: Tensor) -> list[Tensor]:
    return snake(x[:4400].view(2, -1, 2).transpose(1, 2))


def snake(x: Tensor) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    numbers = [torch.linspace(0.5, 1.5, 2, dtype=x.dtype, device=x.device).requires_grad_() for _ in "ab"]
    filters = [kaiser_sinc_filter(n).to(x) for n in (12, 9)]
    outputs = [fastgan.snake(leaf, *numbers), fastgan.anti_aliased_snake(leaf, *numbers, *filters)]
    loss = torch.stack([y.square().sum() for y in outputs]).sum()
    return [*outputs, *torch.autograd.grad(loss, [leaf, *numbers])]


operations = pytest.mark.parametrize(
    "operation",
    [
        losses,
        pytest.param(other_losses, marks=pytest.mark.long),
        reconstructions,
        rows,
        planes,
        spectral_norms,
        norm_of_rows,
        norm_of_planes,
        snakes,
        snakes_with_channels_last,
    ],
)
# The order of sums is that of indices, whatever the dtype: one of four bytes and one of two.
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


def assert_same_bits(first: list[Tensor], second: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@operations
@dtypes
def test_again_and_at_another_address(
    variant: Backend, operation: Callable[[Tensor], list[Tensor]], dtype: torch.dtype
) -> None:
    x = torch.randn(SIZE, device=variant.device).to(dtype)
    found = operation(x)
    assert_same_bits(found, operation(x))
    if variant.name != "reference":  # PyTorch's sums depend on alignment
        assert_same_bits(found, operation(torch.cat([x.new_zeros(1), x])[1:]))


@operations
@dtypes
@threaded
def test_any_number_of_threads(
    threaded: Backend, operation: Callable[[Tensor], list[Tensor]], dtype: torch.dtype
) -> None:
    """PyTorch's own sums depend on it, and GPU kernels know of none."""
    with running_on(threaded):
        x = torch.randn(SIZE).to(dtype)
        alone = operation(x)
        for threads in (2, 3):
            torch.set_num_threads(threads)
            assert_same_bits(alone, operation(x))


@operations
def test_from_two_python_threads(backend: Backend, operation: Callable[[Tensor], list[Tensor]]) -> None:
    """Large calls run without the interpreter's lock."""
    x = torch.randn(SIZE, device=backend.device)

    def run(_: int) -> list[Tensor]:
        with fastgan.use_backend(backend.name):  # a context variable, which new threads do not inherit
            return operation(x)

    alone = operation(x)
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(run, range(6)):
            assert_same_bits(alone, result)
