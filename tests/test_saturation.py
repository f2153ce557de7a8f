"""The experiment on saturation, in short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.saturation import Settings, run
from experiments.saturation_report import save_picture, summary, tables
from tests.pictures import Shown

SETTINGS = Settings(head_starts=(0, 400), limit=150, batch_size=64)


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return [run(SETTINGS, seed) for seed in (0, 1)]


def test_the_saturating_gradient_vanishes_with_a_head_start(results: list[dict[str, Any]]) -> None:
    for result in results:
        even, late = (result[head_start] for head_start in ("0", "400"))
        assert 0.4 < even["D(G(z))"] < 0.6
        assert late["D(G(z))"] < 1e-3
        ratios = [of["gradient"]["saturating"] / of["gradient"]["non-saturating"] for of in (even, late)]
        assert 0.5 < ratios[0] < 2
        # sigma(f) over 1 - sigma(f), for the logit of nearly all samples
        assert ratios[1] == pytest.approx(late["D(G(z))"], rel=0.5)


def test_only_the_saturating_loss_without_adam_does_not_recover(results: list[dict[str, Any]]) -> None:
    recovered = summary(results)["400"]["recovered"]
    assert recovered["sgd, saturating"] == [None, None]
    assert None not in recovered["sgd, non-saturating"] + recovered["adam, saturating"]
    trace = results[0]["400"]["runs"]["sgd, saturating"]["trace"]
    assert len(trace["gradient"]) == 15
    assert max(trace["gradient"]) < 0.1


def test_table_and_picture(results: list[dict[str, Any]], tmp_path: Path, shown: Shown) -> None:
    (table,) = tables({"head starts": summary(results)})
    header, _, even, late = table.splitlines()
    assert "sgd, non-saturating" in header
    assert even.startswith("| 0 | 0.4")
    assert "none of 2" in late
    save_picture(tmp_path / "s.png", results, SETTINGS.limit, SETTINGS.checked_every)
    gradients, recovery, traces = shown(tmp_path / "s.png")
    assert gradients == [2] * 6  # of both losses: two seeds after either head start, and the medians
    assert recovery == [2] * 8
    assert len(traces) == 8
    assert min(traces) > 0
    assert max(traces) == 15
