"""The experiment on the optimal discriminator, in short."""

from __future__ import annotations

import math

import pytest

from experiments.equilibrium import SHIFTS, Case, train_network, train_table


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_discriminator_alone_reaches_its_optimum(shift: int) -> None:
    case = Case(shift)
    trained = train_table(case)
    assert trained.values[0] < case.optimal_value - 0.5
    found = trained.compared_with(case)
    assert -1e-9 < found["V - V(D*)"] < 1e-12
    assert found["mean |D - D*|"] < 1e-5
    if shift == 0:
        assert found["V"] == pytest.approx(-math.log(4), abs=1e-9)
        assert trained.logits.sigmoid().tolist() == pytest.approx([0.5] * 16, abs=1e-4)


def test_a_network_comes_near_the_optimum_from_samples() -> None:
    case = Case(2)
    found = train_network(case, steps=300).compared_with(case)
    assert -1e-3 < found["V - V(D*)"] <= 0
    assert found["mean |D - D*|"] < 0.01
