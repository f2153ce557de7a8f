"""Generates the samples of a step."""

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
    """Samples of one step. G's weights must not change before its update."""

    def batches(self, turn: int) -> tuple[Tensor, Tensor]:
        """Real and generated samples of D's given turn; call it once for each turn, in order."""

    def batch_of_generator(self) -> Tensor:
        """Generated samples of G's turn."""

    def reach_parameters(self, grad: Tensor) -> None:
        """Add to the gradients of G's parameters; ``grad`` is the gradient of the samples of G's turn."""


def generation_of(state: TrainingState, source: Source, turns: int) -> Generation:
    """One pass through G for all turns if G is a plain MLP, else one for each turn.

    Args:
        turns: number of batches; the last is G's. If it is 1, D sees G's batch.
    """
    chain = _chain_of(state.generator)
    if chain is not None:
        weight = chain.layers[0].weight
        if source.dtype is weight.dtype:
            return ChainGeneration(chain, state, source, turns)
    return AutogradGeneration(state, source, turns)


class _Chain(NamedTuple):
    """A generator of linear layers with leaky ReLU between them, and a final tanh if it is bounded."""

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
    """Samples of any generator. One pass for each turn, so that batch statistics are those of one turn."""

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
        """This process's part of a batch, in float32 like the real samples."""
        fake: Tensor = self._state.generator(self._state.latents(1))
        return fake.float() if fake.dtype is torch.bfloat16 else fake


class ChainGeneration:
    """Samples of a chain of layers, without autograd.

    All batches are in one buffer, with space before the first. A turn's real samples are written in front of
    its generated ones, over those of the turn before, so that D reads both without a copy.
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
