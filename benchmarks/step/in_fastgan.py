"""The step of fastgan's training loop, including its generator average and its statistics."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from benchmarks.machine import finish_of
from benchmarks.step.problem import BETAS, LATENT_DIM, LEARNING_RATE, SAMPLE_DIM, Problem
from fastgan.models import MLPDiscriminator, MLPGenerator
from fastgan.training import TrainConfig
from fastgan.training.capture import steps_of
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.step import train_step
from fastgan.training.window import Window


class Given:
    """A source that returns fixed samples."""

    def __init__(self, real: Tensor) -> None:
        self.real, self.dtype = real, real.dtype

    def prepare(self, state: TrainingState) -> None:
        pass

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        return self.real if into is None else into.copy_(self.real)


class Fastgan:
    """Does its steps as the trainer does: asks for all that are left before the next log point at once.

    Args:
        steps: in one call of ``run``; on a GPU also in one CUDA graph.
    """

    def __init__(
        self, problem: Problem, device: str = "cpu", steps: int = 1, precision: str = "fp32"
    ) -> None:
        self.steps_a_run, self.finish = steps, finish_of(device)
        config = TrainConfig(
            batch_size=problem.batch,
            latent_dim=LATENT_DIM,
            learning_rate=LEARNING_RATE,
            learning_rate_decay=0.0,
            betas=BETAS,
            update="simultaneous" if problem.simultaneous else "alternating",
            device=device,
            steps_per_replay=steps,
            precision=precision,  # type: ignore[arg-type]
            r1_gamma=problem.r1_gamma,
            penalty_interval=1,
        )
        widths = [problem.width] * 2
        generator = MLPGenerator(LATENT_DIM, (SAMPLE_DIM,), widths, bounded=True)
        discriminator = MLPDiscriminator((SAMPLE_DIM,), widths)
        with torch.no_grad():
            for module, weights in zip((generator, discriminator), problem.weights(), strict=True):
                for p, given in zip(module.parameters(), itertools.chain(*weights), strict=True):
                    p.copy_(given)
        self.state = TrainingState(generator, discriminator, config)
        self.window = Window(self.state)
        self.steps = steps_of(self.state, Resident(problem.data(device)), self.window)

    def step(self, real: Tensor, first: Tensor, second: Tensor) -> None:
        given = iter((first, second))
        self.state.latents = lambda turns: torch.cat([next(given) for _ in range(turns)])  # type: ignore[method-assign]
        train_step(self.state, Given(real), self.window, penalize=self.state.config.penalizes_at(0))
        del self.state.latents  # type: ignore[method-assign]
        self.window.open()

    def run(self) -> None:
        interval = self.state.config.log_interval
        end = self.state.step + self.steps_a_run
        while self.state.step < end:
            self.steps.advance(min(end - self.state.step, interval - self.state.step % interval))
            if self.state.step % interval == 0:
                self.window.close()
                self.window.open()

    def weights(self) -> list[Tensor]:
        modules = self.state.generator, self.state.discriminator
        return [p.detach().cpu() for module in modules for p in module.parameters()]
