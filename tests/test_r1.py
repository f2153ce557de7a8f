"""R1, the gradient penalty on real samples: the derivative of a derivative through a whole discriminator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from backends import Backend
from torch import Tensor, nn

import fastgan

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
@pytest.mark.parametrize("step", [discriminator_step, penalty_alone, penalty_on_the_loss])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
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
