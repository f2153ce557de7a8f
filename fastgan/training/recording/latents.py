"""Latent vectors of a recorded step: :func:`fastgan.training.latent.draw_latent` as calls."""

from __future__ import annotations

from torch import Tensor

from fastgan.kernels.cpu.tape import Tape
from fastgan.training.config import Latent
from fastgan.training.draws import NORMAL, UNIFORM
from fastgan.training.latent import REACH


def kind_of(latent: Latent) -> int:
    """The kind of random numbers that latent vectors of this distribution take."""
    return UNIFORM if latent == "uniform" else NORMAL


def draw_latent(tape: Tape, to: Tensor, latent: Latent, first_number: int, seed: int, clock: Tensor) -> None:
    """Add the draw of latent vectors, by rows.

    Args:
        tape: the tape.
        to: ``[N, latent_dim]``.
        latent: their distribution.
        first_number: index of the first random number.
        seed: seed of the run.
        clock: int64 ``[1]``: the step.
    """
    tape.draw(to, kind_of(latent), first_number, 1, seed, clock)
    if latent == "uniform":
        tape.scale_shift(to, 2 * REACH, -REACH)
