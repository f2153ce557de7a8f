"""The calls of passes through CTGAN's generator, in a step or after training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fastgan.kernels.cpu.tape import OneHot, Tape, rows_of_entropy
from fastgan.models.ctgan import TEMPERATURE
from fastgan.training.config import Latent
from fastgan.training.draws import UNIFORM
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.latents import draw_latent
from fastgan.training.recording.table_networks import TableGenerator

_COLUMNS = 64  # of a batch norm, that a thread takes at a time


@dataclass(frozen=True)
class Generated:
    """A pass of the generator (:class:`fastgan.training.table_generation.DirectPass`), as memory.

    Attributes:
        room: ``[N, width]``, the columns of the blocks, the latent vector and the condition, which is not
            written: see ``hot``.
        products: of each block's linear layer, ``[N, features]``.
        statistics: mean and variance of the columns of each product.
        noise, logits: ``[N, D]``, of the spans.
        conditions: int64 ``[N]``; None for a table without any.
        entropies: sums of cross-entropies, for the pass whose gradient G follows; else None.
        rows: ``[N, D + C]``, the result.
    """

    room: Tensor
    products: list[Tensor]
    statistics: list[tuple[Tensor, Tensor]]
    noise: Tensor
    logits: Tensor
    conditions: Tensor | None
    entropies: Tensor | None
    rows: Tensor

    @property
    def hot(self) -> OneHot | None:
        """The condition's columns in the room."""
        if self.conditions is None:
            return None
        return OneHot(self.conditions, self.rows.shape[1] - self.logits.shape[1])


class TablePasses:
    """Passes through CTGAN's generator.

    Args:
        network: the layers.
        packed: their weights, written by :meth:`fastgan.kernels.cpu.tape.Tape.pack`.
        latent: distribution of the latent vectors.
        seed: seed of the random numbers.
        clock: int64 ``[1]``: the step, on which they depend too.

    Attributes:
        begins: where the columns of each block begin in the room.
        ends: where its input begins, after them.
    """

    def __init__(
        self, network: TableGenerator, packed: Sequence[Tensor], latent: Latent, seed: int, clock: Tensor
    ) -> None:
        self._network, self._packed = network, packed
        self._latent, self._seed, self._clock = latent, seed, clock
        ends = [network.added]
        for block in network.blocks:
            ends.append(ends[-1] - block.norm.num_features)
        self.begins, self.ends = ends[1:], ends[:-1]

    def generated(self, arena: Arena, conditions: Tensor | None, rows: Tensor, *, learns: bool) -> Generated:
        """Memory of a pass in a step; ``learns``: whether G follows its gradient."""
        count, spans = len(rows), self._network.spans
        products = [arena.take(count, block.norm.num_features) for block in self._network.blocks]
        statistics = [(arena.take(each.shape[1]), arena.take(each.shape[1])) for each in products]
        entropies = None
        if learns and conditions is not None:
            entropies = arena.take_doubles(-(-count // rows_of_entropy(spans)))
        return Generated(
            arena.take(count, self._network.last.in_features),
            products,
            statistics,
            arena.take(count, spans.width),
            arena.take(count, spans.width),
            conditions,
            entropies,
            rows,
        )

    def start(self, tape: Tape, arena: Arena, first_number: int, to: Generated) -> None:
        """Draw latent vectors into the room, and multiply by the first weight.

        Args:
            tape: the tape, in a unit by rows.
            arena: its memory.
            first_number: index of the first random number.
            to: the pass.
        """
        latent = arena.take(len(to.room), self._network.latent_dim)
        draw_latent(tape, latent, self._latent, first_number, self._seed, self._clock)
        first = self._network.added
        end = first + self._network.latent_dim
        tape.copy_columns(latent, to.room[:, first:end])
        self.product(tape, 0, to)

    def product(self, tape: Tape, i: int, to: Generated) -> None:
        """The product of a block's linear layer, by rows."""
        weight, x = self._network.blocks[i].linear.weight, to.room[:, self.ends[i] :]
        tape.forward(x, weight, self._packed[i], None, 1.0, to.products[i], to.hot)

    def normalize_batches(self, tape: Tape, i: int, passes: Sequence[Generated]) -> None:
        """Add a unit by columns: batch norm and ReLU of a block, pass by pass, by the batch's statistics."""
        block = self._network.blocks[i]
        tape.unit(block.norm.num_features, _COLUMNS)
        for each in passes:
            batch = each.statistics[i]
            tape.batch_norm(each.products[i], batch, block.norm, block.momentum, self._columns(i, each))

    def normalize(self, tape: Tape, i: int, to: Generated) -> None:
        """Batch norm and ReLU of a block, with the running statistics, by rows."""
        tape.normalize(to.products[i], self._network.blocks[i].norm, self._columns(i, to))

    def finish(self, tape: Tape, first_number: int, to: Generated) -> None:
        """The rows, by rows; a piece is a multiple of ``rows_of_entropy``."""
        last, spans, width = self._network.last, self._network.spans, self._network.spans.width
        self.draw_uniform(tape, to.noise, first_number)
        tape.forward(to.room, last.weight, self._packed[-1], last.bias, 1.0, to.logits, to.hot)
        conditions = None if to.entropies is None else to.conditions
        activated = to.rows[:, :width]
        tape.span_activations(to.logits, spans, to.noise, TEMPERATURE, conditions, activated, to.entropies)
        if to.conditions is not None:
            tape.one_hot(to.conditions, to.rows[:, width:])

    def draw_uniform(self, tape: Tape, to: Tensor, first_number: int) -> None:
        """Draw numbers in [0, 1)."""
        tape.draw(to, UNIFORM, first_number, 1, self._seed, self._clock)

    def _columns(self, i: int, to: Generated) -> Tensor:
        """The columns of a block in the room."""
        return to.room[:, self.begins[i] : self.ends[i]]
