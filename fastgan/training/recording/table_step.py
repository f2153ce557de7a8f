"""Records :func:`fastgan.training.step.train_step` on a table as native calls, for a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from fastgan.kernels.cpu.tape import rows_of_entropy
from fastgan.training.draws import UNIFORM
from fastgan.training.recording.dropout_network import RecordedDropoutNetwork
from fastgan.training.recording.losses import Statistics
from fastgan.training.recording.pieces import balanced
from fastgan.training.recording.table_generator import RecordedTableGenerator
from fastgan.training.recording.table_pass import Generated
from fastgan.training.recording.turns import Parts, TurnRecorder
from fastgan.training.table_source import ENTROPY, TableSource

_MULTIPLE = 2  # rows of a piece, as the products compute one row in the time of two


class _Turns(NamedTuple):
    """Numbers of all turns, in the order of their draws.

    Attributes:
        latents: index of the first number of each turn's latent vectors.
        conditions: ``[pack + N]`` of each turn, the last ``pack`` of its N conditions in front of all.
        shares: index of the numbers by which each of D's turns draws real rows.
        noise: index of each turn's noise.
    """

    latents: list[int]
    conditions: list[Tensor] | None
    shares: list[int]
    noise: list[int]


class TableStepRecorder(TurnRecorder):
    """Records steps of CTGAN's networks.

    The generator does not change before its own turn, so its passes for all turns are stages of their own.

    Args:
        parts: what any recorder needs.
        source: the table.
        generator, discriminator: calls of both networks.
    """

    def __init__(
        self,
        parts: Parts,
        source: TableSource,
        generator: RecordedTableGenerator,
        discriminator: RecordedDropoutNetwork,
    ) -> None:
        super().__init__(parts, generator, discriminator)
        self._source, self._generator, self._dropping = source, generator, discriminator
        self._rows = balanced(self._shown, _MULTIPLE, parts.threads)
        entropy = rows_of_entropy(source.table.spans)
        self._rows_of_generator = balanced(self._batch, entropy, parts.threads)

    def _updates(self, penalize: bool) -> Statistics:
        self._dropping.begin_step(self._indices)
        turns = self._draw_conditions(self._config.discriminator_steps)
        width = self._discriminator.width
        seen = [self._arena.take(2 * self._shown, width) for _ in turns.shares]
        fake = self._arena.take(self._shown, width)
        shown = [*(each[self._shown :] for each in seen), fake]
        generated = self._generate(turns, [each[: self._shown] for each in seen], shown)
        for each in seen:
            with self._arena.scope():
                self._by_rows()
                statistics = self._turn_of_discriminator(each, penalize)
        self._by_rows()

        def propagate(grad: Tensor) -> Callable[[], None]:
            return self._propagate(grad.view(self._batch, -1), generated)

        statistics |= self._turn_of_generator(seen[-1][: self._shown], fake, propagate)
        return statistics | self._entropy(generated)

    # --- samples of all turns

    def _draw_conditions(self, turns_of_d: int) -> _Turns:
        """Begin the step's first stage, for one thread: it draws the conditions."""
        turns, count, pack = turns_of_d + 1, self._batch, self._config.pack
        latents = self._latent_indices(turns)
        self._serial()
        for block in self._generator.network.blocks:
            assert block.norm.num_batches_tracked is not None
            self._tape.count_integer(block.norm.num_batches_tracked, turns)
        conditions: list[Tensor] | None = None
        if self._source.cumulative is not None:
            conditions = []
            for begin in self._uniform_indices(turns, count):
                uniform, drawn = self._arena.take(count), self._arena.take_integers(pack + count)
                self._generator.passes.draw_uniform(self._tape, uniform, begin)
                self._tape.draw_conditions(uniform, self._source.cumulative, drawn[pack:])
                self._tape.copy_bytes(drawn[count:], drawn[:pack])
                conditions.append(drawn)
        shares = self._uniform_indices(turns_of_d, count)
        noise = self._uniform_indices(turns, count * self._source.table.spans.width)
        return _Turns(latents, conditions, shares, noise)

    def _generate(self, turns: _Turns, real: list[Tensor], fake: list[Tensor]) -> Generated:
        """Write real rows of D's turns, and generated ones of all turns; return the pass of G's turn."""
        tape, generator = self._tape, self._generator
        passes = []
        tape.stage()
        for turn, rows in enumerate(fake):
            self._by_rows_of_generator()
            passes.append(self._start(turns, turn, rows, learns=rows is fake[-1]))
        for turn, rows in enumerate(real):
            tape.unit(self._shown, self._rows)
            self._real(turns, turn, rows)
        for i in range(generator.count_of_blocks):
            tape.stage()
            generator.passes.normalize_batches(tape, i, passes)
            tape.stage()
            for turn, each in enumerate(passes):
                self._by_rows_of_generator()
                if i + 1 < generator.count_of_blocks:
                    generator.passes.product(tape, i + 1, each)
                else:
                    generator.passes.finish(tape, turns.noise[turn], each)
        return passes[-1]

    def _start(self, turns: _Turns, turn: int, rows: Tensor, *, learns: bool) -> Generated:
        conditions = None if turns.conditions is None else turns.conditions[turn][self._config.pack :]
        passes = self._generator.passes
        generated = passes.generated(self._arena, conditions, rows.view(self._batch, -1), learns=learns)
        passes.start(self._tape, self._arena, turns.latents[turn], generated)
        return generated

    def _real(self, turns: _Turns, turn: int, rows: Tensor) -> None:
        """Write real rows, with the conditions of the next pack of generated ones."""
        uniform = self._arena.take(self._batch)
        self._generator.passes.draw_uniform(self._tape, uniform, turns.shares[turn])
        others = None if turns.conditions is None else turns.conditions[turn][: self._batch]
        self._tape.table_rows(self._source.table, others, uniform, rows.view(self._batch, -1))

    def _by_rows_of_generator(self) -> None:
        self._tape.unit(self._batch, self._rows_of_generator)

    def _uniform_indices(self, turns: int, size: int) -> list[int]:
        """Index of the first number of each turn."""
        (indices,) = self._indices.take(UNIFORM, turns * size, turns)
        return [indices.start + turn * size for turn in range(turns)]

    # --- the generator

    def _propagate(self, grad: Tensor, seen: Generated) -> Callable[[], None]:
        tape, generator = self._tape, self._generator
        dz, hidden = generator.gradients(self._arena, self._batch)
        generator.backward_of_spans(tape, grad, seen, dz[-1], hidden)
        for i in reversed(range(generator.count_of_blocks)):
            tape.stage()
            generator.backward_of_norm(tape, i, hidden, seen, dz[i])
            if i > 0:
                tape.stage()
                self._by_rows_of_generator()
                generator.backward_of_product(tape, self._arena, i, dz[i], hidden)
        return lambda: generator.update(tape, self._arena, seen, dz, self._config.gradient_clip)

    def _entropy(self, seen: Generated) -> Statistics:
        """Add a stage for one thread: the step's cross-entropy, and buffers of G's average."""
        self._serial()
        for kept, current in self._state.copied:
            self._tape.copy_bytes(current, kept)
        if seen.entropies is None:
            return {}
        entropy = self._scalars.take(1)
        self._tape.mean_entropy(self._batch, self._generator.network.spans, seen.entropies, entropy)
        return {ENTROPY: entropy}
