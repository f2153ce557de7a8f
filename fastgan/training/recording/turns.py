"""The turns and penalties of a recorded step, whatever the generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from fastgan.kernels.cpu.tape import Tape
from fastgan.training.draws import NORMAL, UNIFORM, Indices
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.latents import kind_of
from fastgan.training.recording.losses import RecordedLosses, Statistics
from fastgan.training.recording.network import Climb, Output, RecordedLayers, RecordedNetwork
from fastgan.training.state import TrainingState
from fastgan.training.window import GRADIENT, Window

Propagate = Callable[[Tensor], Callable[[], None]]
"""Records how the gradient of samples reaches G's layers; returns what adds units for their update."""

ROWS_OF_A_THREAD = 32
"""Rows of a batch, as D sees it, that are worth another thread."""
_PIECES = 2  # of a batch for each thread: with fewer, threads wait; with more, weights are read more often
_MULTIPLE = 8  # rows of the products' tiles


@dataclass(frozen=True)
class Parts:
    """What any recorder needs.

    Attributes:
        state: the run.
        window: settings and statistics.
        losses: calls of the objective.
        scalars: memory of statistics, which are read at the end of a step.
        arena: memory of samples, activations and gradients.
        threads: number of threads that will run the step.
    """

    state: TrainingState
    window: Window
    losses: RecordedLosses
    scalars: Arena
    arena: Arena
    threads: int


