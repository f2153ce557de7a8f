"""Generates the samples of a step."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fastgan.chains import Chain, chain_of
from fastgan.models.ctgan import CTGANGenerator
from fastgan.training.latent import inputs
from fastgan.training.mlp_pass import MLPPass
from fastgan.training.source import Source
from fastgan.training.state import TrainingState
from fastgan.training.table_generation import TableGeneration
from fastgan.training.table_source import TableSource


class Generation(Protocol):
    """Samples of one step. G's weights must not change before its update.

    Attributes:
        labels: int64 ``[N]``, those of the batches given last and of G's turn; None if there are none.
        statistics: scalars of G's turn by name, for the log.
    """

    statistics: dict[str, Tensor]

    @property
    def labels(self) -> Tensor | None: ...

    def batches(self, turn: int) -> tuple[Tensor, Tensor]:
        """Real and generated samples of D's given turn; call it once for each turn, in order."""

    def batch_of_generator(self) -> Tensor:
        """Generated samples of G's turn."""

    def reach_parameters(self, grad: Tensor) -> None:
        """Add to the gradients of G's parameters; ``grad`` is the gradient of the samples of G's turn."""


def generation_of(state: TrainingState, source: Source, turns: int) -> Generation:
    """One pass through G for all turns if G is a chain of layers, else one for each turn.

    Args:
        turns: number of batches; the last is G's. If it is 1, D sees G's batch.
    """
    if isinstance(source, TableSource) and isinstance(state.generator, CTGANGenerator):
        return TableGeneration(state.generator, state, source, turns)
    chain = chain_of(state.generator)
    if isinstance(chain, Chain) and source.dtype is chain.dtype:
        return ChainGeneration(chain, state, source, turns)
    return AutogradGeneration(state, source, turns)


class AutogradGeneration:
    """Samples of any generator. One pass for each turn, so that batch statistics are those of one turn."""

    def __init__(self, state: TrainingState, source: Source, turns: int) -> None:
        self._state, self._source, self._turns = state, source, turns
        self._own: Tensor | None = None
        self.statistics: dict[str, Tensor] = {}

    @property
    def labels(self) -> Tensor | None:
        return self._source.labels

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
        fake: Tensor = self._state.generator(*inputs(self._state.latents(1), self.labels))
        return fake.float() if fake.dtype is torch.bfloat16 else fake


class ChainGeneration:
    """Samples of a chain of layers, without autograd.

    All batches are in one buffer, with space before the first. A turn's real samples are written in front of
    its generated ones, over those of the turn before, so that D reads both without a copy.
    """

    labels = None

    @torch.no_grad()
    def __init__(self, chain: Chain, state: TrainingState, source: Source, turns: int) -> None:
        self._state, self._source = state, source
        self.statistics: dict[str, Tensor] = {}
        weight = chain.layers[0].linear.weight
        self._samples = weight.new_empty(turns + 1, state.share, *chain.sample_shape)
        self._first = source.batch(state, 0, self._samples[0])
        made = self._samples[1:].view(turns * state.share, -1)
        self._seen = MLPPass.of(state.latents(turns).split(state.share), chain, made)

    def batches(self, turn: int) -> tuple[Tensor, Tensor]:
        place = self._samples[turn]
        real = self._first if turn == 0 else self._source.batch(self._state, turn, place)
        return real, self._samples[turn + 1]

    def batch_of_generator(self) -> Tensor:
        return self._samples[-1]

    @torch.no_grad()
    def reach_parameters(self, grad: Tensor) -> None:
        seen = self._seen.of_last_batch()
        seen.reach_parameters([grad.reshape(seen.outputs[0].shape)])
