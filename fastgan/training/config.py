"""What a training run can be told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import torch

ObjectiveName = Literal[
    "bce", "hinge", "least-squares", "wasserstein", "relativistic", "relativistic-average", "began"
]
GeneratorLoss = Literal["non-saturating", "saturating"]
Update = Literal["alternating", "simultaneous"]
Optimizer = Literal["adam", "sgd"]
Latent = Literal["normal", "uniform"]
Precision = Literal["fp32", "tf32", "bf16"]
PENALTIES = ("r1_gamma", "r2_gamma", "gp_weight", "dragan_weight")
"""Settings that are weights of gradient penalties on D."""
_MOST = 2**31 - 1
# settings that mean nothing to an objective, with the value that leaves them out
_OF_BCE: dict[str, float | str] = {"real_label": 1, "generator_loss": "non-saturating"}
_OF_BEGAN: dict[str, float | str] = {"diversity_ratio": 0.5, "balance_rate": 1e-3}
_NOT_OF: dict[str, dict[str, float | str]] = {
    "bce": _OF_BEGAN,
    "hinge": {**_OF_BCE, **_OF_BEGAN},
    "least-squares": {"generator_loss": "non-saturating", **_OF_BEGAN},
    "wasserstein": {**_OF_BCE, **_OF_BEGAN},
    "relativistic": {**_OF_BCE, **_OF_BEGAN},
    "relativistic-average": {**_OF_BCE, **_OF_BEGAN},
    "began": {
        **_OF_BCE,
        "instance_noise": 0,
        "pack": 1,
        "r1_gamma": 0,
        "r2_gamma": 0,
        "gp_weight": 0,
        "dragan_weight": 0,
    },
}


class ConfigError(ValueError):
    """A setting that training cannot run with; the message names it and what it should be."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. A step is ``discriminator_steps`` turns of D and one of G.

    Attributes:
        steps: how many steps to train for.
        batch_size: real samples, and generated samples, in each turn, of all processes together.
        latent_dim: size of the generator's input.
        latent: what it is drawn from: ``"normal"``, or ``"uniform"`` between -√3 and √3, both of
            variance 1.
        optimizer: of both players: ``"adam"``, or ``"sgd"`` with momentum.
        learning_rate: of both players, before its decay.
        discriminator_learning_rate: of D where it differs (two time-scales: Heusel et al., 2017); it
            decays alike. None for the same.
        learning_rate_decay: share of the run, at its end, over which the learning rate falls
            linearly to zero; 0 keeps it constant, 1 lets it fall from the first step.
        learning_rate_half_life: steps in which the learning rate halves, from the first step on,
            beside that; None for never.
        betas: of Adam.
        momentum: of SGD, in the first step and from step ``momentum_steps`` on; it rises linearly.
        momentum_steps: how long it rises.
        ema_decay: decay, each step, of the exponential moving average of the generator's
            weights, from which samples are drawn; 0 follows the weights themselves.
        instance_noise: standard deviation of the Gaussian noise added to all samples that D sees
            at first; it falls linearly to zero over the first half of the run. While it blurs
            the modes of the data into each other, the generator can even out how often it
            visits each (Sønderby et al., 2017; Arjovsky and Bottou, 2017).
        objective: what the players minimize: ``"bce"`` (Goodfellow et al., 2014), ``"hinge"``,
            ``"least-squares"`` or ``"wasserstein"``, the losses of these names
            (:func:`fastgan.discriminator_loss`; the last wants ``gp_weight``, or a D that is
            Lipschitz by itself), ``"relativistic"``, softplus of the difference of a pair's logits
            (Jolicoeur-Martineau, 2018), ``"relativistic-average"``, which compares with the mean of
            the other side, or ``"began"``, the reconstruction loss of a D that is an autoencoder
            (Berthelot et al., 2017).
        real_label: label of real samples in D's loss; below 1 it is one-sided label smoothing
            (Salimans et al., 2016), and the target of ``"least-squares"``. Of these two alone.
        generator_loss: ``"non-saturating"``, -log D(G(z)), or ``"saturating"``,
            log(1 - D(G(z))). Of ``"bce"`` alone.
        diversity_ratio: γ in (0, 1], the ratio L(G(z)) / L(x) that ``"began"`` holds; the lower,
            the more D cares for the real samples. Of ``"began"`` alone, as is the next.
        balance_rate: λ, by which its k moves in a step, times how far the losses are off that ratio.
        discriminator_steps: turns of D for each turn of G.
        update: ``"alternating"``: G's turn begins when D has moved. ``"simultaneous"``: both
            gradients are taken at the same weights and of the same generated samples, in one
            pass through D, before either moves (Goodfellow et al.'s own code of 2014).
        pack: samples that D sees at once, concatenated along channels or features; it then judges
            batch_size / pack packs (Lin et al., 2018).
        r1_gamma: weight of the R1 penalty, gamma/2 E |grad_x D(x)|^2 on real samples (Mescheder
            et al., 2018, equation 9); 0 for none. Where D normalizes its batch, this gradient and
            the others below are of the sum of the batch's outputs, on which each sample acts.
        r2_gamma: that of R2, the same on generated samples (equation 10).
        gp_weight: weight of WGAN-GP's penalty, lambda E (|grad D| - 1)^2 on lines between real
            and generated samples (Gulrajani et al., 2017, equation 3, where it is 10); 0 for none.
        dragan_weight: that of DRAGAN's, the same near real samples (Kodali et al., 2017).
        penalty_interval: steps between two penalties of any kind, each of which then counts that many
            times ("lazy" regularization: Karras et al., 2020, appendix B). WGAN-GP was made for 1.
        gradient_clip: largest norm of each player's gradient; None for no limit.
        precision: ``"fp32"``, ``"tf32"``: products in TensorFloat-32 where the GPU has it, or
            ``"bf16"``: both networks under bfloat16 autocast. Weights, Adam and average stay
            float32.
        capture: on a GPU, run each step as one CUDA graph; the same step otherwise.
        steps_per_replay: steps that one such graph holds.
        seed: of the latent vectors and the choice of batches.
        device: where to train, as in ``torch.device``.
        threads: CPU threads of torch while training; None leaves them as they are. Matrices of
            64 columns are too small to share out: with other work on the machine, two threads
            on two cores waited for each other and took ten times as long as one.
        log_interval: steps between two logged rows; statistics stay on the device until then.
        sample_interval: steps between two sample pictures.
        checkpoint_interval: steps between two checkpoints.
        checkpoint_minutes: minutes after which the next log point takes a checkpoint as well; None for
            never.
        keep: how many checkpoints stay, the latest ones.

    Raises:
        ConfigError: if a value is of another type or out of its range.
    """

    steps: int = 12_000
    batch_size: int = 256
    latent_dim: int = 64
    latent: Latent = "normal"
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    discriminator_learning_rate: float | None = None
    learning_rate_decay: float = 1.0
    learning_rate_half_life: int | None = None
    betas: tuple[float, float] = (0.5, 0.999)
    momentum: tuple[float, float] = (0.5, 0.7)
    momentum_steps: int = 125_000
    ema_decay: float = 0.999
    instance_noise: float = 0.0
    objective: ObjectiveName = "bce"
    real_label: float = 1.0
    generator_loss: GeneratorLoss = "non-saturating"
    diversity_ratio: float = 0.5
    balance_rate: float = 1e-3
    discriminator_steps: int = 1
    update: Update = "alternating"
    pack: int = 1
    r1_gamma: float = 0.0
    r2_gamma: float = 0.0
    gp_weight: float = 0.0
    dragan_weight: float = 0.0
    penalty_interval: int = 16
    gradient_clip: float | None = None
    precision: Precision = "fp32"
    capture: bool = True
    steps_per_replay: int = 1
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    log_interval: int = 100
    sample_interval: int = 2_000
    checkpoint_interval: int = 2_000
    checkpoint_minutes: float | None = None
    keep: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))
        for name in (
            "steps",
            "batch_size",
            "latent_dim",
            "momentum_steps",
            "discriminator_steps",
            "pack",
            "penalty_interval",
            "steps_per_replay",
            "keep",
            "log_interval",
            "sample_interval",
            "checkpoint_interval",
        ):
            self._check_whole(name, 1, _MOST)
        for name in ("threads", "learning_rate_half_life"):
            if getattr(self, name) is not None:
                self._check_whole(name, 1, _MOST)
        self._check_whole("seed", 0, 2**63 - 1)
        self._check_real("learning_rate", _is_above_zero, "above 0 and finite")
        self._check_real("learning_rate_decay", lambda share: 0 <= share <= 1, "from 0 to 1")
        self._check_real("ema_decay", lambda decay: 0 <= decay < 1, "from 0 to below 1")
        self._check_real("instance_noise", lambda sigma: 0 <= sigma < math.inf, "at least 0 and finite")
        for name in ("betas", "momentum"):
            self._check(name, _are_decays(getattr(self, name)), "two numbers from 0 to below 1")
        for name in PENALTIES:
            self._check_real(name, lambda weight: 0 <= weight < math.inf, "at least 0 and finite")
        self._check_real("real_label", lambda label: 0 < label <= 1, "above 0, up to 1")
        self._check_real("diversity_ratio", lambda ratio: 0 < ratio <= 1, "above 0, up to 1")
        self._check_real("balance_rate", _is_above_zero, "above 0 and finite")
        for name in ("discriminator_learning_rate", "gradient_clip", "checkpoint_minutes"):
            if getattr(self, name) is not None:
                self._check_real(name, _is_above_zero, "above 0 and finite")
        for name, choices in (
            ("objective", ObjectiveName),
            ("generator_loss", GeneratorLoss),
            ("optimizer", Optimizer),
            ("latent", Latent),
            ("update", Update),
            ("precision", Precision),
        ):
            self._check(name, getattr(self, name) in get_args(choices), " or ".join(get_args(choices)))
        self._check("capture", isinstance(self.capture, bool), "True or False")
        for name, only in _NOT_OF[self.objective].items():
            self._check(name, getattr(self, name) == only, f"{only} for the {self.objective} objective")
        self._check("pack", self.batch_size % self.pack == 0, f"a divisor of batch_size, {self.batch_size}")
        if self.update == "simultaneous":
            self._check("discriminator_steps", self.discriminator_steps == 1, "1 in simultaneous updates")
        self._check("device", isinstance(self.device, str), "a name such as cpu or cuda")
        self._check_device()

    def learning_rates_at(self, step: int) -> tuple[float, float]:
        """G's and D's learning rate of the given step, counted from 0."""
        rate = 1.0
        if self.learning_rate_half_life is not None:
            rate *= 0.5 ** (step / self.learning_rate_half_life)
        if self.learning_rate_decay > 0:
            rate *= min(1.0, (self.steps - step) / (self.learning_rate_decay * self.steps))
        return rate * self.learning_rate, rate * (self.discriminator_learning_rate or self.learning_rate)

    def momentum_at(self, step: int) -> float:
        """SGD's momentum of the given step, counted from 0."""
        first, last = self.momentum
        return first + (last - first) * min(1.0, step / self.momentum_steps)

    def noise_at(self, step: int) -> float:
        """Standard deviation of the instance noise of the given step, counted from 0."""
        return self.instance_noise * max(0.0, 1 - 2 * step / self.steps)

    def average_weight_at(self, step: int) -> float:
        """What the generator's weights count in their average after the given step, counted from 0.

        Early on the average is over the steps there have been, not over the initial weights.
        """
        return 1 - min(self.ema_decay, (1 + step) / (10 + step))

    def penalizes_at(self, step: int) -> bool:
        """Whether the given step, counted from 0, has the gradient penalties."""
        return any(getattr(self, name) > 0 for name in PENALTIES) and step % self.penalty_interval == 0

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
        reason = "the trainer knows no such device"
        try:
            if torch.device(self.device).type in ("cpu", "cuda"):
                torch.empty(0, device=self.device)
                return
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"device {self.device!r} cannot be used on this machine ({reason}); use cpu or cuda"
        )


def _plain(value: Any) -> Any:
    """A setting as files hold it: numbers of NumPy as Python's, lists as tuples, a device by its name."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, torch.device):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def is_whole(value: object) -> bool:
    """Whether it is an int; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether it is an int or a float; True and False are not."""
    return is_whole(value) or isinstance(value, float)


def _is_above_zero(value: float) -> bool:
    return 0 < value < math.inf


def _are_decays(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(is_real(decay) and 0 <= decay < 1 for decay in value)
    )