class TurnRecorder(ABC):
    """Records steps, with penalties or without. Subclasses record how samples are made.

    Args:
        parts: what any recorder needs.
        generator: the layers whose parameters G's turn updates.
        discriminator: calls of D.
    """

    def __init__(self, parts: Parts, generator: RecordedLayers, discriminator: RecordedNetwork) -> None:
        state = self._state = parts.state
        self._window, self._losses = parts.window, parts.losses
        self._layers_of_generator, self._discriminator = generator, discriminator
        self._scalars, self._arena = parts.scalars, parts.arena
        self._config = state.config
        self._batch, self._shown = state.share, state.share // state.config.pack
        rows = -(-self._shown // (_PIECES * parts.threads))
        self._rows = -(-rows // _MULTIPLE) * _MULTIPLE

    def packing(self) -> Tape:
        """The tape that precedes the first step: it packs all weights."""
        self._tape = Tape()
        self._tape.stage()
        self._layers_of_generator.pack(self._tape)
        self._discriminator.pack(self._tape)
        self._serial()
        return self._tape

    def step(self, penalize: bool) -> Tape:
        self._tape, self._indices = Tape(), Indices(self._state.world)
        with self._arena.scope():
            statistics = self._updates(penalize)
        self._serial()
        self._window.record(self._tape, statistics)
        return self._tape

    @abstractmethod
    def _updates(self, penalize: bool) -> Statistics:
        """Record both updates, and return the statistics."""

    # --- stages

    def _by_rows(self) -> None:
        """Begin a stage by rows of the batch as D sees it."""
        self._tape.stage()
        self._tape.unit(self._shown, self._rows)

    def _serial(self) -> None:
        """Begin a stage for one thread."""
        self._tape.stage()
        self._tape.unit(1, 1)

    # --- turns

    def _turn_of_discriminator(self, seen: Tensor, penalize: bool) -> Statistics:
        """Update D, in a stage by rows in which ``seen`` has been written or will be by calls so far."""
        tape, network, halves = self._tape, self._discriminator, self._halves(seen)
        outputs, dz = network.outputs(self._arena, len(seen)), network.gradients(self._arena, len(seen))
        for half, samples in halves:
            network.forward(tape, samples, rows_of(outputs, half))
        self._serial()
        network.count(tape)
        logits, grad = outputs[-1].activated, dz[-1]
        (real_half, _), (fake_half, _) = halves
        statistics = self._losses.discriminator(
            tape, logits[real_half], logits[fake_half], grad[real_half], grad[fake_half]
        )
        deviation = self._deviation(halves[0][1], penalize)
        self._by_rows()
        for half, _ in halves:
            of_half = [t[half] for t in dz]
            network.backward(tape, self._arena, grad[half], rows_of(outputs, half), of_half, None)
        climbs = self._penalties(halves, outputs, deviation) if penalize else []
        tape.stage()
        network.update(tape, self._arena, seen, outputs, dz, climbs=climbs, clip=self._config.gradient_clip)
        return statistics

    def _turn_of_generator(self, real: Tensor, fake: Tensor, propagate: Propagate) -> Statistics:
        """Update G, in a stage by rows in which ``fake`` has been written or will be by calls so far."""
        tape, network = self._tape, self._discriminator
        real_logits: Tensor | None = None
        if self._losses.paired:
            of_real = network.outputs(self._arena, len(real))
            network.forward(tape, real, of_real)
            real_logits = of_real[-1].activated
        outputs, dz = network.outputs(self._arena, len(fake)), network.gradients(self._arena, len(fake))
        network.forward(tape, fake, outputs)
        self._serial()
        self._layers_of_generator.count(tape)
        statistics = self._losses.generator(tape, real_logits, outputs[-1].activated, dz[-1])
        self._by_rows()
        grad = self._arena.take(*fake.shape)
        network.backward(tape, self._arena, dz[-1], outputs, dz, grad)
        update = propagate(grad)
        tape.stage()
        statistics |= self._gradient(grad)
        update()
        return statistics

    def _gradient(self, grad: Tensor) -> Statistics:
        """Add a unit that computes the norm of the gradient that reaches G's samples."""
        norm = self._scalars.take(1)
        self._tape.unit(1, 1)
        self._tape.norm(grad, 2, norm)
        return {GRADIENT: norm}

    # --- samples

    def _halves(self, seen: Tensor) -> tuple[tuple[slice, Tensor], tuple[slice, Tensor]]:
        """Rows of real and of generated samples."""
        real, fake = slice(0, self._shown), slice(self._shown, None)
        return (real, seen[real]), (fake, seen[fake])

    def _show(self, make: Callable[[Tensor], None], into: Tensor) -> None:
        """Write samples as D sees them: with instance noise. Packs are only another view of their memory."""
        if self._config.instance_noise == 0:
            make(into)
            return
        plain, noise = self._arena.take(*into.shape), self._arena.take(*into.shape)
        make(plain)
        (indices,) = self._indices.take(NORMAL, into.numel())
        self._tape.draw(noise, NORMAL, indices.start, 1, self._config.seed, self._state.clock)
        self._tape.add_noise(plain, noise, self._state.noise, into)

    def _latent_indices(self, turns: int) -> list[int]:
        """Index of the first number of each turn's latent vectors."""
        size = self._batch * self._config.latent_dim
        (indices,) = self._indices.take(kind_of(self._config.latent), turns * size, turns)
        return [indices.start + turn * size for turn in range(turns)]

    # --- penalties (fastgan/training/objectives/penalty.py)

    def _deviation(self, real: Tensor, penalize: bool) -> Tensor | None:
        """Half the standard deviation of the real samples, which DRAGAN needs of the whole batch."""
        if not penalize or self._config.dragan_weight == 0:
            return None
        deviation = self._arena.take(1)
        self._tape.half_deviation(real, deviation)
        return deviation

    def _penalties(
        self,
        halves: tuple[tuple[slice, Tensor], tuple[slice, Tensor]],
        outputs: Sequence[Output],
        deviation: Tensor | None,
    ) -> list[Climb]:
        config, tape, network = self._config, self._tape, self._discriminator
        climbs: list[Climb] = []
        (_, real), (_, fake) = halves
        for (half, samples), gamma in zip(halves, (config.r1_gamma, config.r2_gamma), strict=True):
            if gamma > 0:
                factor = gamma * config.penalty_interval / self._shown
                seen = network.outputs_again(tape, self._arena, samples, rows_of(outputs, half))
                climbs.append(self._penalty(samples, seen, factor, "scale"))
        if config.gp_weight > 0:
            share, mixed = self._uniform(1), self._arena.take(*real.shape)
            tape.between(real, fake, share, mixed)
            climbs.append(self._lipschitz_penalty(mixed, config.gp_weight))
        if deviation is not None:
            share, noise = self._uniform(1), self._uniform(real.shape[1])
            near = self._arena.take(*real.shape)
            tape.around(real, share, noise, deviation, near)
            climbs.append(self._lipschitz_penalty(near, config.dragan_weight))
        return climbs

    def _lipschitz_penalty(self, samples: Tensor, weight: float) -> Climb:
        outputs = self._discriminator.outputs(self._arena, len(samples))
        self._discriminator.forward(self._tape, samples, outputs)
        return self._penalty(
            samples, outputs, weight * self._config.penalty_interval / self._shown, "lipschitz"
        )

    def _penalty(self, samples: Tensor, outputs: Sequence[Output], weight: float, kind: str) -> Climb:
        tape, network = self._tape, self._discriminator
        u = network.gradients(self._arena, len(samples))
        slope, a = self._arena.take(*samples.shape), self._arena.take(*samples.shape)
        tape.fill(u[-1], 1.0)
        network.backward(tape, self._arena, u[-1], outputs, u, slope)
        if kind == "scale":
            tape.scale(slope, weight, a)
        else:
            tape.lipschitz(slope, weight, a)
        return network.climb(tape, self._arena, a, outputs, u)

    def _uniform(self, width: int) -> Tensor:
        """Draw ``width`` numbers in [0, 1) for each sample as D sees it."""
        drawn = self._arena.take(self._shown, width)
        (indices,) = self._indices.take(UNIFORM, drawn.numel())
        self._tape.draw(drawn, UNIFORM, indices.start, 1, self._config.seed, self._state.clock)
        return drawn


def rows_of(outputs: Sequence[Output], part: slice) -> list[Output]:
    """Some rows of all outputs."""
    return [output.rows(part) for output in outputs]
