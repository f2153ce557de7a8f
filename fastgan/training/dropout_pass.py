"""Passes without autograd through a discriminator of leaky ReLU layers with dropout, as CTGAN's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan.hooks import has_hooks
from fastgan.kernels import choose
from fastgan.kernels.acts import leaky
from fastgan.kernels.layout import joined
from fastgan.models.ctgan import CTGANDiscriminator, Dropout
from fastgan.ops.routing import autocast_dtype
from fastgan.training.mlp_pass import add_gradients, places_for


class Hidden(NamedTuple):
    """A hidden layer.

    Attributes:
        linear: its linear layer.
        negative_slope: of the leaky ReLU after it.
        dropout: the dropout after that.
    """

    linear: nn.Linear
    negative_slope: float
    dropout: Dropout


class DropoutPass:
    """A pass of batches through hidden layers and a last linear one.

    It is a :class:`fastgan.training.objectives.passes.Pass`.

    The derivative d of a hidden layer's activation and dropout is kept, a constant between kinks. With dz_L
    the gradient of the logits, dz_{i-1} = d_{i-1} * (dz_i W_i).

    Attributes:
        outputs: logits ``[N, 1]`` of each batch.
    """

    @torch.no_grad()
    def __init__(self, batches: Sequence[Tensor], hidden: Sequence[Hidden], last: nn.Linear) -> None:
        self._backend = choose(batches[0])
        self._linears = [*(layer.linear for layer in hidden), last]
        self._inputs = [joined([batch.detach() for batch in batches])]
        self._derivatives: list[Tensor] = []
        self._reached: list[Tensor] = []
        for layer in hidden:
            self._append(layer, len(batches))
        outputs = self._backend.product(self._inputs[-1], last.weight.t(), last.bias)
        self.outputs = list(outputs.split([len(batch) for batch in batches]))

    def _append(self, layer: Hidden, batches: int) -> None:
        """Add the output of a hidden layer to the inputs, which are so many batches."""
        input, linear, slope = self._inputs[-1], layer.linear, layer.negative_slope
        if self._backend.chains_layers:
            product = self._backend.product(input, linear.weight.t(), linear.bias)
            output = functional.leaky_relu(product, slope, inplace=True)
        else:
            output = self._backend.linear_leaky_relu(input, linear.weight, linear.bias, leaky(slope))
        kept = layer.dropout.kept(output, batches)
        self._derivatives.append(torch.where(output > 0, kept, slope * kept))
        self._inputs.append(output * kept)

    @torch.no_grad()
    def reach_parameters(self, grads: Sequence[Tensor]) -> None:
        dz = self._chain(joined(grads))
        biases = [linear.bias for linear in self._linears]
        places = places_for(biases, dz[0].dtype)
        db = [self._backend.row_sums(each, place) for each, place in zip(dz, places, strict=True)]
        add_gradients(biases, db)
        self._add_to_weights(dz, self._inputs)

    @torch.no_grad()
    def reach_samples(self, grad: Tensor) -> Tensor:
        return self._backend.product(self._chain(grad)[0], self._linears[0].weight)

    @torch.no_grad()
    def reach_both(self, grads: Sequence[Tensor], grad: Tensor) -> Tensor:
        nothing = [torch.zeros_like(each) for each in self.outputs[:-1]]
        reached = self.reach_samples(joined([*nothing, grad]))[-len(grad) :]
        self.reach_parameters(grads)
        return reached

    @torch.no_grad()
    def slope(self) -> Tensor:
        self._reached = self._chain(torch.ones_like(self.outputs[0]))
        return self._backend.product(self._reached[0], self._linears[0].weight)

    @torch.no_grad()
    def reach_parameters_by_slope(self, grad: Tensor) -> None:
        """As ``reach_parameters_by_slope`` of an MLPPass, with dropout in the derivatives."""
        climbed = [grad]
        for linear, derivative in zip(self._linears[:-1], self._derivatives, strict=True):
            climbed.append(self._backend.product(climbed[-1], linear.weight.t()).mul_(derivative))
        self._add_to_weights(self._reached, climbed)

    def _chain(self, grad: Tensor) -> list[Tensor]:
        """dz_1 ... dz_L, for a gradient of the logits."""
        dz = [grad]
        for linear, derivative in zip(reversed(self._linears[1:]), reversed(self._derivatives), strict=True):
            dz.append(self._backend.product(dz[-1], linear.weight).mul_(derivative))
        return dz[::-1]

    def _add_to_weights(self, dz: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        weights = [linear.weight for linear in self._linears]
        places = places_for(weights, dz[0].dtype)
        product = self._backend.product
        dw = [product(a.t(), x, into=place) for a, x, place in zip(dz, inputs, places, strict=True)]
        add_gradients(weights, dw)


def dropout_pass(discriminator: nn.Module, batches: Sequence[Tensor]) -> DropoutPass | None:
    """The pass of batches ``[N, ...]`` through CTGAN's discriminator; None for others, or under autocast."""
    if type(discriminator) is not CTGANDiscriminator or autocast_dtype(batches[0]) is not None:
        return None
    if any(map(has_hooks, discriminator.modules())):
        return None
    return DropoutPass(batches, *layers_of(discriminator))


def layers_of(discriminator: CTGANDiscriminator) -> tuple[list[Hidden], nn.Linear]:
    """The hidden layers and the last one."""
    *layers, last = discriminator.layers
    assert isinstance(last, nn.Linear)
    hidden = []
    for linear, activation, dropout in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
        assert isinstance(linear, nn.Linear)
        assert isinstance(activation, nn.LeakyReLU)
        assert isinstance(dropout, Dropout)
        hidden.append(Hidden(linear, activation.negative_slope, dropout))
    return hidden, last


@contextmanager
def dropout_drawn_by(draw: Callable[[tuple[int, ...]], Tensor], discriminator: nn.Module) -> Iterator[None]:
    """Let the dropout of CTGAN's discriminator draw its numbers by ``draw``, which it describes."""
    layers = [layer for layer in discriminator.modules() if isinstance(layer, Dropout)]
    for layer in layers:
        layer.draw = draw
    try:
        yield
    finally:
        for layer in layers:
            layer.draw = None
