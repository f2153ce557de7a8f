"""Saturating and non-saturating loss after a head start of the discriminator.

All runs on ring have the same initial weights: a new generator, a small blob in the ring's middle, and a
discriminator that was trained alone against it. How large is the gradient from D to G under each loss, and
how many steps does each loss need to recover? (Goodfellow et al., 2014, section 3.)
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from experiments.record import PICTURE, arguments, command, run_seeds, stored_seeds, write_result
from experiments.saturation_report import save_picture, summary, tables
from fastgan.data import Dataset, load
from fastgan.metrics import mode_coverage
from fastgan.models import MLPDiscriminator
from fastgan.nn import MLP
from fastgan.ops import generator_loss
from fastgan.training import TrainConfig
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.step import train_step
from fastgan.training.window import GRADIENT, Window

LOSSES = ("saturating", "non-saturating")
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "learning_rate": 1e-3, "betas": (0.5, 0.999)},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.02, "momentum": (0.0, 0.0)},
}
_WIDTHS = (64, 64, 64, 64)
_LATENT = 2
_MEASURED = 1_000


@dataclass(frozen=True)
class Settings:
    """Settings of the experiment.

    Attributes:
        head_starts: total numbers of steps that D trains alone, in increasing order.
        limit: steps within which a run must recover.
        checked_every: steps between checks.
        batch_size: of every turn.
    """

    head_starts: tuple[int, ...] = (0, 100, 500, 2_000)
    limit: int = 2_000
    checked_every: int = 10
    batch_size: int = 256


def run(settings: Settings, seed: int) -> dict[str, Any]:
    """Run one seed: for each head start D's certainty, both gradients, and a run per optimizer and loss."""
    data = load("ring")
    torch.manual_seed(seed)
    networks = MLP([_LATENT, *_WIDTHS, 2]), MLPDiscriminator((2,), _WIDTHS)
    alone = TrainingState(*networks, _config(settings, seed, "adam", "non-saturating"))
    result = {}
    for before, head_start in zip((0, *settings.head_starts), settings.head_starts, strict=False):
        _train_discriminator(alone, data, head_start - before)
        result[str(head_start)] = {
            **_certainty(alone),
            "runs": {
                f"{optimizer}, {loss}": _recover(settings, networks, data, seed, optimizer, loss)
                for optimizer, loss in product(OPTIMIZERS, LOSSES)
            },
        }
    return result


def _config(settings: Settings, seed: int, optimizer: str, loss: Any) -> TrainConfig:
    return TrainConfig(
        steps=settings.limit,
        batch_size=settings.batch_size,
        latent_dim=_LATENT,
        learning_rate_decay=0.0,
        generator_loss=loss,
        seed=seed,
        log_interval=settings.checked_every,
        **OPTIMIZERS[optimizer],
    )


def _train_discriminator(state: TrainingState, data: Dataset, steps: int) -> None:
    """Train only D; the generator does not change."""
    source = Resident(data.samples)
    Window(state)  # sets the learning rate, which is constant
    for _ in range(steps):
        real = source.batch(state, 0)
        with torch.no_grad():
            fake = state.generator(state.latent(state.config.batch_size))
        state.objective.discriminator_turn(state.discriminator, real, fake)
        for flat in state.discriminator_optimizer.flats:
            flat.gather()
        state.discriminator_optimizer.step()


def _certainty(state: TrainingState) -> dict[str, Any]:
    """D's output on generated samples, and the RMS of |dl/dx| under each loss, as in ``GRADIENT``."""
    fake = state.look(_latents(), live=True)
    gradients = {}
    for loss in LOSSES:
        shown = fake.clone().requires_grad_()
        logits: Tensor = state.discriminator(shown)
        total = generator_loss(logits, saturating=loss == "saturating", reduction="sum")
        assert isinstance(total, Tensor)
        (slope,) = torch.autograd.grad(total, shown)
        gradients[loss] = float(slope.square().sum(dim=1).mean().sqrt())
    return {
        "median logit": logits.median().item(),
        "D(G(z))": logits.double().sigmoid().mean().item(),
        "gradient": gradients,
    }


def _recover(
    settings: Settings,
    networks: tuple[nn.Module, nn.Module],
    data: Dataset,
    seed: int,
    optimizer: str,
    loss: str,
) -> dict[str, Any]:
    """Train until the generator has recovered or the limit is reached.

    It has recovered if mean D(G(z)) since the last check is at least 0.1, and one of 1,000 samples is within
    3σ of a mode.

    Returns:
        The step of recovery or None, and for each check the means of D(G(z)) and of the gradient.
    """
    state = TrainingState(*copy.deepcopy(networks), _config(settings, seed, optimizer, loss))
    source, window = Resident(data.samples), Window(state)
    trace: dict[str, list[float]] = {"D(G(z))": [], GRADIENT: []}
    recovered = None
    while recovered is None and state.step < settings.limit:
        for _ in range(settings.checked_every):
            train_step(state, source, window)
            state.step += 1
        means = dict(zip(window.names, window.close().mean(dim=0).tolist(), strict=True))
        window.open()
        for name, values in trace.items():
            values.append(float(f"{means[name]:.4g}"))
        if means["D(G(z))"] >= 0.1 and _covers_a_mode(state, data):
            recovered = state.step
    return {"recovered": recovered, "trace": trace}


def _covers_a_mode(state: TrainingState, data: Dataset) -> bool:
    assert data.modes is not None
    points = data.transform.inverse(state.look(_latents(), live=True))
    return mode_coverage(points, data.modes).covered > 0


def _latents() -> Tensor:
    return torch.randn(_MEASURED, _LATENT, generator=torch.Generator().manual_seed(0))


@command
def main() -> None:
    options = arguments("saturation", __doc__, seeds=10).parse_args()
    torch.set_num_threads(1)  # the networks are too small for more
    settings = Settings()
    kept = {**vars(settings), "optimizers": OPTIMIZERS}
    run_seeds(options.out, kept, options.seeds, lambda seed: run(settings, seed))
    stored = stored_seeds(options.out, kept)
    results = list(stored.values())
    save_picture(options.out / PICTURE, results, settings.limit, settings.checked_every)
    result = {"seeds": list(stored), "head starts": summary(results)}
    write_result(options.out, "saturation", result, tables)


if __name__ == "__main__":
    main()
