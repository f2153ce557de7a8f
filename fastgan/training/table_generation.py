"""The samples of a step for a generator of tables, without autograd where kernels can do it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fastgan.hooks import has_hooks
from fastgan.kernels import choose
from fastgan.models.ctgan import TEMPERATURE, CTGANGenerator, ResidualBlock
from fastgan.nn import BatchNorm1dLeakyReLU
from fastgan.ops import span_activations
from fastgan.training.mlp_pass import add_gradients, places_for
from fastgan.training.state import TrainingState
from fastgan.training.table_source import ENTROPY, TableSource


class TablePass(Protocol):
    """A pass through the generator of a table.

    Attributes:
        rows: ``[N, D + C]``, without a graph: activated spans, and the condition as zeros and a one.
        entropy: cross-entropy of the conditions, a scalar without a graph; None without conditions.
    """

    rows: Tensor
    entropy: Tensor | None

    def reach_parameters(self, grad: Tensor) -> None:
        """Add the gradients of the cross-entropy, and those for a gradient ``grad`` of the rows."""


class TableGeneration:
    """Rows of one step. Each pass has its own batch statistics, as in CTGAN.

    Real rows have the conditions of the next pack of generated ones: the conditions are independent, so a
    pair in a gradient penalty has two independent ones.

    Attributes:
        labels: None: the rows that D sees contain their conditions.
        statistics: the cross-entropy of the conditions in G's turn.
    """

    labels = None

    def __init__(
        self, generator: CTGANGenerator, state: TrainingState, source: TableSource, turns: int
    ) -> None:
        self._generator, self._state, self._source, self._turns = generator, state, source, turns
        self._latents = state.latents(turns).split(state.share)
        conditions = source.conditions(state, turns)
        self._conditions = [None] * turns if conditions is None else conditions.split(state.share)
        self._shares = state.draws.uniform((max(turns - 1, 1), state.share))
        self._noise = state.draws.uniform((turns, state.share, generator.spans.width))
        self.statistics: dict[str, Tensor] = {}
        self._is_plain = _is_plain(generator, state)

    def batches(self, turn: int) -> tuple[Tensor, Tensor]:
        conditions = self._conditions[turn]
        others = None if conditions is None else conditions.roll(self._state.config.pack)
        real = self._source.rows(others, self._shares[turn])
        if self._turns == 1:
            return real, self.batch_of_generator()
        with torch.no_grad():
            return real, self._pass(turn).rows

    def batch_of_generator(self) -> Tensor:
        self._own = self._pass(self._turns - 1)
        if self._own.entropy is not None:
            self.statistics = {ENTROPY: self._own.entropy}
        return self._own.rows

    def reach_parameters(self, grad: Tensor) -> None:
        self._own.reach_parameters(grad)

    def _pass(self, turn: int) -> TablePass:
        kind = DirectPass if self._is_plain else AutogradPass
        return kind(self._generator, self._latents[turn], self._conditions[turn], self._noise[turn])


class AutogradPass:
    """A pass through any generator, in any precision, with PyTorch's gradients."""

    def __init__(
        self, generator: CTGANGenerator, latent: Tensor, conditions: Tensor | None, noise: Tensor
    ) -> None:
        logits, spans = generator.logits(latent, conditions), generator.spans
        if conditions is None:
            self._outputs = [span_activations(logits, spans, noise, temperature=TEMPERATURE)]
        else:
            outputs = span_activations(logits, spans, noise, conditions=conditions, temperature=TEMPERATURE)
            self._outputs = list(outputs)
        self.entropy = None if conditions is None else self._outputs[1].detach()
        rows = self._outputs[0].detach().float()
        chosen = generator.one_hot(conditions, rows)
        self.rows = rows if chosen is None else torch.cat([rows, chosen], 1)

    def reach_parameters(self, grad: Tensor) -> None:
        rows, *entropy = self._outputs
        of_rows = grad[:, : rows.shape[1]].to(rows.dtype)
        torch.autograd.backward(self._outputs, [of_rows, *map(torch.ones_like, entropy)])


