"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import torch

from fastgan.kernels.logit_losses import LOSSES
from fastgan.training.setting import (
    COUNT_OR_NONE,
    DECAY,
    MEAN_SIGN,
    NON_NEGATIVE,
    OBJECTIVE_NAMES,
    POSITIVE,
    POSITIVE_SHARE,
    SEED,
    SEVERAL,
    SHARE,
    documented,
    setting,
    settings_of,
)

GeneratorLoss = Literal["non-saturating", "saturating"]
Update = Literal["alternating", "simultaneous"]
Optimizer = Literal["adam", "sgd"]
Latent = Literal["normal", "uniform"]
Precision = Literal["fp32", "tf32", "bf16"]
PENALTIES = ("r1_gamma", "r2_gamma", "gp_weight", "dragan_weight")
"""Settings that are weights of gradient penalties on D."""
_ON_LOGITS = tuple(name for name in OBJECTIVE_NAMES if name != "began")
_WITH_LABELS = tuple(name for name, loss in LOSSES.items() if loss.labels)
_LIPSCHITZ = tuple(name for name, loss in LOSSES.items() if loss.lipschitz)
_WITH_SATURATING = tuple(name for name, loss in LOSSES.items() if loss.saturating)


class ConfigError(ValueError):
    """A setting is invalid; the message names it, its value and what is expected."""


