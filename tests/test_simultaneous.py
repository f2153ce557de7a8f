"""Simultaneous updates: one pass through D, and the gradients of two ordinary backward passes."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from backends import Backend
from oracle import assert_as_exact, by_reference, off_the_kink
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

import fastgan
from fastgan.models import MLPDiscriminator
from fastgan.nn import MLP
from fastgan.training import ConfigError, TrainConfig
from fastgan.training.mlp_pass import MLPPass
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.objectives.passes import through

Gradients = list[Tensor]


def two_passes(discriminator: nn.Module, real: Tensor, latent: Tensor, saturating: bool) -> Gradients:
    """D's gradients and what reaches the latent, by two ordinary backward passes."""
    fake = latent.tanh()
    of_real, of_fake = discriminator(real), discriminator(fake)
    ones, zeros = torch.ones_like, torch.zeros_like
    loss = bce(of_real, ones(of_real)) + bce(of_fake, zeros(of_fake))
    of_d = torch.autograd.grad(loss, list(discriminator.parameters()), retain_graph=True)
    loss = -bce(of_fake, zeros(of_fake)) if saturating else bce(of_fake, ones(of_fake))
    return [*of_d, *torch.autograd.grad(loss, latent)]


def one_pass(discriminator: nn.Module, real: Tensor, latent: Tensor, saturating: bool) -> Gradients:
    latent.grad = None
    fake = latent.tanh()
    grad, _ = LossObjective(saturating=saturating).both_turns(discriminator, real, fake)
    fake.backward(grad)
    return [t.grad for t in (*discriminator.parameters(), latent) if t.grad is not None]


DISCRIMINATORS = {
    "MLP": lambda: MLP([6, 9, 7, 1]),
    "MLPDiscriminator": lambda: MLPDiscriminator((6,), [9, 7]),
    "linear": lambda: MLP([6, 1]),
    "several logits": lambda: MLP([6, 9, 3]),
    "another network": lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 1)),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Linear(9, 1)),
}


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("make", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
def test_gradients_are_those_of_two_passes(make: object, saturating: bool) -> None:
    torch.manual_seed(0)
    discriminator = make().double()  # type: ignore[operator]
    real = torch.randn(5, 6, dtype=torch.float64)
    latent = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    expected = two_passes(copy.deepcopy(discriminator), real, latent, saturating)
    found = one_pass(discriminator, real, latent, saturating)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("features", [(6, 1), (6, 33, 1), (6, 70, 1, 17, 1)], ids=str)
def test_one_way_back_on_every_backend(variant: Backend, features: tuple[int, ...]) -> None:
    """In float32, where a backend may take the whole chain at once; wider and narrower than its panels."""
    samples, *parameters = off_the_kink((270,), features, torch.float32, variant.device)
    of_d, of_g = (torch.rand(rows, 1, device=variant.device) + 0.5 for rows in (270, 67))

    def by_autograd(dtype: torch.dtype) -> Gradients:
        leaves = [t.to(dtype).requires_grad_() for t in (samples, *parameters)]
        depth = len(features) - 1
        logits = by_reference(fastgan.mlp)(leaves[0], leaves[1 : 1 + depth], leaves[1 + depth :])
        (at_samples,) = torch.autograd.grad(logits[203:], leaves[0], of_g.to(dtype), retain_graph=True)
        return [*torch.autograd.grad(logits, leaves[1:], of_d.to(dtype)), at_samples[203:]]

    discriminator = MLP(features).to(variant.device)
    layers = list(discriminator.layers)
    own = [layer.weight for layer in layers] + [layer.bias for layer in layers]
    with torch.no_grad():
        for p, value in zip(own, parameters, strict=True):
            p.copy_(value)
    seen = through(discriminator, *samples.split([203, 67]), of_parameters=True, of_samples=True)
    assert isinstance(seen, MLPPass)
    reaching = seen.reach_both(of_d.split([203, 67]), of_g)
    found = [*(p.grad for p in own), reaching]
    for each in zip(found, by_autograd(torch.float32), by_autograd(torch.float64), strict=True):
        assert_as_exact(*each)


@pytest.mark.parametrize("logit", [-1e4, -200.0, -88.0, 88.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_either_player_may_have_won(dtype: torch.dtype, logit: float) -> None:
    """By the ratio of the players' derivatives the gradient of G would be nan from -104 on."""
    torch.manual_seed(0)
    discriminator = MLP([6, 9, 1]).to(dtype)
    with torch.no_grad():
        discriminator.layers[-1].bias.fill_(logit)
    real, latent = torch.randn(5, 6, dtype=dtype), torch.randn(4, 6, dtype=dtype, requires_grad=True)
    wide = latent.detach().double().requires_grad_()
    expected = two_passes(copy.deepcopy(discriminator).double(), real.double(), wide, False)
    found = one_pass(discriminator, real, latent, False)
    for ours, theirs in zip(found, expected, strict=True):
        tolerance = 1e-12 if dtype is torch.float64 else 2e-6
        assert (ours.double() - theirs).norm() <= tolerance * theirs.norm() + 1e-37
    assert latent.grad is not None
    assert (latent.grad.norm() > 1e-3) == (logit < 0)


def test_both_turns_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    make = MLPPass.of.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        MLPPass,
        "of",
        classmethod(
            lambda cls, batches, *rest: calls.append(sum(map(len, batches))) or make(cls, batches, *rest)
        ),
    )
    LossObjective().both_turns(MLPDiscriminator((6,), [9]), torch.randn(5, 6), torch.randn(4, 6))
    assert calls == [9]


def test_frozen_layers_get_no_gradient() -> None:
    discriminator = MLP([6, 9, 1])
    discriminator.layers[0].requires_grad_(False)
    LossObjective().both_turns(discriminator, torch.randn(5, 6), torch.randn(4, 6))
    assert [p.grad is None for p in discriminator.parameters()] == [True, True, False, False]


def test_autocast_gives_gradients_of_the_parameters_dtype() -> None:
    torch.manual_seed(0)
    discriminator = MLP([32, 64, 64, 1])
    real, latent = torch.randn(50, 32), torch.randn(40, 32, requires_grad=True)
    expected = two_passes(copy.deepcopy(discriminator), real, latent, False)
    with torch.autocast("cpu", torch.bfloat16):
        ordinary = two_passes(copy.deepcopy(discriminator), real, latent, False)
        found = one_pass(discriminator, real, latent, False)
    eps = torch.finfo(torch.bfloat16).eps
    for ours, theirs, exact in zip(found, ordinary, expected, strict=True):
        assert ours.dtype is torch.float32
        assert (ours - exact).norm() <= 2 * (theirs - exact).norm() + 4 * eps * exact.norm()


def test_several_turns_of_d_are_refused() -> None:
    with pytest.raises(ConfigError, match="discriminator_steps is 2, expected 1 in simultaneous"):
        replace(TrainConfig(discriminator_steps=2), update="simultaneous")
