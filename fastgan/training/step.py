"""One training step, the same eager or captured in a CUDA graph. It never waits for the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.training.adam import Adam
from fastgan.training.objective import both_turns, discriminator_turn, generator_turn, r1_turn
from fastgan.training.source import Source
from fastgan.training.state import TrainingState
from fastgan.training.window import Window


def train_step(state: TrainingState, source: Source, window: Window, *, penalize: bool = False) -> None:
    """Give D its turns and G one, move the average and write the statistics down.

    Whoever calls it counts the step, as no number of the host may change in here.

    Args:
        state: what is trained; updated in place.
        source: real samples.
        window: settings and statistics of this step; the latter are of the last of D's turns.
        penalize: add the R1 penalty to D's turns.
    """
    window.begin_step()
    if state.config.update == "simultaneous":
        losses, stats = _update_both(state, source, penalize)
    else:
        for turn in range(state.config.discriminator_steps):
            discriminator_loss, stats = _update_discriminator(state, source, turn, penalize)
        losses = discriminator_loss, _update_generator(state)
    state.update_average()
    window.end_step([*losses, *stats.unbind()])


def _update_discriminator(
    state: TrainingState, source: Source, turn: int, penalize: bool
) -> tuple[Tensor, Tensor]:
    real = source.batch(state, turn)
    with _autocast(state):
        with torch.no_grad():
            fake = _generate(state)
        real, fake = state.blur(real), state.blur(fake)
        result = discriminator_turn(state.discriminator, real, fake)
        _penalize(state, real, penalize)
    _move(state, state.discriminator, state.discriminator_optimizer)
    return result


def _update_generator(state: TrainingState) -> Tensor:
    with _autocast(state):
        fake = state.blur(_generate(state))
        loss = generator_turn(state.discriminator, fake, saturating=_saturating(state))
    _move(state, state.generator, state.generator_optimizer)
    return loss


def _update_both(
    state: TrainingState, source: Source, penalize: bool
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    real = source.batch(state, 0)
    with _autocast(state):
        fake = _generate(state)
        real, fake = state.blur(real), state.blur(fake)
        *losses, stats = both_turns(state.discriminator, real, fake, saturating=_saturating(state))
        _penalize(state, real, penalize)
    _move(state, state.discriminator, state.discriminator_optimizer)
    _move(state, state.generator, state.generator_optimizer)
    return (losses[0], losses[1]), stats


def _generate(state: TrainingState) -> Tensor:
    """This process's share of a batch, in float32 as the real samples are."""
    fake: Tensor = state.generator(state.world.rows(state.latent(state.config.batch_size)))
    return fake.float() if fake.dtype is torch.bfloat16 else fake


def _penalize(state: TrainingState, real: Tensor, penalize: bool) -> None:
    if penalize:
        r1_turn(state.discriminator, real, state.config.r1_gamma * state.config.r1_interval)


def _move(state: TrainingState, player: nn.Module, optimizer: Adam) -> None:
    state.world.average_gradients(optimizer.parameters)
    if state.config.gradient_clip is not None:
        torch.nn.utils.clip_grad_norm_(player.parameters(), state.config.gradient_clip)
    optimizer.step()


def _saturating(state: TrainingState) -> bool:
    return state.config.generator_loss == "saturating"


def _autocast(state: TrainingState) -> torch.autocast:
    # without its cache of casts, which a captured step would fill with tensors of the capture
    enabled = state.config.precision == "bf16"
    return torch.autocast(state.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)
