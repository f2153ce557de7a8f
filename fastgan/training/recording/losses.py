"""The losses of a recorded step: derivatives with respect to logits, and statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fastgan.kernels.cpu.tape import Tape
from fastgan.kernels.logit_losses import LossSpec
from fastgan.training.objectives import Objective
from fastgan.training.objectives.logits import SHARE
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.objectives.relativistic import Relativistic, RelativisticAverage
from fastgan.training.recording.arena import Arena

Statistics = dict[str, Tensor]


class RecordedLosses(Protocol):
    """Both losses, as calls for all rows at once. Each tensor of logits or gradients is ``[N, 1]``.

    Attributes:
        paired: whether G's loss depends on the logits of real samples too.
    """

    paired: bool

    def discriminator(
        self, tape: Tape, real: Tensor, fake: Tensor, grad_real: Tensor, grad_fake: Tensor
    ) -> Statistics:
        """Compute the derivatives of D's loss with respect to both."""

    def generator(self, tape: Tape, real: Tensor | None, fake: Tensor, grad: Tensor) -> Statistics:
        """Compute the derivative of G's loss with respect to ``fake``."""


def losses_of(objective: Objective, arena: Arena) -> RecordedLosses | None:
    """The losses of an objective; None if it does not depend on logits alone."""
    if type(objective) is LossObjective:
        return _Labelled(objective, arena)
    if type(objective) is Relativistic:
        return _Relativistic(objective, arena)
    if type(objective) is RelativisticAverage:
        return _RelativisticAverage(objective, arena)
    return None


@dataclass
class _Labelled:
    objective: LossObjective
    arena: Arena
    paired: bool = False

    def discriminator(
        self, tape: Tape, real: Tensor, fake: Tensor, grad_real: Tensor, grad_fake: Tensor
    ) -> Statistics:
        spec = self.objective.discriminator_spec
        loss, stats = _loss(tape, self.arena, [real, fake], spec, [grad_real, grad_fake])
        return self.objective.of_discriminator(loss, stats)

    def generator(self, tape: Tape, real: Tensor | None, fake: Tensor, grad: Tensor) -> Statistics:
        loss, _ = _loss(tape, self.arena, [fake], self.objective.generator_spec, [grad])
        statistics = {"loss_G": loss}
        if SHARE in self.objective.statistics:
            statistics[SHARE] = self.arena.take(1)
            tape.norm(grad, 1, statistics[SHARE])
        return statistics


@dataclass
class _Relativistic:
    objective: Relativistic
    arena: Arena
    paired: bool = True

    def discriminator(
        self, tape: Tape, real: Tensor, fake: Tensor, grad_real: Tensor, grad_fake: Tensor
    ) -> Statistics:
        loss, stats = self._of_differences(tape, real, fake, grad_real)
        tape.scale(grad_real, -1.0, grad_fake)
        return self.objective.of_discriminator(loss, stats)

    def generator(self, tape: Tape, real: Tensor | None, fake: Tensor, grad: Tensor) -> Statistics:
        assert real is not None
        loss, _ = self._of_differences(tape, fake, real, grad)
        share = self.arena.take(1)
        tape.norm(grad, 1, share)
        return {"loss_G": loss, SHARE: share}

    def _of_differences(
        self, tape: Tape, ours: Tensor, theirs: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor]:
        difference = self.arena.take(*ours.shape)
        tape.subtract(ours, theirs, 1, difference)
        return _loss(tape, self.arena, [difference], LossSpec.of("bce", (1.0,), (1.0,), mean=True), [grad])


@dataclass
class _RelativisticAverage:
    objective: RelativisticAverage
    arena: Arena
    paired: bool = True

    def discriminator(
        self, tape: Tape, real: Tensor, fake: Tensor, grad_real: Tensor, grad_fake: Tensor
    ) -> Statistics:
        loss, stats = self._of_centred(tape, real, fake, grad_real, grad_fake)
        return self.objective.of_discriminator(loss, stats)

    def generator(self, tape: Tape, real: Tensor | None, fake: Tensor, grad: Tensor) -> Statistics:
        assert real is not None
        loss, _ = self._of_centred(tape, fake, real, grad, self.arena.take(*real.shape))
        norm, share = self.arena.take(1), self.arena.take(1)
        tape.norm(grad, 1, norm)
        tape.scale(norm, 0.5, share)
        return {"loss_G": loss, SHARE: share}

    def _of_centred(
        self, tape: Tape, ours: Tensor, theirs: Tensor, grad_ours: Tensor, grad_theirs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As :func:`fastgan.ops.relativistic_loss_value_and_grad` with ``average``."""
        sides, centred, firsts = (ours, theirs), [], []
        for side, other in (sides, sides[::-1]):
            mean, difference = self.arena.take(1), self.arena.take(*side.shape)
            self._total(tape, other, mean, mean_of_them=True)
            tape.subtract(side, mean, 1, difference)
            centred.append(difference)
            firsts.append(self.arena.take(*side.shape))
        spec = LossSpec.of("bce", (1.0, 0.0), (1.0, 1.0), mean=True)
        loss, stats = _loss(tape, self.arena, centred, spec, firsts)
        for first, second, grad in zip(firsts, firsts[::-1], (grad_ours, grad_theirs), strict=True):
            through_mean = self.arena.take(1)
            self._total(tape, second, through_mean, mean_of_them=False)
            tape.subtract(first, through_mean, first.numel(), grad)
        return loss, stats

    def _total(self, tape: Tape, tensor: Tensor, into: Tensor, *, mean_of_them: bool) -> None:
        spec = LossSpec("wasserstein", (0.0,), (1.0,), mean_of_them)
        tape.loss([tensor], spec, [], into, None)


def _loss(
    tape: Tape, arena: Arena, logits: list[Tensor], spec: LossSpec, grads: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Loss and statistics: the mean output for each tensor, and the share of saturated logits."""
    total, details = arena.take(1), arena.take(2 * len(logits) + 1)
    tape.loss(logits, spec, grads, total, details)
    return total, details[len(logits) :]
