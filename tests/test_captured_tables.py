"""The hazards of a step on a table in a CUDA graph: on a GPU as they are, elsewhere by stand-ins."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from fastgan.kernels.spans import Table
from fastgan.training.capture import CapturedSteps, EagerSteps
from fastgan.training.state import TrainingState
from fastgan.training.step import train_step
from fastgan.training.table_source import TableSource
from fastgan.training.window import Window
from tests.test_captured_steps import assert_no_wait, differing, on_a_gpu, streams_of_a_cpu  # noqa: F401
from tests.test_table_training import config, networks, table

SETTINGS: dict[str, dict[str, Any]] = {
    "CTGAN's": {},
    "two turns of D": {"discriminator_steps": 2},
    "simultaneous": {"update": "simultaneous"},
    "lazy R1, an average": {"r1_gamma": 1.0, "gp_weight": 0.0, "penalty_interval": 3, "ema_decay": 0.9},
    "bf16": {"precision": "bf16"},
}
settings = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
in_cuda = pytest.mark.parametrize("marked", [pytest.param(None, marks=on_a_gpu)], ids=["cuda"])


def state_of(changes: dict[str, Any], device: str = "cpu") -> tuple[TrainingState, TableSource, Window]:
    settings = replace(config(steps=24, log_interval=8, **changes), device=device)
    state = TrainingState(*networks(settings), settings)
    spans, *tensors = table()
    source = TableSource(Table(spans, *(tensor.to(device) for tensor in tensors)))
    return state, source, Window(state, source.statistics)


@settings
def test_a_step_takes_nothing_from_the_host(settings: dict[str, Any]) -> None:
    """What a replay sees: dropout, conditions, rows and noise depend on the clock, which is on the device."""
    settings = {"learning_rate_decay": 1.0, **settings, "penalty_interval": 1}
    replayed, expected = (state_of(settings) for _ in range(2))
    steps = EagerSteps(*expected)
    for _ in range(8):
        steps.advance(1)
    for _ in range(8):
        train_step(*replayed, penalize=replayed[0].config.penalizes_at(0))
    assert differing(replayed[0].tensors(), expected[0].tensors()) == []
    assert torch.equal(replayed[2]._statistics, expected[2]._statistics)
    assert len(replayed[2]._statistics[:, 0].unique()) == 8


@settings
@pytest.mark.usefixtures("streams_of_a_cpu")
def test_a_warm_up_leaves_no_trace(settings: dict[str, Any]) -> None:
    state, source, window = state_of(settings)
    EagerSteps(state, source, window).advance(1)
    before = copy.deepcopy({**state.tensors(), **window.tensors(), **state.random_states()})
    CapturedSteps(state, source, window)._warm_up((False, True, False))
    assert differing({**state.tensors(), **window.tensors(), **state.random_states()}, before) == []


@settings
@in_cuda
def test_captured_is_eager(settings: dict[str, Any], marked: None) -> None:
    captured, expected = (state_of(settings, "cuda") for _ in range(2))
    for kind, run in ((CapturedSteps, captured), (EagerSteps, expected)):
        steps = kind(*run)
        for _ in range(8):
            steps.advance(1)
    assert differing(captured[0].tensors(), expected[0].tensors()) == []


@settings
@pytest.mark.parametrize("kind", [EagerSteps, CapturedSteps])
@in_cuda
def test_no_step_waits_for_the_gpu(settings: dict[str, Any], kind: type[EagerSteps], marked: None) -> None:
    state, source, window = state_of(settings, "cuda")
    assert_no_wait(kind(state, source, window), window)
