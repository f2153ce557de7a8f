"""The calls of a discriminator with dropout in a recorded step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from fastgan.kernels.cpu.tape import Tape
from fastgan.training.adam import Adam
from fastgan.training.draws import UNIFORM, Indices
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.network import Output, RecordedNetwork
from fastgan.training.recording.table_networks import DropoutChain
from fastgan.training.sgd import SGD


class RecordedDropoutNetwork(RecordedNetwork):
    """Leaky ReLU layers with dropout, and a last linear layer.

    Args:
        network: the layers.
        optimizer: holds their parameters in one buffer.
        arena: for packed weights.
        seed: seed of the run.
        clock: int64 ``[1]``: the step, on which the numbers of dropout depend.
    """

    def __init__(
        self, network: DropoutChain, optimizer: Adam | SGD, arena: Arena, seed: int, clock: Tensor
    ) -> None:
        super().__init__(network.chain, optimizer, arena, reaches_input=True)
        self._shares, self._seed, self._clock = network.shares, seed, clock

    def begin_step(self, indices: Indices) -> None:
        """Take the numbers of dropout from these indices, in the order of :meth:`outputs`."""
        self._indices = indices

    def outputs(self, arena: Arena, rows: int, last: Tensor | None = None) -> list[Output]:
        outputs = super().outputs(arena, rows, last)
        for i, share in enumerate(self._shares):
            if share > 0:
                shape = outputs[i].linear.shape
                (indices,) = self._indices.take(UNIFORM, shape.numel())
                drawn = arena.take(*shape)
                outputs[i] = replace(outputs[i], derivative=drawn, first_number=indices.start)
        return outputs

    def outputs_again(
        self, tape: Tape, arena: Arena, x: Tensor, outputs: Sequence[Output]
    ) -> Sequence[Output]:
        again = self.outputs(arena, len(x))
        self.forward(tape, x, again)
        return again

    def _drop(self, tape: Tape, i: int, output: Output) -> None:
        if output.derivative is not None:
            numbers = output.first_number, self._seed, self._clock
            slope = self.activations[i].negative_slope
            tape.dropout(output.linear, output.derivative, *numbers, self._shares[i], slope)
