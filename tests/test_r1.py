"""R1, the gradient penalty on real samples: the derivative of a derivative through a whole discriminator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from backends import Backend
from oracle import assert_as_exact, by_reference, off_the_kink
from torch import Tensor, nn

import fastgan
from fastgan import kernels
from fastgan.training.mlp_pass import MLPPass
from fastgan.training.objectives.passes import through

FEATURES = (12, 16, 24, 16, 8, 1)


def plain_discriminator() -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(FEATURES[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(*FEATURES[-2:]))


def sequential(plain: nn.Sequential) -> nn.Module:
    layers = [fastgan.nn.LinearLeakyReLU(m.in_features, m.out_features) for m in plain[:-1:2]]
    return with_parameters_of(plain, nn.Sequential(*layers, nn.Linear(*FEATURES[-2:])))


def mlp(plain: nn.Sequential) -> nn.Module:
    return with_parameters_of(plain, fastgan.nn.MLP(FEATURES))


def with_parameters_of(plain: nn.Module, module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for ours, theirs in zip(module.parameters(), plain.parameters(), strict=True):
            ours.copy_(theirs)
    return module


def discriminator_step(module: nn.Module, real: Tensor, fake: Tensor) -> None:
    real.requires_grad_()
    real_logits = module(real)
    (grad,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    penalty = grad.square().sum(1).mean()
    (fastgan.discriminator_loss(real_logits, module(fake)) + 5 * penalty).backward()


def penalty_alone(module: nn.Module, real: Tensor, _: Tensor) -> None:
    real.requires_grad_()
    (grad,) = torch.autograd.grad(module(real).sum(), real, create_graph=True)
    grad.square().sum(1).mean().backward()


def penalty_on_the_loss(module: nn.Module, real: Tensor, _: Tensor) -> None:
    """The second derivative of the loss itself too."""
    real.requires_grad_()
    loss = fastgan.generator_loss(module(real))
    (grad,) = torch.autograd.grad(loss, real, create_graph=True)
    grad.square().sum(1).mean().backward()


@pytest.mark.parametrize("build", [sequential, mlp, lambda plain: fastgan.fuse(copy.deepcopy(plain))])
@pytest.mark.parametrize(
    ("step", "dtype"),
    [
        (discriminator_step, torch.float64),
        (penalty_alone, torch.float64),
        (penalty_on_the_loss, torch.float64),
        (discriminator_step, torch.float32),
    ],
)
def test_r1(
    backend: Backend,
    build: Callable[[nn.Sequential], nn.Module],
    step: Callable[[nn.Module, Tensor, Tensor], None],
    dtype: torch.dtype,
) -> None:
    plain = plain_discriminator()
    fused = build(plain).to(backend.device, dtype)
    plain.to(backend.device, dtype)
    real, fake = (torch.randn(32, FEATURES[0], device=backend.device, dtype=dtype) for _ in range(2))
    step(plain, real.clone(), fake)
    step(fused, real.clone(), fake)
    for (name, theirs), ours in zip(plain.named_parameters(), fused.parameters(), strict=True):
        if ours.grad is None:  # a bias that the penalty does not reach; PyTorch may say zero
            assert name.endswith("bias"), name
            assert theirs.grad is None or not theirs.grad.any(), name
        elif theirs.grad is None:
            assert name.endswith("bias"), name
            assert not ours.grad.any(), name
        else:
            torch.testing.assert_close(
                ours.grad, theirs.grad, rtol=1e-12 if dtype.itemsize == 8 else 1e-4, atol=1e-7
            )


@pytest.mark.parametrize("features", [(6, 1), (6, 33, 1), (6, 70, 5, 17, 1)], ids=str)
def test_the_trainers_penalty_on_every_backend(variant: Backend, features: tuple[int, ...]) -> None:
    """Without autograd: the slope, and what a gradient that arrives at it gives the weights."""
    samples, *parameters = off_the_kink((270,), features, torch.float32, variant.device)
    depth = len(features) - 1
    arriving = torch.randn(270, features[0], device=variant.device)

    def by_autograd(dtype: torch.dtype) -> list[Tensor]:
        leaves = [t.to(dtype).requires_grad_() for t in (samples, *parameters)]
        logits = by_reference(fastgan.mlp)(leaves[0], leaves[1 : 1 + depth], leaves[1 + depth :])
        (slope,) = torch.autograd.grad(logits.sum(), leaves[0], create_graph=True)
        return [slope, *torch.autograd.grad(slope, leaves[1 : 1 + depth], arriving.to(dtype))]

    discriminator = fastgan.nn.MLP(features).to(variant.device)
    layers = list(discriminator.layers)
    with torch.no_grad():
        for layer, weight, bias in zip(layers, parameters[:depth], parameters[depth:], strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    seen = through(discriminator, samples, of_slope=True)
    assert isinstance(seen, MLPPass)
    slope = seen.slope()
    seen.reach_parameters_by_slope(arriving)
    assert all(layer.bias.grad is None for layer in layers)
    found = [slope, *(layer.weight.grad for layer in layers)]
    for each in zip(found, by_autograd(torch.float32), by_autograd(torch.float64), strict=True):
        assert_as_exact(*each)


@pytest.mark.parametrize("build", [sequential, mlp])
def test_a_slope_costs_nothing_for_the_weights(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[nn.Sequential], nn.Module]
) -> None:
    """Though they require gradients: ours look what a backward pass was asked for, as PyTorch's do."""
    calls: list[tuple[int, ...]] = []
    backend = kernels.choose(torch.ones(1))
    wgrad = backend.wgrad
    monkeypatch.setattr(
        backend, "wgrad", lambda dz, x, into=None: calls.append(dz.shape) or wgrad(dz, x, into)
    )
    module, x = build(plain_discriminator()), torch.randn(8, FEATURES[0], requires_grad=True)
    (slope,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    assert not calls
    slope.square().sum().backward()
    assert len(calls) >= len(FEATURES) - 2
