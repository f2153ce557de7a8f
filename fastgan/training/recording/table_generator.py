"""The calls of CTGAN's generator in a recorded step: gradients, and the update of its weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.cpu.tape import Tape
from fastgan.models.ctgan import TEMPERATURE
from fastgan.training.adam import Adam
from fastgan.training.config import Latent
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.network import RecordedLayers
from fastgan.training.recording.table_networks import TableGenerator
from fastgan.training.recording.table_pass import Generated, TablePasses
from fastgan.training.sgd import SGD

_COLUMNS = 64  # of a batch norm, that a thread takes at a time


class RecordedTableGenerator(RecordedLayers):
    """CTGAN's generator, whose weights a step updates.

    Args:
        network: the layers.
        optimizer: holds their parameters in one buffer.
        arena: for packed weights.
        latent: distribution of the latent vectors.
        seed: seed of the run.
        clock: int64 ``[1]``: the step.

    Attributes:
        network: as given.
        passes: calls of the forward passes.
    """

    def __init__(
        self,
        network: TableGenerator,
        optimizer: Adam | SGD,
        arena: Arena,
        latent: Latent,
        seed: int,
        clock: Tensor,
    ) -> None:
        self.network = network
        weights = [*(block.linear.weight for block in network.blocks), network.last.weight]
        others = [[block.norm.weight, block.norm.bias] for block in network.blocks]
        super().__init__(weights, [*others, [network.last.bias]], optimizer, arena, reaches_input=False)
        self.passes = TablePasses(network, self._forward, latent, seed, clock)

    @property
    def count_of_blocks(self) -> int:
        return len(self.network.blocks)

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
        dy = hidden[:, self.passes.begins[i] : self.passes.ends[i]]
        tape.batch_norm_backward(dy, seen.products[i], seen.statistics[i], norm, dz, grads)

    def backward_of_product(self, tape: Tape, arena: Arena, i: int, dz: Tensor, hidden: Tensor) -> None:
        """Add the gradient that reaches the columns of earlier blocks, by rows."""
        behind = hidden[:, self.passes.ends[i] :]
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
            x = seen.room if is_last else seen.room[:, self.passes.ends[i] :]
            tape.wgrad(dz[i], None, x, self._grad(self._weights[i]), seen.hot)
            if is_last:
                tape.bias_gradient(dz[i], None, self._grad(self.network.last.bias))

        self._update(tape, arena, add_gradients, clip)
