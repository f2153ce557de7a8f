"""Draws rows from CTGAN's generator after training as native calls, for a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.tape import Tape, packed_size, replay, rows_of_entropy
from fastgan.training.config import Latent
from fastgan.training.distributed import World
from fastgan.training.draws import UNIFORM, Indices
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.latents import kind_of
from fastgan.training.recording.pieces import balanced
from fastgan.training.recording.table_networks import TableGenerator
from fastgan.training.recording.table_pass import Generated, TablePasses


class RecordedTableSampler:
    """Rows of an encoded table, in blocks.

    The random numbers are those of :class:`fastgan.training.draws.CounterDraws`.

    Args:
        network: the generator in evaluation mode, whose weights are read now.
        latent: distribution of the latent vectors.
        cumulative: float64 ``[C]``, cumulative shares of the conditions; None for a table without any.
        seed: seed of the random numbers.
        block: rows of a block.
        most: most blocks of a call.
    """

    def __init__(
        self,
        network: TableGenerator,
        latent: Latent,
        cumulative: Tensor | None,
        seed: int,
        block: int,
        most: int,
    ) -> None:
        self._network, self._cumulative, self._block = network, cumulative, block
        self._threads = torch.get_num_threads()
        self._clock = torch.zeros(1, dtype=torch.int64)
        self._codes = torch.empty(most, block, network.spans.num_codes, dtype=torch.int32)
        self._values = torch.empty(most, block, network.spans.num_values)
        weights = [*(each.linear.weight for each in network.blocks), network.last.weight]
        packed = [torch.empty(packed_size(*weight.shape)) for weight in weights]
        self._passes = TablePasses(network, packed, latent, seed, self._clock)
        packing = Tape()
        for weight, to in zip(weights, packed, strict=True):
            packing.stage()
            packing.unit(len(weight), len(weight))
            packing.pack(weight, to, None)
        self._run(packing, 1)
        self._drawing = self._record(Arena(), latent)

    def draw(self, first: int, blocks: int) -> tuple[Tensor, Tensor]:
        """As :meth:`fastgan.training.table_sampling.TableSampler.draw`."""
        self._clock.fill_(first)
        self._run(self._drawing, blocks)
        return self._codes[:blocks].flatten(0, 1), self._values[:blocks].flatten(0, 1)

    def _run(self, tape: Tape, times: int) -> None:
        replay([tape], [0] * times, times, self._threads, 0.0, lambda: False)

    def _record(self, arena: Arena, latent: Latent) -> Tape:
        """A block: all of its calls for some rows, then for others."""
        tape, passes, indices = Tape(), self._passes, Indices(World())
        tape.stage()
        tape.unit(self._block, balanced(self._block, rows_of_entropy(self._network.spans), self._threads))
        (latents,) = indices.take(kind_of(latent), self._block * self._network.latent_dim)
        (shares,) = indices.take(UNIFORM, self._block)
        (noise,) = indices.take(UNIFORM, self._block * self._network.spans.width)
        to = self._memory(arena)
        if self._cumulative is not None:
            assert to.conditions is not None
            uniform = arena.take(self._block)
            passes.draw_uniform(tape, uniform, shares.start)
            tape.draw_conditions(uniform, self._cumulative, to.conditions)
        passes.start(tape, arena, latents.start, to)
        for i in range(len(self._network.blocks)):
            passes.normalize(tape, i, to)
            if i + 1 < len(self._network.blocks):
                passes.product(tape, i + 1, to)
        passes.finish(tape, noise.start, to)
        spans = self._network.spans
        tape.encode(to.rows[:, : spans.width], spans, self._clock, self._codes, self._values)
        tape.stage()
        tape.unit(1, 1)
        tape.count_integer(self._clock, 1)
        return tape

    def _memory(self, arena: Arena) -> Generated:
        spans = self._network.spans
        conditions = None if self._cumulative is None else arena.take_integers(self._block)
        rows = arena.take(self._block, spans.width + spans.num_conditions)
        return self._passes.generated(arena, conditions, rows, learns=False)
