"""SNGAN's D for 32 × 32 images: its spectral norms together or layer by layer; alone, and in a step of D."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import fastgan
from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, contest, timed
from benchmarks.machine import DEVICE
from benchmarks.replay import replayed

pytestmark = pytest.mark.benchmark(timer=replayed)
WIDTH, BATCH = (4, 2) if IS_QUICK else (64, 16)


def discriminator() -> nn.Sequential:
    """Seven convolutions and a linear layer (Miyato et al. 2018, table 3b)."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    shapes = (1, 3, 1), (1, 4, 2), (2, 3, 1), (2, 4, 2), (4, 3, 1), (4, 4, 2), (8, 3, 1)
    for width, kernel, stride in shapes:
        convolution = nn.Conv2d(channels, width * WIDTH, kernel, stride, 1)
        layers += [parametrizations.spectral_norm(convolution), nn.LeakyReLU(0.1)]
        channels = width * WIDTH
    layers += [nn.Flatten(), parametrizations.spectral_norm(nn.Linear(channels * 16, 1))]
    return nn.Sequential(*layers).to(DEVICE)


class Weights(nn.Module):
    """Reads all weights, as a forward pass does."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self) -> list[Tensor]:
        # not hasattr(layer, "weight"), which reads the weight and so runs a power iteration
        return [layer.weight for layer in self.layers if isinstance(layer, (nn.Conv2d, nn.Linear))]


def networks() -> dict[str, nn.Sequential]:
    return {"fastgan": discriminator(), "eager": discriminator()}


def compare(record: Record, name: str, case: str, steps: dict[str, Callable[[], object]]) -> None:
    finish = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None
    found = contest({key: timed(step, finish) for key, step in steps.items()})
    record(name, case, found, dtype="fp32", direction="both")


def test_norms_alone(record: Record) -> None:
    """All weights of D, and their gradients."""
    models = {name: Weights(net) for name, net in networks().items()}
    fastgan.join_spectral_norms(models["fastgan"])
    grads = [torch.randn_like(w) for w in models["eager"]()]

    def step(model: Weights) -> Callable[[], object]:
        originals = [p for name, p in model.named_parameters() if name.endswith("original")]
        return lambda: torch.autograd.grad(model(), originals, grads)

    count = sum(g.numel() for g in grads)
    compare(
        record, "spectral norms", f"{count} weights", {name: step(model) for name, model in models.items()}
    )


def test_discriminators_step(record: Record) -> None:
    """A forward and backward pass of D."""
    models = networks()
    fastgan.join_spectral_norms(models["fastgan"])
    images = torch.randn(BATCH, 3, 32, 32, device=DEVICE)

    def step(model: nn.Sequential) -> Callable[[], object]:
        return lambda: fastgan.generator_loss(model(images)).backward()

    compare(record, "SNGAN's D", f"batch {BATCH}", {name: step(model) for name, model in models.items()})
