"""Records :func:`fastgan.training.step.train_step` as native calls, for a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from fastgan.kernels.cpu.tape import Tape
from fastgan.training.draws import INTEGERS, NORMAL, UNIFORM, Indices
from fastgan.training.latent import REACH
from fastgan.training.recording.arena import Arena
from fastgan.training.recording.losses import RecordedLosses, Statistics
from fastgan.training.recording.network import Climb, Output, RecordedNetwork
from fastgan.training.source import Resident, Streamed
from fastgan.training.state import TrainingState
from fastgan.training.window import GRADIENT, Window

ROWS_OF_A_THREAD = 32
"""Rows of a batch, as D sees it, that are worth another thread."""
_PIECES = 2  # of a batch for each thread: with fewer, threads wait; with more, weights are read more often
_MULTIPLE = 8  # rows of the products' tiles


class StepRecorder:
    """Records steps, with penalties or without.

    Args:
        state: the run.
        source: real samples.
        window: settings and statistics.
        generator, discriminator: calls of both networks.
        losses: calls of the objective.
        scalars: memory of statistics, which are read at the end of a step.
        arena: memory of samples, activations and gradients.
        threads: number of threads that will run the step.
    """

    def __init__(
        self,
        state: TrainingState,
        source: Resident | Streamed,
        window: Window,
        generator: RecordedNetwork,
        discriminator: RecordedNetwork,
        losses: RecordedLosses,
        scalars: Arena,
        arena: Arena,
        threads: int,
    ) -> None:
        self._state, self._source, self._window = state, source, window
        self._generator, self._discriminator, self._losses = generator, discriminator, losses
        self._scalars, self._arena = scalars, arena
        self._config = state.config
        self._batch, self._shown = state.share, state.share // state.config.pack
        rows = -(-self._shown // (_PIECES * threads))
        self._rows = -(-rows // _MULTIPLE) * _MULTIPLE

    def packing(self) -> Tape:
        """The tape that precedes the first step: it packs all weights."""
        self._tape = Tape()
        self._tape.stage()
        self._generator.pack(self._tape)
        self._discriminator.pack(self._tape)
        self._serial()
        return self._tape

    def step(self, penalize: bool) -> Tape:
        self._tape, self._indices = Tape(), Indices(self._state.world)
        with self._arena.scope():
            if self._config.update == "simultaneous":
                statistics = self._both(penalize)
            else:
                statistics = self._in_turn(penalize)
        self._serial()
        self._window.record(self._tape, statistics)
        return self._tape

    # --- stages

    def _by_rows(self) -> None:
        """Begin a stage by rows of the batch as D sees it."""
        self._tape.stage()
        self._tape.unit(self._shown, self._rows)

    def _serial(self) -> None:
        """Begin a stage for one thread."""
        self._tape.stage()
        self._tape.unit(1, 1)

    # --- updates

    def _in_turn(self, penalize: bool) -> Statistics:
        turns = self._config.discriminator_steps
        latents = self._latent_indices(turns + 1)
        seen = self._arena.take(2 * self._shown, self._discriminator.width)
        for turn, indices in enumerate(latents[:-1]):
            with self._arena.scope():
                statistics = self._turn_of_discriminator(seen, turn, indices, penalize)
        return statistics | self._turn_of_generator(seen, latents[-1])

    def _turn_of_discriminator(self, seen: Tensor, turn: int, latents: int, penalize: bool) -> Statistics:
        tape, network, halves = self._tape, self._discriminator, self._halves(seen)
        outputs, dz = network.outputs(self._arena, len(seen)), network.gradients(self._arena, len(seen))
        self._by_rows()
        self._real(turn, halves[0][1])
        self._fake(latents, halves[1][1])
        for half, samples in halves:
            network.forward(tape, samples, _rows(outputs, half))
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
            network.backward(tape, self._arena, grad[half], _rows(outputs, half), [t[half] for t in dz], None)
        climbs = self._penalties(halves, outputs, deviation) if penalize else []
        tape.stage()
        network.update(tape, self._arena, seen, outputs, dz, climbs=climbs, clip=self._config.gradient_clip)
        return statistics

    def _turn_of_generator(self, seen: Tensor, latents: int) -> Statistics:
        tape, network = self._tape, self._discriminator
        (_, real), (_, fake) = self._halves(seen)
        outputs, dz = network.outputs(self._arena, len(fake)), network.gradients(self._arena, len(fake))
        self._by_rows()
        generated = self._fake(latents, fake)
        network.forward(tape, fake, outputs)
        real_logits: Tensor | None = None
        if self._losses.paired:
            of_real = network.outputs(self._arena, len(real))
            network.forward(tape, real, of_real)
            real_logits = of_real[-1].activated
        self._serial()
        self._generator.count(tape)
        statistics = self._losses.generator(tape, real_logits, outputs[-1].activated, dz[-1])
        self._by_rows()
        grad = self._arena.take(*fake.shape)
        network.backward(tape, self._arena, dz[-1], outputs, dz, grad)
        of_generator = self._back_through_generator(grad, generated)
        tape.stage()
        statistics |= self._gradient(grad)
        self._update_generator(generated, of_generator)
        return statistics

    def _both(self, penalize: bool) -> Statistics:
        """Pass through D once for both losses (:meth:`fastgan.training.mlp_pass.MLPPass.reach_both`)."""
        tape, network = self._tape, self._discriminator
        (latents,) = self._latent_indices(1)
        seen = self._arena.take(2 * self._shown, network.width)
        halves = self._halves(seen)
        (real_half, real), (fake_half, fake) = halves
        outputs, u = network.outputs(self._arena, len(seen)), network.gradients(self._arena, len(seen))
        of_d, of_g = self._arena.take(len(seen), 1), self._arena.take(len(fake), 1)
        self._by_rows()
        self._real(0, real)
        generated = self._fake(latents, fake)
        for half, samples in halves:
            network.forward(tape, samples, _rows(outputs, half))
        self._serial()
        network.count(tape)
        self._generator.count(tape)
        logits = outputs[-1].activated
        of_real, of_fake = logits[real_half], logits[fake_half]
        statistics = self._losses.discriminator(tape, of_real, of_fake, of_d[real_half], of_d[fake_half])
        statistics |= self._losses.generator(tape, of_real, of_fake, of_g)
        deviation = self._deviation(real, penalize)
        self._by_rows()
        slope, grad = self._arena.take(*fake.shape), self._arena.take(*fake.shape)
        for half, dx in ((real_half, None), (fake_half, slope)):
            ones = u[-1][half]
            tape.fill(ones, 1.0)
            network.backward(tape, self._arena, ones, _rows(outputs, half), [t[half] for t in u], dx)
        tape.multiply_rows(slope, of_g, grad)
        of_generator = self._back_through_generator(grad, generated)
        climbs = self._penalties(halves, outputs, deviation) if penalize else []
        tape.stage()
        statistics |= self._gradient(grad)
        clip = self._config.gradient_clip
        network.update(tape, self._arena, seen, outputs, u, scale=of_d, climbs=climbs, clip=clip)
        if clip is not None:
            tape.stage()
        self._update_generator(generated, of_generator)
        return statistics

    # --- samples

    def _halves(self, seen: Tensor) -> tuple[tuple[slice, Tensor], tuple[slice, Tensor]]:
        """Rows of real and of generated samples."""
        real, fake = slice(0, self._shown), slice(self._shown, None)
        return (real, seen[real]), (fake, seen[fake])

    def _real(self, turn: int, into: Tensor) -> None:
        """Write the real samples of one of D's turns, as D sees them."""
        if isinstance(self._source, Streamed):
            batch = self._source.turns[turn]
            self._show(lambda to: self._tape.copy(batch, to), into)
            return
        samples = self._source.samples
        rows = self._arena.take_integers(self._batch)
        (indices,) = self._indices.take(INTEGERS, self._batch)
        self._tape.draw(rows, INTEGERS, indices.start, len(samples), self._config.seed, self._state.clock)
        self._show(lambda to: self._tape.gather(samples, rows, to), into)

    def _fake(self, latents: int, into: Tensor) -> tuple[Tensor, list[Output]]:
        """Write a batch of G, as D sees it; return its latent vectors and G's outputs.

        Args:
            latents: index of the first number of the latent vectors.
            into: memory of the batch.
        """
        tape, network, config = self._tape, self._generator, self._config
        latent = self._arena.take(self._batch, network.width)
        kind = UNIFORM if config.latent == "uniform" else NORMAL
        tape.draw(latent, kind, latents, 1, config.seed, self._state.clock)
        if config.latent == "uniform":
            tape.scale_shift(latent, 2 * REACH, -REACH)
        outputs: list[Output] = []

        def generate(to: Tensor) -> None:
            outputs.extend(network.outputs(self._arena, self._batch, last=to.view(self._batch, -1)))
            network.forward(tape, latent, outputs)

        self._show(generate, into)
        return latent, outputs

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
        kind = UNIFORM if self._config.latent == "uniform" else NORMAL
        size = self._batch * self._config.latent_dim
        (indices,) = self._indices.take(kind, turns * size, turns)
        return [indices.start + turn * size for turn in range(turns)]

    # --- the generator

    def _back_through_generator(self, grad: Tensor, generated: tuple[Tensor, list[Output]]) -> list[Tensor]:
        """Propagate the gradient of the samples to the outputs of G's linear layers."""
        outputs = generated[1]
        dz = self._generator.gradients(self._arena, self._batch)
        grad = grad.view(self._batch, -1)
        if self._generator.activations[-1].kind == "none":
            dz[-1] = grad
        self._generator.backward(self._tape, self._arena, grad, outputs, dz, None)
        return dz

    def _update_generator(self, generated: tuple[Tensor, list[Output]], dz: Sequence[Tensor]) -> None:
        clip = self._config.gradient_clip
        self._generator.update(self._tape, self._arena, *generated, dz, clip=clip)

    def _gradient(self, grad: Tensor) -> Statistics:
        """Add a unit that computes the norm of the gradient that reaches G's samples."""
        norm = self._scalars.take(1)
        self._tape.unit(1, 1)
        self._tape.norm(grad, 2, norm)
        return {GRADIENT: norm}

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
        config, climbs = self._config, []
        (_, real), (_, fake) = halves
        for (half, samples), gamma in zip(halves, (config.r1_gamma, config.r2_gamma), strict=True):
            if gamma > 0:
                factor = gamma * config.penalty_interval / self._shown
                climbs.append(self._penalty(samples, _rows(outputs, half), factor, "scale"))
        if config.gp_weight > 0:
            share, mixed = self._uniform(1), self._arena.take(*real.shape)
            self._tape.between(real, fake, share, mixed)
            climbs.append(self._lipschitz_penalty(mixed, config.gp_weight))
        if deviation is not None:
            share, noise = self._uniform(1), self._uniform(real.shape[1])
            near = self._arena.take(*real.shape)
            self._tape.around(real, share, noise, deviation, near)
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


def _rows(outputs: Sequence[Output], part: slice) -> list[Output]:
    return [output.rows(part) for output in outputs]
