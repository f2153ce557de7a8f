"""Passes through a discriminator: as few as its layers allow, and for one player alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fastgan.fusion import has_hooks
from fastgan.models import MLPDiscriminator
from fastgan.nn import MLP, LinearLeakyReLU

_SAMPLEWISE = frozenset(
    {
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ELU,
        nn.Flatten,
        nn.GELU,
        nn.Identity,
        nn.LeakyReLU,
        nn.Linear,
        nn.ModuleList,
        nn.PReLU,
        nn.ReLU,
        nn.SELU,
        nn.Sequential,
        nn.SiLU,
        nn.Sigmoid,
        nn.Softplus,
        nn.Tanh,
        LinearLeakyReLU,
        MLP,
        MLPDiscriminator,
    }
)


def one_logit_mlp(discriminator: nn.Module) -> MLP | None:
    """The MLP that the discriminator is nothing but, if it has one logit a sample."""
    if not _treats_samples_alone(discriminator):
        return None
    mlp = discriminator.mlp if type(discriminator) is MLPDiscriminator else discriminator
    return mlp if isinstance(mlp, MLP) and mlp.layers[-1].out_features == 1 else None


def logits_of(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Real and generated samples through D, in one pass where that changes nothing."""
    if not _treats_samples_alone(discriminator):
        return discriminator(real), discriminator(fake)
    logits: Tensor = discriminator(torch.cat([real, fake]))
    real_logits, fake_logits = logits.split([len(real), len(fake)])
    return real_logits, fake_logits


def _treats_samples_alone(module: nn.Module) -> bool:
    """Whether every layer is known to; batch statistics, dropout and layers of others are not."""
    return all(
        type(layer) in _SAMPLEWISE
        and not has_hooks(layer)
        and (not isinstance(layer, nn.Flatten) or layer.start_dim > 0)
        for layer in module.modules()
    )


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Record no gradient for the module's parameters in what runs inside."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
