"""Records :func:`fastgan.training.step.train_step` of two chains of layers as native calls, for a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from fastgan.training.draws import INTEGERS
from fastgan.training.recording.latents import draw_latent
from fastgan.training.recording.losses import Statistics
from fastgan.training.recording.network import Output, RecordedNetwork
from fastgan.training.recording.turns import Parts, TurnRecorder, rows_of
from fastgan.training.source import Resident, Streamed


class StepRecorder(TurnRecorder):
    """Records steps of a generator that is a chain of layers.

    Args:
        parts: what any recorder needs.
        source: real samples.
        generator, discriminator: calls of both networks.
    """

    def __init__(
        self,
        parts: Parts,
        source: Resident | Streamed,
        generator: RecordedNetwork,
        discriminator: RecordedNetwork,
    ) -> None:
        super().__init__(parts, generator, discriminator)
        self._source, self._generator = source, generator

    def _updates(self, penalize: bool) -> Statistics:
        return self._both(penalize) if self._config.update == "simultaneous" else self._in_turn(penalize)

    def _in_turn(self, penalize: bool) -> Statistics:
        turns = self._config.discriminator_steps
        latents = self._latent_indices(turns + 1)
        seen = self._arena.take(2 * self._shown, self._discriminator.width)
        (_, real), (_, fake) = self._halves(seen)
        for turn, indices in enumerate(latents[:-1]):
            with self._arena.scope():
                self._by_rows()
                self._real(turn, real)
                self._fake(indices, fake)
                statistics = self._turn_of_discriminator(seen, penalize)
        self._by_rows()
        generated = self._fake(latents[-1], fake)

        def propagate(grad: Tensor) -> Callable[[], None]:
            dz = self._back_through_generator(grad, generated)
            return lambda: self._update_generator(generated, dz)

        return statistics | self._turn_of_generator(real, fake, propagate)

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
            network.forward(tape, samples, rows_of(outputs, half))
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
            network.backward(tape, self._arena, ones, rows_of(outputs, half), [t[half] for t in u], dx)
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
        draw_latent(tape, latent, config.latent, latents, config.seed, self._state.clock)
        outputs: list[Output] = []

        def generate(to: Tensor) -> None:
            outputs.extend(network.outputs(self._arena, self._batch, last=to.view(self._batch, -1)))
            network.forward(tape, latent, outputs)

        self._show(generate, into)
        return latent, outputs

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
