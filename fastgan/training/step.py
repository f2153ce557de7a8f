"""One training step, eager or captured in a CUDA graph. It never waits for the device.

If you change it, change what records the same step for a CPU too: ``fastgan/training/recording/turns.py``,
``step.py`` and ``table_step.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastgan.kernels import choose
from fastgan.training.adam import Adam
from fastgan.training.dropout_pass import dropout_drawn_by
from fastgan.training.generation import Generation, generation_of
from fastgan.training.labels import bound
from fastgan.training.objectives.penalty import lipschitz_penalty_turn, penalty_turn
from fastgan.training.sgd import SGD
from fastgan.training.source import Source
from fastgan.training.state import TrainingState
from fastgan.training.window import GRADIENT, Window

Statistics = dict[str, Tensor]


def train_step(state: TrainingState, source: Source, window: Window, *, penalize: bool = False) -> None:
    """Update D once for each of its turns, G once and the average, and record the statistics.

    The caller increments ``state.step``: a captured step cannot change numbers of the host.

    Args:
        state: the state, updated in place.
        source: real samples.
        window: settings and statistics of this step; D's statistics are those of its last turn.
        penalize: whether to add the gradient penalties to D's turns.
    """
    state.draws.begin_step(penalize)
    with dropout_drawn_by(state.draws.uniform, state.discriminator):
        if state.config.update == "simultaneous":
            statistics = _update_both(state, source, penalize)
        else:
            statistics = _update_in_turn(state, source, penalize)
    state.update_average()
    window.end_step(statistics)


def _update_in_turn(state: TrainingState, source: Source, penalize: bool) -> Statistics:
    turns = state.config.discriminator_steps
    with autocast(state):
        generation = generation_of(state, source, turns + 1)
    for turn in range(turns):
        real, statistics = _update_discriminator(state, generation, turn, penalize)
    return statistics | _update_generator(state, generation, real)


def _update_discriminator(
    state: TrainingState, generation: Generation, turn: int, penalize: bool
) -> tuple[Tensor, Statistics]:
    """D's turn. Returns the real samples as D saw them, and statistics."""
    with autocast(state):
        real, fake = (state.show(state.augmented(samples)) for samples in generation.batches(turn))
        discriminator = bound(state.discriminator, generation.labels)
        statistics = state.objective.discriminator_turn(discriminator, real, fake)
        state.adapt(statistics)
        _penalize(state, discriminator, real, fake, penalize)
    _move(state, state.discriminator_optimizer)
    return real, statistics


def _update_generator(state: TrainingState, generation: Generation, real: Tensor) -> Statistics:
    with autocast(state):
        shown, reach_samples = _shown_generated(state, generation.batch_of_generator())
        discriminator = bound(state.discriminator, generation.labels)
        grad, statistics = state.objective.generator_turn(discriminator, real, shown)
        generation.reach_parameters(reach_samples(grad))
    _move(state, state.generator_optimizer)
    return statistics | generation.statistics | {GRADIENT: choose(grad).norm(grad, 2)}


def _update_both(state: TrainingState, source: Source, penalize: bool) -> Statistics:
    with autocast(state):
        generation = generation_of(state, source, 1)
        real, fake = generation.batches(0)
        real = state.show(state.augmented(real))
        fake, reach_samples = _shown_generated(state, fake)
        discriminator = bound(state.discriminator, generation.labels)
        grad, statistics = state.objective.both_turns(discriminator, real, fake)
        state.adapt(statistics)
        generation.reach_parameters(reach_samples(grad))
        _penalize(state, discriminator, real, fake, penalize)
    _move(state, state.discriminator_optimizer)
    _move(state, state.generator_optimizer)
    return statistics | generation.statistics | {GRADIENT: choose(grad).norm(grad, 2)}


def _shown_generated(state: TrainingState, fake: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Generated samples as D sees them, and a function from the gradient of these to that of ``fake``."""
    # packing and noise change nothing in the gradient but its shape
    if not state.config.augment:
        return state.show(fake), lambda grad: grad.reshape(fake.shape)
    leaf = fake.detach().requires_grad_()
    augmented = state.augmented(leaf)
    return (
        state.show(augmented.detach()),
        lambda grad: torch.autograd.grad(augmented, leaf, grad.reshape(fake.shape))[0],
    )


def _penalize(
    state: TrainingState, discriminator: nn.Module, real: Tensor, fake: Tensor, penalize: bool
) -> None:
    if not penalize:
        return
    config = state.config
    real, fake = real.detach(), fake.detach()
    for samples, gamma in ((real, config.r1_gamma), (fake, config.r2_gamma)):
        if gamma > 0:
            penalty_turn(discriminator, samples, gamma * config.penalty_interval)
    one_each = len(real), *[1] * (real.dim() - 1)
    if config.gp_weight > 0:
        samples = choose(real).between(real, fake, state.uniform(*one_each))
        lipschitz_penalty_turn(discriminator, samples, config.gp_weight * config.penalty_interval)
    if config.dragan_weight > 0:
        samples = choose(real).around(real, state.uniform(*one_each), state.uniform(*real.shape))
        lipschitz_penalty_turn(discriminator, samples, config.dragan_weight * config.penalty_interval)


def _move(state: TrainingState, optimizer: Adam | SGD) -> None:
    for flat in optimizer.flats:
        flat.gather()
        state.world.average(flat.grads)
    if state.config.gradient_clip is not None:
        grads = [
            flat.grads[part]
            for flat in optimizer.flats
            for part, has_gradient in flat.parts()
            if has_gradient
        ]
        choose(state.settings).clip(grads, state.config.gradient_clip)
    optimizer.step()


def autocast(state: TrainingState) -> torch.autocast:
    """The autocast context of both networks."""
    # no cache of casts: a captured step would fill it with tensors of the graph
    enabled = state.config.precision == "bf16"
    return torch.autocast(state.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)
