"""Generated samples of a step, each turn's next to room for its real ones."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from fastgan.kernels.layout import joined
from fastgan.models import MLPGenerator
from fastgan.nn import MLP
from fastgan.training.mlp_pass import MLPPass
from fastgan.training.objectives.passes import is_plain
from fastgan.training.source import Source
from fastgan.training.state import TrainingState


class Generation(Protocol):
    """What G makes in one step, during which its weights stay the same until all turns are over."""

    def batches(self, turn: int) -> tuple[Tensor, Tensor]:
        """Real and generated samples of one of D's turns; to be called once a turn, in their order."""

    def batch_of_generator(self) -> Tensor:
        """Generated samples of G's turn."""

    def reach_parameters(self, grad: Tensor) -> None:
        """Add to the gradients of G's parameters; ``grad`` is that of G's turn's samples."""


def generation_of(state: TrainingState, source: Source, turns: int) -> Generation:
    """One pass through G for all turns where G is an MLP and nothing else; one for each turn elsewhere.

    Args:
        turns: how many batches are wanted, G's own the last of them. Where it is 1, D sees G's own.
    """
    chain = _chain_of(state.generator)
    if chain is not None:
        weight = chain.layers[0].weight
        if source.dtype is weight.dtype:
            return ChainGeneration(chain, state, source, turns)
    return AutogradGeneration(state, source, turns)


class _Chain(NamedTuple):
    """A generator of known layers: linear ones, leaky ReLU between them, and a tanh where it is bounded."""

    layers: list[nn.Linear]
    negative_slope: float
    sample_shape: tuple[int, ...]
    bounded: bool


def _chain_of(generator: nn.Module) -> _Chain | None:
    mlp = generator.mlp if type(generator) is MLPGenerator else generator
    if type(mlp) is not MLP or not is_plain(generator):
        return None
    layers = mlp.plain_layers()
    if not layers:
        return None
    if type(generator) is MLPGenerator:
        return _Chain(layers, mlp.negative_slope, generator.sample_shape, generator.bounded)
    return _Chain(layers, mlp.negative_slope, (layers[-1].out_features,), False)


class AutogradGeneration:
    """By any generator, in a pass for each turn: batch statistics are of one turn's samples."""

    def __init__(self, state: TrainingState, source: Source, turns: int) -> None:
        self._state, self._source, self._turns = state, source, turns
        self._own: Tensor | None = None

    def batches(self, turn: int) -> tuple[Tensor, Tensor]:
        real = self._source.batch(self._state, turn)
        if self._turns == 1:
            return real, self.batch_of_generator()
        with torch.no_grad():
            return real, self._generate()

    def batch_of_generator(self) -> Tensor:
        self._own = self._generate()
        return self._own

    def reach_parameters(self, grad: Tensor) -> None:
        assert self._own is not None
        torch.autograd.backward(self._own, grad)

    def _generate(self) -> Tensor:
        """This process's share of a batch, in float32 as the real samples are."""
        fake: Tensor = self._state.generator(self._state.latents(1))
        return fake.float() if fake.dtype is torch.bfloat16 else fake


class ChainGeneration:
    """By a generator that is a chain of layers, without autograd.

    All batches lie in one buffer, with room in front of the first: a turn's real samples go in front of its
    generated ones, over those of the turn before, so D sees both without a copy.
    """

    @torch.no_grad()
    def __init__(self, chain: _Chain, state: TrainingState, source: Source, turns: int) -> None:
        self._state, self._source, self._bounded = state, source, chain.bounded
        self._samples = chain.layers[0].weight.new_empty(turns + 1, state.share, *chain.sample_shape)
        self._first = source.batch(state, 0, self._samples[0])
        seen = MLPPass.of(state.latents(turns).split(state.share), chain.layers, chain.negative_slope)
        assert seen is not None
        self._seen = seen
        made = self._samples[1:].view(turns * state.share, -1)
        if chain.bounded:
            torch.tanh(joined(seen.outputs), out=made)
        else:
            made.copy_(joined(seen.outputs))

    def batches(self, turn: int) -> tuple[Tensor, Tensor]:
        place = self._samples[turn]
        real = self._first if turn == 0 else self._source.batch(self._state, turn, place)
        return real, self._samples[turn + 1]

    def batch_of_generator(self) -> Tensor:
        return self._samples[-1]

    @torch.no_grad()
    def reach_parameters(self, grad: Tensor) -> None:
        own = self._samples[-1].flatten(1)
        grad = grad.reshape(own.shape).to(own.dtype)
        if self._bounded:
            grad = torch.ops.aten.tanh_backward(grad, own)
        self._seen.of_last_batch().reach_parameters([grad])
