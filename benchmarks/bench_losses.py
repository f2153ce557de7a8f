"""The losses, forward + backward, as people write them in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.ops import (
    discriminator_head_loss_reference,
    discriminator_loss_reference,
    generator_loss_reference,
    reconstruction_loss_reference,
)

SIZES = [128, 4096, 2**20, 2**24]


def discriminator_bce(real: Tensor, fake: Tensor) -> Tensor:
    real_loss = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    fake_loss = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    return real_loss + fake_loss


def generator_bce(fake: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def _logits(size: int) -> Tensor:
    return torch.randn(size, 1).mul_(2).requires_grad_()


@pytest.mark.parametrize("size", SIZES)
def test_discriminator_loss(compete: Callable[..., None], size: int) -> None:
    forwards = {
        "reference": discriminator_loss_reference,
        "eager": discriminator_bce,
        "torch.compile": torch.compile(discriminator_bce, dynamic=False),
        "fastgan": fastgan.discriminator_loss,
    }
    compete(forwards, [_logits(size), _logits(size)])


@pytest.mark.parametrize("size", SIZES)
def test_generator_loss(compete: Callable[..., None], size: int) -> None:
    forwards = {
        "reference": generator_loss_reference,
        "eager": generator_bce,
        "torch.compile": torch.compile(generator_bce, dynamic=False),
        "fastgan": fastgan.generator_loss,
    }
    compete(forwards, [_logits(size)])


@pytest.mark.parametrize("size", SIZES)
def test_reconstruction_loss(compete: Callable[..., None], size: int) -> None:
    forwards = {
        "reference": reconstruction_loss_reference,
        "eager": F.l1_loss,
        "torch.compile": torch.compile(F.l1_loss, dynamic=False),
        "fastgan": fastgan.reconstruction_loss,
    }
    compete(forwards, [_logits(size), _logits(size)])


def discriminator_head_bce(real: Tensor, fake: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return discriminator_bce(F.linear(real, weight, bias), F.linear(fake, weight, bias))


@pytest.mark.parametrize(("rows", "width"), [(128, 256), (1024, 1024), (16384, 1024)])
def test_discriminator_head(compete: Callable[..., None], rows: int, width: int) -> None:
    forwards = {
        "reference": discriminator_head_loss_reference,
        "eager": discriminator_head_bce,
        "torch.compile": torch.compile(discriminator_head_bce, dynamic=False),
        "fastgan": fastgan.discriminator_head_loss,
    }
    shapes = (rows, width), (rows, width), (1, width), (1,)
    compete(forwards, [torch.randn(shape).div_(shape[-1] ** 0.5).requires_grad_() for shape in shapes])
