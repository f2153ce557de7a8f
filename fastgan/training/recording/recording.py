"""Which steps can be recorded, and what a recording holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from fastgan.chains import Chain, chain_of
from fastgan.kernels import choose
from fastgan.kernels.cpu import Cpu, instruction_set
from fastgan.kernels.cpu.tape import Tape, replay
from fastgan.training.adam import Adam
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.dropout_network import RecordedDropoutNetwork
from fastgan.training.recording.losses import losses_of
from fastgan.training.recording.network import RecordedNetwork
from fastgan.training.recording.step import StepRecorder
from fastgan.training.recording.table_generator import RecordedTableGenerator
from fastgan.training.recording.table_networks import (
    DropoutChain,
    TableGenerator,
    dropout_chain_of,
    table_generator_of,
)
from fastgan.training.recording.table_step import TableStepRecorder
from fastgan.training.recording.turns import ROWS_OF_A_THREAD, Parts, TurnRecorder
from fastgan.training.sgd import SGD
from fastgan.training.source import Resident, Source, Streamed
from fastgan.training.state import TrainingState
from fastgan.training.table_source import TableSource
from fastgan.training.window import Window


@dataclass(frozen=True)
class Situation:
    """What a recording depends on. If it changes, a new recording is made.

    Attributes:
        generator, discriminator: the networks.
        settings: those of the run, and the optimizers' numbers.
        addresses: of all memory that a step uses.
        threads: torch's number of threads, or fewer for a small batch.
        instruction_set: of the kernels.
        process: number of the process; a forked one has none of the threads.
    """

    generator: Chain | TableGenerator
    discriminator: Chain | DropoutChain
    settings: tuple[object, ...]
    addresses: tuple[int, ...]
    threads: int
    instruction_set: str
    process: int

    def change_from(self, before: Situation) -> str | None:
        """What differs from an earlier situation, as a clause; None if nothing does."""
        for name in ("threads", "instruction_set", "process"):
            old, new = getattr(before, name), getattr(self, name)
            if old != new:
                return f"{name.replace('_', ' ')} changed from {old} to {new}"
        for name in ("generator", "discriminator", "settings"):
            if getattr(before, name) != getattr(self, name):
                return f"the {name} changed"
        return None if before == self else "memory of weights or of the optimizers changed"


def situation_of(state: TrainingState, source: Source) -> Situation | str:
    """The situation, or the reason why steps cannot be recorded.

    Parameters that were given other memory are first moved back into the optimizers' buffers.
    """
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for flat in optimizer.flats:
            flat.take_back()
    reason = _run_reason(state, source)
    if reason is not None:
        return reason
    networks = _networks(state, source)
    if isinstance(networks, str):
        return networks
    # further threads would find no rows left; a pack of a table is many rows for G, and a wide one for D
    rows = state.share // (1 if type(source) is TableSource else state.config.pack)
    threads = min(torch.get_num_threads(), max(1, rows // ROWS_OF_A_THREAD))
    return Situation(
        networks[0],
        networks[1],
        _settings(state),
        _addresses(state, source),
        threads,
        instruction_set(),
        os.getpid(),
    )


Networks = tuple[Chain, Chain] | tuple[TableGenerator, DropoutChain]


def _networks(state: TrainingState, source: Source) -> Networks | str:
    """Both networks, or the reason why one of them cannot be recorded."""
    for name, network, optimizer in (
        ("generator", state.generator, state.generator_optimizer),
        ("discriminator", state.discriminator, state.discriminator_optimizer),
    ):
        reason = _parameter_reason(network, optimizer)
        if reason is not None:
            return f"{name}: {reason}"
    is_table = type(source) is TableSource
    generator = table_generator_of(state.generator, training=True) if is_table else chain_of(state.generator)
    discriminator = (dropout_chain_of if is_table else chain_of)(state.discriminator)
    if isinstance(generator, str):
        return f"generator: {generator}"
    if isinstance(discriminator, str):
        return f"discriminator: {discriminator}"
    if isinstance(generator, Chain) and isinstance(discriminator, Chain):
        return _chain_reason(state, generator, discriminator) or (generator, discriminator)
    assert isinstance(generator, TableGenerator)
    assert isinstance(discriminator, DropoutChain)
    return _shared_reason(state) or (generator, discriminator)


def _settings(state: TrainingState) -> tuple[object, ...]:
    optimizers = state.generator_optimizer, state.discriminator_optimizer
    return state.config, *((each.betas, each.eps) for each in optimizers if isinstance(each, Adam))


def _addresses(state: TrainingState, source: Source) -> tuple[int, ...]:
    optimizers = state.generator_optimizer, state.discriminator_optimizer
    flats = [t for each in optimizers for flat in each.flats for t in (flat.values, flat.grads)]
    buffers = [t for each in optimizers for t in each.buffers()]
    scalars = [t for each in optimizers for t in (each.learning_rate, each.average_weight)]
    tensors = [*state.average.parameters(), *flats, *buffers, *scalars, state.settings, state.clock]
    tensors += [t for pair in state.copied for t in pair]
    if type(source) is TableSource:
        tensors += source.table[1:]
    return tuple(map(torch.Tensor.data_ptr, tensors))


def _run_reason(state: TrainingState, source: Source) -> str | None:
    if type(choose(state.clock)) is not Cpu:
        return f"the {choose(state.clock).name} backend computes, expected cpu"
    if state.world.size > 1:
        return f"{state.world.size} processes share the batch, and exchange gradients in each step"
    if state.config.labels:
        return "the networks take labels"
    if state.config.augment:
        return "images are augmented in each step"
    if state.config.precision != "fp32":
        return f"precision is {state.config.precision!r}, expected 'fp32'"
    if losses_of(state.objective, Arena()) is None:
        return f"objective {state.config.objective!r} does not depend on D's logits alone"
    if type(source) is Resident and source.augmentation is not None:
        return "images are cropped and mirrored in each step"
    if type(source) is TableSource and state.config.update == "simultaneous":
        return f"update is {state.config.update!r}, expected 'alternating' for a table"
    if type(source) is TableSource and state.config.instance_noise > 0:
        return "rows of a table have instance noise"
    if type(source) not in (Resident, Streamed, TableSource):
        return f"real samples come from a {type(source).__name__}"
    return None


def _parameter_reason(network: nn.Module, optimizer: Adam | SGD) -> str | None:
    trained = {id(p) for flat in optimizer.flats for p in flat.parameters}
    if not trained <= set(map(id, network.parameters())):
        return "a parameter that the optimizer holds was removed"
    for name, p in network.named_parameters():
        if not p.requires_grad:
            return f"{name} is frozen"
        if p.dtype is not torch.float32:
            return f"{name} is {p.dtype}, expected torch.float32"
        if not p.is_contiguous():
            return f"{name} is not contiguous"
    return None


def _chain_reason(state: TrainingState, generator: Chain, discriminator: Chain) -> str | None:
    if generator.last_activation.kind == "maxout":
        return "generator: ends with a maxout"
    if discriminator.last_activation.kind != "none" or discriminator.linears[-1].out_features != 1:
        return "discriminator: does not end with a linear layer of one logit"
    if not discriminator.flattens and len(generator.sample_shape) > 1:
        return "discriminator: layers act on a part of each sample"
    if state.config.penalizes_at(0) and not discriminator.is_piecewise_linear:
        return "discriminator: has a tanh or sigmoid, and a penalty on its gradient needs autograd"
    return _shared_reason(state)


def _shared_reason(state: TrainingState) -> str | None:
    shared = set(map(id, state.generator.parameters())) & set(map(id, state.discriminator.parameters()))
    return "the networks share a parameter" if shared else None


class Recording:
    """The tapes of steps with and without penalties, and their memory.

    Args:
        state: the run.
        source: real samples.
        window: settings and statistics.
        situation: of both networks and their memory.

    Attributes:
        situation: as given.
        bytes: size of the memory.
    """

    def __init__(self, state: TrainingState, source: Source, window: Window, situation: Situation) -> None:
        self.situation = situation
        sizing = Arena()
        self._record(state, source, window, sizing)
        arena = Arena(sizing.used)
        self._packing, self._steps = self._record(state, source, window, arena)
        self.bytes = 4 * sizing.used

    def _record(
        self, state: TrainingState, source: Source, window: Window, arena: Arena
    ) -> tuple[Tape, dict[bool, Tape]]:
        scalars = Arena()
        losses = losses_of(state.objective, scalars)
        assert losses is not None
        parts = Parts(state, window, losses, scalars, arena, self.situation.threads)
        recorder = self._recorder(parts, source)
        kinds = {state.config.penalizes_at(step) for step in range(state.config.penalty_interval + 1)}
        return recorder.packing(), {kind: recorder.step(kind) for kind in kinds}

    def _recorder(self, parts: Parts, source: Source) -> TurnRecorder:
        generator, discriminator = self.situation.generator, self.situation.discriminator
        state, arena = parts.state, parts.arena
        of_g, of_d = state.generator_optimizer, state.discriminator_optimizer
        if isinstance(generator, TableGenerator):
            assert isinstance(source, TableSource)
            assert isinstance(discriminator, DropoutChain)
            numbers = state.config.seed, state.clock
            dropping = RecordedDropoutNetwork(discriminator, of_d, arena, *numbers)
            generating = RecordedTableGenerator(generator, of_g, arena, state.config.latent, *numbers)
            return TableStepRecorder(parts, source, generating, dropping)
        assert isinstance(source, (Resident, Streamed))
        assert isinstance(discriminator, Chain)
        return StepRecorder(
            parts,
            source,
            RecordedNetwork(generator, of_g, arena, reaches_input=False),
            RecordedNetwork(discriminator, of_d, arena, reaches_input=True),
        )

    def run(self, penalties: list[bool], seconds: float, is_stopping: Callable[[], bool]) -> int:
        """Run at least one step, with a penalty where ``penalties`` says so; return how many were run.

        Args:
            penalties: one for each step.
            seconds: time after which no other step begins.
            is_stopping: called now and then; no other step begins once it returns True.
        """
        kinds = list(self._steps)
        tapes = [self._packing, *self._steps.values()]
        order = [0, *(1 + kinds.index(penalize) for penalize in penalties)]
        least = 2  # packing large weights may take longer than the given time
        return replay(tapes, order, least, self.situation.threads, seconds, is_stopping) - 1