class DirectPass:
    """A pass without autograd; in evaluation mode, only forward.

    The input of the last layer is one matrix, ``[h_L ... h_1, latent, condition]``. A block reads the columns
    from its input on and writes its own in front of them, so that nothing is concatenated. So does the
    gradient, whose columns for the latent vector and the condition are not computed.
    """

    @torch.no_grad()
    def __init__(
        self, generator: CTGANGenerator, latent: Tensor, conditions: Tensor | None, noise: Tensor
    ) -> None:
        self._generator, self._conditions = generator, conditions
        self._backend, spans = choose(latent), generator.spans
        count = len(latent)
        self._room = latent.new_empty(count, generator.last.in_features)
        first = self._first = sum(block.linear.out_features for block in generator.residual_blocks)
        self._room[:, first : first + generator.latent_dim] = latent
        chosen = generator.one_hot(conditions, latent)
        if chosen is not None:
            self._room[:, first + generator.latent_dim :] = chosen
        self._products: list[tuple[Tensor, Tensor, Tensor]] = []
        for block in generator.residual_blocks:
            first = self._forward(block, first)
        last = generator.last
        self._logits = self._backend.product(self._room, last.weight.t(), last.bias)
        self.rows = latent.new_empty(count, spans.width + spans.num_conditions)
        self._activated = self.rows[:, : spans.width]
        _, self.entropy = self._backend.span_activations(
            self._logits, spans, noise, TEMPERATURE, conditions, self._activated
        )
        if chosen is not None:
            self.rows[:, spans.width :] = chosen

    def _forward(self, block: ResidualBlock, first: int) -> int:
        """Write a block's columns in front of column ``first``; return the first of them."""
        norm = block.norm
        product = self._backend.product(self._room[:, first:], block.linear.weight.t())
        mean, var = self._statistics(norm, product)
        begin = first - norm.num_features
        self._backend.batch_norm_leaky_relu(
            product, mean, var, norm.weight, norm.bias, norm.eps, 0.0, self._room[:, begin:first]
        )
        self._products.append((product, mean, var))
        return begin

    def _statistics(self, norm: BatchNorm1dLeakyReLU, product: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance: in training mode the batch's, which the running ones follow."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if not norm.training:
            return norm.running_mean, norm.running_var
        assert norm.momentum is not None
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        return self._backend.batch_norm_statistics(
            product, norm.running_mean, norm.running_var, norm.momentum
        )

    @torch.no_grad()
    def reach_parameters(self, grad: Tensor) -> None:
        generator, spans = self._generator, self._generator.spans
        dz = self._backend.span_activations_backward(
            grad[:, : spans.width],
            None if self.entropy is None else torch.ones_like(self.entropy),
            *(self._logits, self._activated, spans, TEMPERATURE, self._conditions),
        )
        last = generator.last
        weight_place, bias_place = places_for([last.weight, last.bias], dz.dtype)
        dweight = self._backend.product(dz.t(), self._room, into=weight_place)
        add_gradients([last.weight, last.bias], [dweight, self._backend.row_sums(dz, bias_place)])
        hidden = self._backend.product(dz, last.weight[:, : self._first])  # gradient of all blocks' columns
        first = 0
        for block, seen in zip(reversed(generator.residual_blocks), reversed(self._products), strict=True):
            first = self._backward(block, seen, hidden, first)

    def _backward(
        self, block: ResidualBlock, seen: tuple[Tensor, Tensor, Tensor], hidden: Tensor, first: int
    ) -> int:
        """Add the gradients of a block, whose columns begin at ``first``; return the column after them."""
        norm, end = block.norm, first + block.norm.num_features
        parameters = [block.linear.weight, norm.weight, norm.bias]
        dz, *of_norm = self._backend.batch_norm_leaky_relu_backward(
            hidden[:, first:end], *seen, norm.weight, norm.bias, norm.eps, 0.0, True, (True, True, True)
        )
        assert dz is not None
        (place,) = places_for(parameters[:1], dz.dtype)
        dweight = self._backend.product(dz.t(), self._room[:, end:], into=place)
        add_gradients(parameters, [dweight, *of_norm])
        if end < self._first:
            hidden[:, end:] += self._backend.product(dz, parameters[0][:, : self._first - end])
        return end


def _is_plain(generator: CTGANGenerator, state: TrainingState) -> bool:
    """Whether a pass may call the layers' kernels itself: no hook, no autocast, and batch statistics."""
    return (
        state.config.precision != "bf16"
        and all(block.norm.training for block in generator.residual_blocks)
        and not any(map(has_hooks, generator.modules()))
    )
