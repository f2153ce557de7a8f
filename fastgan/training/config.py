"""What a training run can be told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch

GeneratorLoss = Literal["non-saturating", "saturating"]
_MOST = 2**31 - 1


class ConfigError(ValueError):
    """A setting that training cannot run with; the message names it and what it should be."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. A step is ``discriminator_steps`` turns of D and one of G.

    Attributes:
        steps: how many steps to train for.
        batch_size: real samples, and generated samples, in each turn.
        latent_dim: size of the generator's input, drawn from a standard normal.
        learning_rate: of both players' Adam, before its decay.
        learning_rate_decay: share of the run, at its end, over which the learning rate falls
            linearly to zero; 0 keeps it constant, 1 lets it fall from the first step.
        betas: of both players' Adam.
        ema_decay: decay, each step, of the exponential moving average of the generator's
            weights, from which samples are drawn; 0 follows the weights themselves.
        instance_noise: standard deviation of the Gaussian noise added to all samples that D sees
            at first; it falls linearly to zero over the first half of the run. While it blurs
            the modes of the data into each other, the generator can even out how often it
            visits each (Sønderby et al., 2017; Arjovsky and Bottou, 2017).
        generator_loss: ``"non-saturating"``, -log D(G(z)), or ``"saturating"``,
            log(1 - D(G(z))).
        discriminator_steps: turns of D for each turn of G.
        seed: of the latent vectors and the choice of batches.
        device: where to train, as in ``torch.device``.
        threads: CPU threads of torch while training; None leaves them as they are. Matrices of
            64 columns are too small to share out: with other work on the machine, two threads
            on two cores waited for each other and took ten times as long as one.
        log_interval: steps between two logged rows; statistics stay on the device until then.
        sample_interval: steps between two sample pictures.
        checkpoint_interval: steps between two checkpoints.

    Raises:
        ConfigError: if a value is of another type or out of its range.
    """

    steps: int = 12_000
    batch_size: int = 256
    latent_dim: int = 64
    learning_rate: float = 1e-3
    learning_rate_decay: float = 1.0
    betas: tuple[float, float] = (0.5, 0.999)
    ema_decay: float = 0.999
    instance_noise: float = 0.0
    generator_loss: GeneratorLoss = "non-saturating"
    discriminator_steps: int = 1
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    log_interval: int = 100
    sample_interval: int = 2_000
    checkpoint_interval: int = 2_000

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "latent_dim",
            "discriminator_steps",
            "log_interval",
            "sample_interval",
            "checkpoint_interval",
        ):
            self._check_whole(name, 1, _MOST)
        if self.threads is not None:
            self._check_whole("threads", 1, _MOST)
        self._check_whole("seed", 0, 2**63 - 1)
        self._check_real("learning_rate", lambda rate: 0 < rate < math.inf, "above 0 and finite")
        self._check_real("learning_rate_decay", lambda share: 0 <= share <= 1, "from 0 to 1")
        self._check_real("ema_decay", lambda decay: 0 <= decay < 1, "from 0 to below 1")
        self._check_real("instance_noise", lambda sigma: 0 <= sigma < math.inf, "at least 0 and finite")
        self._check("betas", _are_betas(self.betas), "two numbers from 0 to below 1")
        losses = get_args(GeneratorLoss)
        self._check("generator_loss", self.generator_loss in losses, " or ".join(losses))
        self._check("device", isinstance(self.device, str), "a name such as cpu or cuda")
        self._check_device()

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of the given step, counted from 0."""
        if self.learning_rate_decay == 0:
            return self.learning_rate
        remaining = (self.steps - step) / (self.learning_rate_decay * self.steps)
        return self.learning_rate * min(1.0, remaining)

    def noise_at(self, step: int) -> float:
        """Standard deviation of the instance noise of the given step, counted from 0."""
        return self.instance_noise * max(0.0, 1 - 2 * step / self.steps)

    def _check(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    def _check_whole(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        self._check(name, is_whole(value) and low <= value <= high, f"a whole number from {low} to {high}")

    def _check_real(self, name: str, valid: Callable[[float], bool], expected: str) -> None:
        value = getattr(self, name)
        self._check(name, is_real(value) and valid(value), f"a number {expected}")

    def _check_device(self) -> None:
        try:
            known = torch.empty(0, device=self.device).device.type in ("cpu", "cuda")
        except (RuntimeError, AssertionError):
            known = False
        if not known:
            raise ConfigError(f"device {self.device!r} cannot be used on this machine; use cpu or cuda")


def is_whole(value: object) -> bool:
    """Whether it is an int; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether it is an int or a float; True and False are not."""
    return is_whole(value) or isinstance(value, float)


def _are_betas(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(is_real(beta) and 0 <= beta < 1 for beta in value)
    )
