"""Passes through a discriminator, as few as its layers allow, with only the gradients that a turn needs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from fastgan.chains import Chain, chain_of
from fastgan.freezing import frozen
from fastgan.hooks import has_hooks
from fastgan.kernels import choose
from fastgan.kernels.activations import NONE
from fastgan.kernels.layout import joined
from fastgan.kernels.logit_losses import LossSpec
from fastgan.models import MLPAutoencoder, MLPDiscriminator
from fastgan.nn import (
    MLP,
    AppliedLeakyReLU,
    AppliedReLU,
    Conv1dLeakyReLU,
    Conv2dLeakyReLU,
    Conv3dLeakyReLU,
    LinearLeakyReLU,
)
from fastgan.training.dropout_pass import dropout_pass
from fastgan.training.head_pass import HeadPass
from fastgan.training.mlp_pass import MLPPass

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
        AppliedLeakyReLU,
        AppliedReLU,
        Conv1dLeakyReLU,
        Conv2dLeakyReLU,
        Conv3dLeakyReLU,
        LinearLeakyReLU,
        MLP,
        MLPAutoencoder,
        MLPDiscriminator,
    }
)


class Pass(Protocol):
    """A forward pass of batches through D, and its backward passes.

    Attributes:
        outputs: D's outputs for each batch, without a graph.
    """

    outputs: list[Tensor]

    def reach_parameters(self, grads: Sequence[Tensor]) -> None:
        """Add to the gradients of D's parameters; ``grads`` are the gradients of the outputs."""

    def reach_samples(self, grad: Tensor) -> Tensor:
        """The gradient of the only batch's samples; ``grad`` is the gradient of its outputs."""

    def reach_both(self, grads: Sequence[Tensor], grad: Tensor) -> Tensor:
        """``reach_parameters(grads)`` for D, and ``reach_samples(grad)`` of the last batch for G."""

    def slope(self) -> Tensor:
        """The gradient of the sum of D's outputs with respect to each sample of the only batch."""

    def reach_parameters_by_slope(self, grad: Tensor) -> None:
        """Add to the gradients of D's parameters; ``grad`` is the gradient of the result of :meth:`slope`."""


class AutogradPass:
    """A pass through any discriminator. Batches are joined if D processes samples independently.

    Args:
        discriminator: D, from samples to outputs of any shape.
        batches: ``[N, ...]`` each.
        of_parameters: whether gradients of D's parameters will be needed.
        of_samples: whether the gradient of the last batch will be needed.
    """

    def __init__(
        self, discriminator: nn.Module, batches: Sequence[Tensor], *, of_parameters: bool, of_samples: bool
    ) -> None:
        self._shown = batches[-1].detach().requires_grad_(of_samples)
        shown = [*batches[:-1], self._shown]
        self._parameters = [p for p in discriminator.parameters() if p.requires_grad]
        with contextlib.nullcontext() if of_parameters else frozen(discriminator):
            if len(shown) > 1 and is_plain(discriminator):
                # joined() may return a view, which would not be in the last batch's graph
                outputs: Tensor = discriminator(torch.cat(shown) if of_samples else joined(shown))
                self._outputs = list(outputs.split([len(batch) for batch in shown]))
            else:
                self._outputs = [discriminator(batch) for batch in shown]
        self.outputs = [t.detach() for t in self._outputs]

    def reach_parameters(self, grads: Sequence[Tensor]) -> None:
        torch.autograd.backward(self._outputs, list(grads))

    def reach_samples(self, grad: Tensor) -> Tensor:
        return torch.autograd.grad(self._outputs[-1], self._shown, grad)[0]

    def reach_both(self, grads: Sequence[Tensor], grad: Tensor) -> Tensor:
        (reaching,) = torch.autograd.grad(self._outputs[-1], self._shown, grad, retain_graph=True)
        torch.autograd.backward(self._outputs, list(grads), inputs=self._parameters)
        return reaching

    def slope(self) -> Tensor:
        (self._slope,) = torch.autograd.grad(self._outputs[-1].sum(), self._shown, create_graph=True)
        return self._slope.detach()

    def reach_parameters_by_slope(self, grad: Tensor) -> None:
        torch.autograd.backward(self._slope, grad)


def through(
    discriminator: nn.Module,
    *batches: Tensor,
    of_parameters: bool = False,
    of_samples: bool = False,
    of_slope: bool = False,
) -> Pass:
    """A pass of batches ``[N, ...]`` through D, without autograd if D is a chain of layers with one logit.

    Nor does CTGAN's discriminator, a chain with dropout, take autograd.

    Args:
        discriminator: D, from samples to outputs of any shape.
        batches: the batches.
        of_parameters: as for :class:`AutogradPass`.
        of_samples: likewise.
        of_slope: whether the slope will be needed, and with it gradients of parameters and samples. A chain
            with a curved activation takes a pass with autograd.
    """
    chain = _chain_to_logits(discriminator, batches)
    if chain is not None and (chain.is_piecewise_linear or not of_slope):
        return MLPPass.of([batch.detach().flatten(1) for batch in batches], chain)
    with_dropout = dropout_pass(discriminator, batches)
    if with_dropout is not None:
        return with_dropout
    return AutogradPass(
        discriminator, batches, of_parameters=of_parameters or of_slope, of_samples=of_samples or of_slope
    )


def through_head(discriminator: nn.Module, *batches: Tensor, spec: LossSpec) -> HeadPass | None:
    """A pass of batches through D up to the loss, with the last layer and the loss in one kernel.

    None if D is not a chain of layers with one logit, or if the backend has a faster call for all layers.
    """
    if choose(batches[0]).chains_layers:
        return None
    chain = _chain_to_logits(discriminator, batches)
    if chain is None or len(chain.layers) < 2 or chain.last_activation != NONE:
        return None
    return HeadPass.of([batch.detach().flatten(1) for batch in batches], chain, spec)


def _chain_to_logits(discriminator: nn.Module, batches: Sequence[Tensor]) -> Chain | None:
    """D as a chain from these samples to one logit each; None for others.

    A logit that is a maxout has a derivative for each piece, unlike what :meth:`MLPPass.reach_both` computes.
    """
    chain = chain_of(discriminator)
    if isinstance(chain, str) or chain.sample_shape != (1,) or chain.last_activation.kind == "maxout":
        return None
    return chain if all(map(chain.takes, batches)) else None


def is_plain(module: nn.Module) -> bool:
    """Whether every layer is known to process samples independently, without hooks or randomness.

    False for batch statistics, dropout, and layers that are not listed above.
    """
    for layer in module.modules():
        if type(layer) not in _SAMPLEWISE or has_hooks(layer):
            return False
        if isinstance(layer, nn.Flatten) and layer.start_dim <= 0:
            return False
        for p in layer._parameters.values():
            if p is not None and (p._backward_hooks or p._post_accumulate_grad_hooks):
                return False
    return True
