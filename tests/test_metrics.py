"""Mode coverage on samples whose coverage is known."""

from __future__ import annotations

import math

import pytest
import torch

from fastgan.data import Modes, load
from fastgan.metrics import mode_coverage

MODES = Modes(torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), sigma=1.0)


def test_counts_within_three_sigma_of_the_nearest_mode() -> None:
    samples = torch.tensor([[0.0, 2.99], [2.0, 2.0], [10.0, 3.01], [3.0, 4.0], [9.0, 0.0]])
    coverage = mode_coverage(samples, MODES)
    assert coverage.counts == (2, 1, 0)
    assert (coverage.modes, coverage.covered) == (3, 2)
    assert coverage.high_quality == pytest.approx(3 / 5)


def test_nothing_covered() -> None:
    coverage = mode_coverage(torch.full((4, 2), 100.0), MODES)
    assert (coverage.covered, coverage.high_quality) == (0, 0.0)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_real_samples_cover_every_mode(name: str) -> None:
    data = load(name)
    assert data.modes is not None
    coverage = mode_coverage(data.samples * data.scale, data.modes)
    assert coverage.covered == coverage.modes
    assert coverage.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)


@pytest.mark.parametrize("shape", [(0, 2), (4, 3), (4,)])
def test_bad_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        mode_coverage(torch.zeros(shape), MODES)
