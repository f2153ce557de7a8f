"""The moving average of a generator."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fastgan.nn import MovingAverage


def test_an_average_halves_with_its_half_life() -> None:
    """Whatever the batch size; the average of weights that stay the same is exact."""
    for batch in (10, 50, 100):
        generator = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
        averaged = MovingAverage(generator, half_life=100)
        first = [p.detach().clone() for p in generator.parameters()]
        with torch.no_grad():
            for p in generator.parameters():
                p.add_(1)
        for _ in range(200 // batch):
            averaged.update(generator, batch)
        for before, mean in zip(first, averaged.average.parameters(), strict=True):
            torch.testing.assert_close(mean.data, before + 0.75)


def test_buffers_are_copied_and_the_average_is_not_trained() -> None:
    generator = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    averaged = MovingAverage(generator)
    generator(torch.randn(8, 2) + 5)
    averaged.update(generator, 8)
    whole = nn.ModuleList([averaged]).train()
    assert torch.equal(averaged.average[1].running_mean, generator[1].running_mean)
    assert averaged.average[1].num_batches_tracked == 1
    assert not any(layer.training for layer in averaged.modules())
    assert not any(p.requires_grad for p in whole.parameters())


def test_a_state_dict_has_the_average() -> None:
    generator = nn.Linear(2, 3)
    averaged, other = MovingAverage(generator), MovingAverage(nn.Linear(2, 3))
    other.load_state_dict(averaged.state_dict())
    latent = torch.randn(4, 2)
    assert torch.equal(other(latent), averaged(latent))


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.nan, math.inf])
def test_half_lives_that_are_none(half_life: float) -> None:
    with pytest.raises(ValueError, match=f"half_life must be positive and finite, but is {half_life}"):
        MovingAverage(nn.Linear(2, 2), half_life)


@pytest.mark.parametrize("samples", [-1, float("nan"), float("inf")])
def test_bad_numbers_of_samples(samples: float) -> None:
    averaged = MovingAverage(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="samples must be finite and not negative, but is"):
        averaged.update(nn.Linear(2, 2), samples)  # type: ignore[arg-type]


def test_another_network() -> None:
    with pytest.raises(ValueError, match="generator has other parameters than the network that is averaged"):
        MovingAverage(nn.Linear(2, 2)).update(nn.Linear(3, 2), 8)
