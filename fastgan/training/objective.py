"""The two players' turns: one forward pass, the gradient of the loss, one backward pass.

The value-and-gradient operations compute a loss and its gradient with respect to the logits at
once, so autograd starts at the logits and no loss enters its graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fastgan.fusion import has_hooks
from fastgan.models import MLPDiscriminator
from fastgan.nn import MLP, LinearLeakyReLU
from fastgan.ops import discriminator_loss_value_and_grad, generator_loss_value_and_grad

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


def discriminator_turn(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Add the discriminator loss's gradient to D's parameters.

    Args:
        discriminator: D, from samples to logits of any shape.
        real: ``[N, ...]`` real samples.
        fake: ``[M, ...]`` generated samples, without a graph behind them.

    Returns:
        The loss, and the statistics float32 ``[3]``: mean D(x), mean D(G(z)), share of
        saturated logits.
    """
    real_logits, fake_logits = _logits(discriminator, real, fake)
    loss, grad_real, grad_fake, stats = discriminator_loss_value_and_grad(
        real_logits.detach(), fake_logits.detach()
    )
    torch.autograd.backward([real_logits, fake_logits], [grad_real, grad_fake])
    return loss, stats


def generator_turn(discriminator: nn.Module, fake: Tensor, *, saturating: bool) -> Tensor:
    """Add the generator loss's gradient to the parameters of the generator behind ``fake``.

    Args:
        discriminator: D; its parameters get no gradient.
        fake: ``[N, ...]`` generated samples, with their graph.
        saturating: whether the loss is log(1 - D(G(z))) rather than -log D(G(z)).

    Returns:
        The loss.
    """
    with _frozen(discriminator):
        logits: Tensor = discriminator(fake)
    loss, grad, _ = generator_loss_value_and_grad(logits.detach(), saturating=saturating)
    torch.autograd.backward(logits, grad)
    return loss


def _logits(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
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
def _frozen(module: nn.Module) -> Iterator[None]:
    """Record no gradient for the module's parameters in what runs inside."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
