"""The calls of CTGAN's generator in a recorded step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fastgan.kernels.cpu.tape import Tape, rows_of_entropy
from fastgan.models.ctgan import TEMPERATURE
from fastgan.training.adam import Adam
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.network import RecordedLayers
from fastgan.training.recording.table_networks import TableGenerator
from fastgan.training.sgd import SGD

_COLUMNS = 64  # of a batch norm, that a thread takes at a time


@dataclass(frozen=True)
class Generated:
    """A pass of the generator (:class:`fastgan.training.table_generation.DirectPass`), as memory.

    Attributes:
        room: ``[N, width]``, the columns of the blocks, the latent vector and the condition.
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


class RecordedTableGenerator(RecordedLayers):
    """CTGAN's generator, whose weights a step updates.

    Args:
        network: the layers.
        optimizer: holds their parameters in one buffer.
        arena: for packed weights.
    """

    def __init__(self, network: TableGenerator, optimizer: Adam | SGD, arena: Arena) -> None:
        self.network = network
        weights = [*(block.linear.weight for block in network.blocks), network.last.weight]
        others = [[block.norm.weight, block.norm.bias] for block in network.blocks]
        super().__init__(weights, [*others, [network.last.bias]], optimizer, arena, reaches_input=False)
        # where the columns of each block begin in the room, and where its input begins
        ends = [network.added]
        for block in network.blocks:
            ends.append(ends[-1] - block.norm.num_features)
        self._begins, self._ends = ends[1:], ends[:-1]

    @property
    def count_of_blocks(self) -> int:
        return len(self.network.blocks)

    def generated(self, arena: Arena, conditions: Tensor | None, rows: Tensor, *, learns: bool) -> Generated:
        """Memory of a pass; ``learns``: whether G follows its gradient."""
        count, spans = len(rows), self.network.spans
        products = [arena.take(count, block.norm.num_features) for block in self.network.blocks]
        statistics = [(arena.take(each.shape[1]), arena.take(each.shape[1])) for each in products]
        entropies = None
        if learns and conditions is not None:
            entropies = arena.take_doubles(-(-count // rows_of_entropy(spans)))
        return Generated(
            arena.take(count, self._weights[-1].shape[1]),
            products,
            statistics,
            arena.take(count, spans.width),
            arena.take(count, spans.width),
            conditions,
            entropies,
            rows,
        )

    def start(self, tape: Tape, latent: Tensor, to: Generated) -> None:
        """Write latent vectors and conditions into the room, and the product of the first block."""
        first = self.network.added
        end = first + self.network.latent_dim
        tape.copy_columns(latent, to.room[:, first:end])
        if to.conditions is not None:
            tape.one_hot(to.conditions, to.room[:, end:])
        self.product(tape, 0, to)

    def product(self, tape: Tape, i: int, to: Generated) -> None:
        """The product of a block's linear layer, by rows."""
        weight, x = self._weights[i], to.room[:, self._ends[i] :]
        tape.forward(x, weight, self._forward[i], None, 1.0, to.products[i])

    def normalize(self, tape: Tape, i: int, passes: Sequence[Generated]) -> None:
        """Add a unit by columns: batch norm and ReLU of a block, pass by pass."""
        block = self.network.blocks[i]
        columns = slice(self._begins[i], self._ends[i])
        tape.unit(block.norm.num_features, _COLUMNS)
        for each in passes:
            batch = each.statistics[i]
            tape.batch_norm(each.products[i], batch, block.norm, block.momentum, each.room[:, columns])

    def finish(self, tape: Tape, to: Generated) -> None:
        """The rows, by rows; a piece is a multiple of ``rows_of_entropy``."""
        last, spans, width = self.network.last, self.network.spans, self.network.spans.width
        tape.forward(to.room, last.weight, self._forward[-1], last.bias, 1.0, to.logits)
        conditions = None if to.entropies is None else to.conditions
        activated = to.rows[:, :width]
        tape.span_activations(to.logits, spans, to.noise, TEMPERATURE, conditions, activated, to.entropies)
        if to.conditions is not None:
            tape.one_hot(to.conditions, to.rows[:, width:])

    def gradients(self, arena: Arena, count: int) -> tuple[list[Tensor], Tensor]:
        """Memory for gradients of the layers' products, and of the blocks' columns."""
        dz = [arena.take(count, len(weight)) for weight in self._weights]
        return dz, arena.take(count, self.network.added)

    def backward_of_spans(
        self, tape: Tape, grad: Tensor, seen: Generated, dz: Tensor, hidden: Tensor
    ) -> None:
        """Propagate the gradient of the rows to the blocks' columns, by rows."""
        width, last = self.network.spans.width, self.network.last
        logits, conditions = (None, None) if seen.entropies is None else (seen.logits, seen.conditions)
        activated, spans = seen.rows[:, :width], self.network.spans
        tape.span_gradients(grad[:, :width], logits, activated, spans, TEMPERATURE, conditions, dz)
        packed = self._dgrad[-1]
        assert packed is not None
        tape.dgrad(dz, last.weight, packed, None, 1.0, hidden)

    def backward_of_norm(self, tape: Tape, i: int, hidden: Tensor, seen: Generated, dz: Tensor) -> None:
        """Add a unit by columns: from the gradient of a block's columns to that of its product."""
        norm = self.network.blocks[i].norm
        grads = self._grad(norm.weight), self._grad(norm.bias)
        tape.unit(norm.num_features, _COLUMNS)
        dy = hidden[:, self._begins[i] : self._ends[i]]
        tape.batch_norm_backward(dy, seen.products[i], seen.statistics[i], norm, dz, grads)

    def backward_of_product(self, tape: Tape, arena: Arena, i: int, dz: Tensor, hidden: Tensor) -> None:
        """Add the gradient that reaches the columns of earlier blocks, by rows."""
        behind = hidden[:, self._ends[i] :]
        part, packed = arena.take(*behind.shape), self._dgrad[i]
        assert packed is not None
        tape.dgrad(dz, self._weights[i], packed, None, 1.0, part)
        tape.add_columns(part, behind)

    def update(
        self, tape: Tape, arena: Arena, seen: Generated, dz: Sequence[Tensor], clip: float | None
    ) -> None:
        """Add units that compute the gradients of each layer and update its parameters."""

        def add_gradients(i: int) -> None:
            is_last = i == self.count_of_blocks
            x = seen.room if is_last else seen.room[:, self._ends[i] :]
            tape.wgrad(dz[i], None, x, self._grad(self._weights[i]))
            if is_last:
                tape.bias_gradient(dz[i], None, self._grad(self.network.last.bias))

        self._update(tape, arena, add_gradients, clip)