@documented
@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. In a step D has ``discriminator_steps`` turns, then G has one.

    Each setting is also an option of ``fastgan train``, with - for _: ``--batch-size``.

    Raises:
        ConfigError: if a value has a wrong type, is out of range, or has no effect on the objective.
    """

    steps: int = setting(12_000, "Training", "Number of training steps.")
    batch_size: int = setting(
        256, "Training", "Real samples in a batch, and as many generated ones, over all processes."
    )
    latent_dim: int = setting(64, "Training", "Size of the generator's input.")
    latent: Latent = setting(
        "normal",
        "Training",
        "Distribution of the generator's input. The uniform one is between -√3 and √3; both have variance 1.",
    )
    discriminator_steps: int = setting(1, "Training", "Turns of D for each turn of G.")
    update: Update = setting(
        "alternating",
        "Training",
        "Whether G is updated after D or at the same time. In simultaneous updates both gradients are "
        "taken at the same weights and for the same generated samples, in one pass through D (as in "
        "Goodfellow et al.'s code of 2014).",
    )
    pack: int = setting(
        1,
        "Training",
        "Samples that D sees at once. They are concatenated along channels or features, and D judges "
        "batch_size / pack packs (Lin et al., 2018).",
        objectives=_ON_LOGITS,
    )
    labels: bool = setting(
        False,
        "Training",
        "Train with the classes of the samples. Both networks are called with them, as G(z, y) and D(x, y), "
        "and a generated batch has the labels of the real one next to it, so that pairs are of one class.",
        objectives=_ON_LOGITS,
    )
    instance_noise: float = setting(
        0.0,
        "Training",
        "Initial standard deviation of noise on all samples that D sees. The noise is Gaussian and falls "
        "linearly to zero over the first half of the run. As long as it blurs the modes of the data into "
        "each other, the generator can balance how often it visits each (Sønderby et al., 2017; Arjovsky "
        "and Bottou, 2017).",
        range=NON_NEGATIVE,
        objectives=_ON_LOGITS,
    )
    ema_decay: float = setting(
        0.999,
        "Training",
        "Decay per step of the moving average of G's weights. Samples are drawn with this exponential "
        "moving average (EMA); with 0 it equals the weights.",
        range=DECAY,
    )
    seed: int = setting(
        0,
        "Training",
        "Seed of weights, batches and latent vectors.",
        range=SEED,
    )
    objective: str = setting(
        "bce",
        "Objective",
        "Losses of G and D. Most are the losses of :func:`fastgan.discriminator_loss` with that name. The "
        "others: relativistic, softplus of the difference of the logits of a pair (Jolicoeur-Martineau, "
        "2018); relativistic-average, which compares each logit with the mean of the other batch; began, "
        "the reconstruction loss of a D that is an autoencoder (Berthelot et al., 2017). "
        f"For {' and '.join(_LIPSCHITZ)} set ``gp_weight``, unless D is Lipschitz by construction.",
        choices=OBJECTIVE_NAMES,
    )
    real_label: float = setting(
        1.0,
        "Objective",
        "Label of real samples in D's loss. Below 1 it is one-sided label smoothing (Salimans et al., "
        "2016); with least-squares it is the target of D's logits.",
        range=POSITIVE_SHARE,
        objectives=_WITH_LABELS,
    )
    generator_loss: GeneratorLoss = setting(
        "non-saturating",
        "Objective",
        "Form of G's loss. Non-saturating is -log D(G(z)), saturating log(1 - D(G(z))).",
        objectives=_WITH_SATURATING,
    )
    diversity_ratio: float = setting(
        0.5,
        "Objective",
        "The ratio L(G(z)) / L(x) that BEGAN keeps. It is γ of the paper; the lower it is, the more D "
        "concentrates on the real samples.",
        range=POSITIVE_SHARE,
        objectives=("began",),
    )
    balance_rate: float = setting(
        1e-3,
        "Objective",
        "Rate at which BEGAN's k moves. It is λ of the paper: in each step k moves by λ times the deviation "
        "from that ratio.",
        range=POSITIVE,
        objectives=("began",),
    )
    optimizer: Optimizer = setting("adam", "Optimizer", "Optimizer of both players.")
    learning_rate: float = setting(
        1e-3, "Optimizer", "Initial learning rate of both players.", range=POSITIVE
    )
    discriminator_learning_rate: float | None = setting(
        None,
        "Optimizer",
        "D's own initial learning rate. It decays as G's does (two time-scales: Heusel et al., 2017). None "
        "for the same rate as G's.",
        range=POSITIVE,
    )
    learning_rate_decay: float = setting(
        1.0,
        "Optimizer",
        "Share of the run over which the learning rate falls to zero. It falls linearly at the end of the "
        "run: 0 keeps it constant, with 1 it falls from the first step.",
        range=SHARE,
    )
    learning_rate_half_life: int | None = setting(
        None,
        "Optimizer",
        "Steps in which the learning rate halves. This decay starts at the first step and combines with the "
        "linear one. None for no such decay.",
    )
    betas: tuple[float, float] = setting((0.5, 0.999), "Optimizer", "Adam's betas.", range=DECAY)
    weight_decay: float = setting(
        0.0,
        "Optimizer",
        "Adam's weight decay. This times the weights is added to their gradients, as in torch.optim.Adam.",
        range=NON_NEGATIVE,
    )
    momentum: tuple[float, float] = setting(
        (0.5, 0.7),
        "Optimizer",
        "SGD's initial and final momentum. It rises linearly over ``momentum_steps`` steps.",
        range=DECAY,
    )
    momentum_steps: int = setting(125_000, "Optimizer", "Steps over which SGD's momentum rises.")
    gradient_clip: float | None = setting(
        None,
        "Optimizer",
        "Largest norm of each player's gradient. None for no limit.",
        range=POSITIVE,
    )
    augment: bool = setting(
        False,
        "Augmentation",
        "Augment the images that D sees, so that it cannot learn a small data set by heart. Real and "
        "generated ones are changed in brightness, saturation and contrast, shifted and cut "
        "(:func:`fastgan.augment`); G's gradient passes through this (Zhao et al., 2020). Penalties are "
        "gradients at the augmented images.",
        objectives=_ON_LOGITS,
    )
    augment_probability: float | None = setting(
        None,
        "Augmentation",
        "Probability of each augmentation of each image, or None for one that adapts. It rises while the "
        "mean sign of D's logits of real images, or of the differences of relativistic objectives, is above "
        "``augment_target``, and falls otherwise (Karras et al., 2020, arXiv:2006.06676). It cannot adapt "
        f"for {' and '.join(_LIPSCHITZ)}, where the sign of a logit means nothing.",
        range=SHARE,
    )
    augment_target: float = setting(
        0.6, "Augmentation", "Mean sign that an adaptive probability keeps.", range=MEAN_SIGN
    )
    augment_images: int = setting(
        500_000,
        "Augmentation",
        "Real images in which an adaptive probability rises from 0 to 1, such as a fifth of a run's. A run "
        "has ``steps * batch_size`` images.",
    )
    r1_gamma: float = setting(
        0.0,
        "Penalties",
        "Weight of the R1 penalty. It is gamma/2 E |grad_x D(x)|^2 on real samples (Mescheder et al., 2018, "
        "equation 9); 0 for none. All penalties differentiate the sum of D's outputs over the batch; if D "
        "normalizes its batch, each sample affects all of them.",
        range=NON_NEGATIVE,
        objectives=_ON_LOGITS,
    )
    r2_gamma: float = setting(
        0.0,
        "Penalties",
        "Weight of the R2 penalty, R1 on generated samples. Mescheder et al., 2018, equation 10.",
        range=NON_NEGATIVE,
        objectives=_ON_LOGITS,
    )
    gp_weight: float = setting(
        0.0,
        "Penalties",
        "Weight of WGAN-GP's penalty. It is lambda E (|grad D| - 1)^2 on lines between real and generated "
        "samples (Gulrajani et al., 2017, equation 3, with lambda = 10).",
        range=NON_NEGATIVE,
        objectives=_ON_LOGITS,
    )
    dragan_weight: float = setting(
        0.0,
        "Penalties",
        "Weight of DRAGAN's penalty. It is WGAN-GP's penalty near real samples (Kodali et al., 2017).",
        range=NON_NEGATIVE,
        objectives=_ON_LOGITS,
    )
    penalty_interval: int = setting(
        16,
        "Penalties",
        'Steps between two penalties of any kind. Their weights are multiplied by it ("lazy" '
        "regularization: Karras et al., 2020, appendix B). The WGAN-GP paper uses 1.",
        formerly="r1_interval",
    )
    device: str = setting("cpu", "Device", "Where to train, a name that torch.device takes.")
    threads: int | None = setting(
        None,
        "Device",
        "CPU threads while training. None keeps torch's number. Eager steps of small networks are faster "
        "with 1 if other programs run too: on two busy cores, products of 64 columns took ten times as long "
        "with two threads, which waited for each other.",
    )
    precision: Precision = setting(
        "fp32",
        "Device",
        "Precision of matrix products. tf32 uses TensorFloat-32 if the GPU has it; bf16 runs both networks "
        "under bfloat16 autocast. Weights, optimizer and EMA stay float32.",
    )
    capture: bool = setting(
        True,
        "Device",
        "Run steps as one replay: on a GPU as a CUDA graph, on a CPU as recorded native calls, if both "
        "networks are chains of layers, or CTGAN's on a table. Other steps on a CPU run eagerly.",
    )
    steps_per_replay: int = setting(1, "Device", "Steps in one CUDA graph.")
    log_interval: int = setting(
        100,
        "Output",
        "Steps between two rows of the log. Statistics stay on the device until then.",
    )
    sample_interval: int = setting(2_000, "Output", "Steps between two sample pictures.")
    checkpoint_interval: int = setting(2_000, "Output", "Steps between two checkpoints.")
    checkpoint_minutes: float | None = setting(
        None,
        "Output",
        "Minutes since the last checkpoint after which the next row of the log brings another. None for "
        "never.",
        range=POSITIVE,
    )
    keep: int = setting(
        1,
        "Output",
        "Checkpoints to keep, the latest ones. With ``metrics_interval`` the best one is kept too.",
    )
    metrics_interval: int = setting(
        0,
        "Metrics",
        "Steps between two measurements of FID, or 0 for none. It is the Fréchet distance of features "
        "(Heusel et al., 2017) of the averaged generator's samples from all real ones. The checkpoint with "
        "the lowest one is kept. With several processes the first one measures, and the others wait for it, "
        "at most ten minutes.",
        range=COUNT_OR_NONE,
    )
    metrics_samples: int = setting(
        10_000,
        "Metrics",
        "Samples to generate for FID. Compare only values for equal numbers; fewer give larger ones.",
        range=SEVERAL,
    )
    extractor: str | None = setting(
        None,
        "Metrics",
        "TorchScript file of the feature extractor. It maps float32 samples in the units of training, for "
        "images [N, C, H, W] in [-1, 1], to features [N, D]. None for a small classifier that is trained on "
        "the data, if they have classes.",
    )

    def __post_init__(self) -> None:
        for name, about in SETTINGS.items():
            object.__setattr__(self, name, _plain(getattr(self, name)))
            self._check(name, about.accepts(getattr(self, name)), about.expected)
        for name, about in SETTINGS.items():
            fits = self.objective in about.objectives or getattr(self, name) == about.default
            self._check(name, fits, f"{about.default} for the {self.objective} objective")
        self._check("pack", self.batch_size % self.pack == 0, f"a divisor of batch_size, {self.batch_size}")
        if self.labels:
            self._check("pack", self.pack == 1, "1 with labels, as a pack would have several")
        if not self.metrics_interval:
            self._check("extractor", self.extractor is None, "none unless metrics_interval is given")
        self._check_augmentation()
        if self.optimizer == "sgd":
            self._check("weight_decay", self.weight_decay == 0, "0 for sgd")
        if self.update == "simultaneous":
            self._check("discriminator_steps", self.discriminator_steps == 1, "1 in simultaneous updates")
        self._check_device()

    def learning_rates_at(self, step: int) -> tuple[float, float]:
        """G's and D's learning rates in the given step, counted from 0."""
        rate = 1.0
        if self.learning_rate_half_life is not None:
            rate *= 0.5 ** (step / self.learning_rate_half_life)
        if self.learning_rate_decay > 0:
            rate *= min(1.0, (self.steps - step) / (self.learning_rate_decay * self.steps))
        return rate * self.learning_rate, rate * (self.discriminator_learning_rate or self.learning_rate)

    def momentum_at(self, step: int) -> float:
        """SGD's momentum in the given step, counted from 0."""
        first, last = self.momentum
        return first + (last - first) * min(1.0, step / self.momentum_steps)

    def noise_at(self, step: int) -> float:
        """Standard deviation of the instance noise in the given step, counted from 0."""
        return self.instance_noise * max(0.0, 1 - 2 * step / self.steps)

    def average_weight_at(self, step: int) -> float:
        """Weight of the generator's new weights in their average after the given step, counted from 0.

        It is larger at first, so that the initial weights soon drop out of the average.
        """
        return 1 - min(self.ema_decay, (1 + step) / (10 + step))

    def penalizes_at(self, step: int) -> bool:
        """Whether the given step, counted from 0, has gradient penalties."""
        return any(getattr(self, name) > 0 for name in PENALTIES) and step % self.penalty_interval == 0

    def measures_at(self, step: int) -> bool:
        """Whether FID is measured when ``step`` steps are done."""
        interval = self.metrics_interval
        return interval > 0 and step > 0 and (step % interval == 0 or step == self.steps)

    def _check(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    def _check_augmentation(self) -> None:
        adapts = self.augment and self.augment_probability is None
        expected = f"a number for the {self.objective} objective, such as 0.5"
        self._check("augment_probability", not adapts or self.objective not in _LIPSCHITZ, expected)

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
    """A setting as in files: NumPy's numbers as Python's, lists as tuples, a device or path as a string."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, torch.device | PurePath):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


SETTINGS = settings_of(TrainConfig)
