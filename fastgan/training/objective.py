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
from fastgan.ops import (
    MLPForTwo,
    discriminator_loss_value_and_grad,
    generator_loss_value_and_grad,
)

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


def both_turns(
    discriminator: nn.Module, real: Tensor, fake: Tensor, *, saturating: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Add both players' gradients, at the same weights, in one pass through D.

    Args:
        discriminator: D, from samples to logits of any shape.
        real: ``[N, ...]`` real samples.
        fake: ``[M, ...]`` generated samples, with their graph.
        saturating: as for :func:`generator_turn`.

    Returns:
        D's loss, G's loss, and the statistics of :func:`discriminator_turn`.
    """
    shown = fake.detach()
    mlp = _one_logit_mlp(discriminator)
    chain = (
        None
        if mlp is None
        else MLPForTwo.of(torch.cat([real, shown]).flatten(1), mlp.layers, mlp.negative_slope)
    )
    if chain is None:
        real_logits, fake_logits = _logits(discriminator, real, shown.requires_grad_())
    else:
        real_logits, fake_logits = chain.logits.split([len(real), len(fake)])
    loss, *grads, stats = discriminator_loss_value_and_grad(real_logits.detach(), fake_logits.detach())
    generator_loss, grad, _ = generator_loss_value_and_grad(fake_logits.detach(), saturating=saturating)
    if chain is None:
        parameters = [p for p in discriminator.parameters() if p.requires_grad]
        (reaching_fake,) = torch.autograd.grad(fake_logits, shown, grad, retain_graph=True)
        torch.autograd.backward([real_logits, fake_logits], grads, inputs=parameters)
    else:
        reaching_fake = chain.backward(torch.cat(grads), grad).view_as(fake)
    torch.autograd.backward(fake, reaching_fake)
    return loss, generator_loss, stats


def r1_turn(discriminator: nn.Module, real: Tensor, weight: float) -> None:
    """Add the gradient of ``weight / 2`` E |grad_x D(x)|^2 to D's parameters.

    Args:
        discriminator: D, from samples to logits.
        real: ``[N, ...]`` real samples.
        weight: gamma of Mescheder et al., 2018, equation 9.
    """
    real = real.detach().requires_grad_()
    logits = discriminator(real)
    (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    (weight / 2 * slope.square().sum() / len(real)).backward()


def _one_logit_mlp(discriminator: nn.Module) -> MLP | None:
    """The MLP that the discriminator is nothing but, if it has one logit a sample."""
    if not _treats_samples_alone(discriminator):
        return None
    mlp = discriminator.mlp if type(discriminator) is MLPDiscriminator else discriminator
    return mlp if isinstance(mlp, MLP) and mlp.layers[-1].out_features == 1 else None


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
