"""The hazards of a step in a CUDA graph: on a GPU as they are, elsewhere by stand-ins."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastgan.training import TrainConfig, Trainer
from fastgan.training.capture import CapturedSteps, EagerSteps
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.step import train_step
from fastgan.training.window import Window
from tests.test_resume import networks
from tests.test_training import data

CONFIG = TrainConfig(
    steps=24,
    batch_size=16,
    latent_dim=3,
    learning_rate_decay=1.0,
    instance_noise=0.3,
    log_interval=8,
    sample_interval=24,
    checkpoint_interval=24,
)
SETTINGS: dict[str, dict[str, Any]] = {
    "alternating": {},
    "simultaneous": {"update": "simultaneous"},
    "two turns of D": {"discriminator_steps": 2},
    "clipped": {"gradient_clip": 0.1},
    "bf16": {"precision": "bf16"},
    "SGD": {"optimizer": "sgd", "latent": "uniform", "momentum_steps": 8},
    "lazy R1": {"r1_gamma": 1.0, "penalty_interval": 3},
    "began": {"objective": "began", "instance_noise": 0.0, "diversity_ratio": 1.0, "balance_rate": 0.5},
    "began, simultaneous": {
        "objective": "began",
        "instance_noise": 0.0,
        "update": "simultaneous",
        "diversity_ratio": 1.0,
        "balance_rate": 0.5,
    },
    "WGAN-GP and DRAGAN": {"objective": "wasserstein", "gp_weight": 10.0, "dragan_weight": 1.0},
    "relativistic with R1 and R2": {"objective": "relativistic", "r1_gamma": 1.0, "r2_gamma": 1.0},
    "augmented": {"augment": True, "augment_images": 500, "augment_target": -0.5},
}
settings = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
on_a_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def networks_of(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    # dropout has no second derivative worth a name here: batch statistics instead, where there is R1
    pair = networks(dropout=config.r1_gamma + config.gp_weight == 0, reconstructs=config.objective == "began")
    if not config.augment:
        return pair
    return nn.Sequential(pair[0], nn.Unflatten(1, (2, 1, 1))), nn.Sequential(nn.Flatten(), pair[1])


def samples_of(config: TrainConfig) -> Tensor:
    return data().unflatten(1, (2, 1, 1)) if config.augment else data()


def state_of(config: TrainConfig) -> tuple[TrainingState, Resident, Window]:
    state = TrainingState(*networks_of(config), config)
    return state, Resident(samples_of(config).to(config.device)), Window(state)


def differing(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    return [name for name in theirs if not torch.equal(ours[name], theirs[name])]


@settings
def test_a_step_takes_nothing_from_the_host(settings: dict[str, Any]) -> None:
    """What a replay sees: the host's numbers stay those of the capture, and the device's alone move.

    A learning rate, a noise level or a row of the log that was a number of the host would be frozen here.
    """
    config = replace(CONFIG, **{**settings, "penalty_interval": 1})
    replayed, expected = state_of(config), state_of(config)
    torch.manual_seed(1)
    steps = EagerSteps(*expected)
    for _ in range(8):
        steps.advance(1)
    torch.manual_seed(1)
    for _ in range(8):
        train_step(*replayed, penalize=config.penalizes_at(0))
    assert differing(replayed[0].tensors(), expected[0].tensors()) == []
    assert torch.equal(replayed[2]._statistics, expected[2]._statistics)
    assert replayed[2]._statistics.abs().sum(dim=1).count_nonzero() == 8  # each step has its own row


@pytest.fixture
def streams_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def wait_stream(self, other: object) -> None:
            pass

    @contextlib.contextmanager
    def stream(_: Stream) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)


@settings
@pytest.mark.usefixtures("streams_of_a_cpu")
def test_a_warm_up_leaves_no_trace(settings: dict[str, Any]) -> None:
    """Weights, batch statistics, moments, average, random streams and the row of the log."""
    state, source, window = state_of(replace(CONFIG, **settings))
    EagerSteps(state, source, window).advance(1)
    before = copy.deepcopy({**state.tensors(), **window.tensors(), **state.random_states()})
    CapturedSteps(state, source, window)._warm_up((False, True, False))
    assert differing({**state.tensors(), **window.tensors(), **state.random_states()}, before) == []
    assert all(p.grad is None for p in (*state.generator.parameters(), *state.discriminator.parameters()))


def test_the_host_comes_back_in_time() -> None:
    """A replay of several steps never passes a log point, a picture or a checkpoint."""
    config = replace(CONFIG, steps=23, log_interval=8, sample_interval=7, checkpoint_interval=10)
    trainer = Trainer(*networks(dropout=True), config)
    distances = []
    for trainer.state.step in range(23):
        distances.append(trainer._until_event())
    assert distances == [7, 6, 5, 4, 3, 2, 1, 1, 2, 1, 4, 3, 2, 1, 2, 1, 4, 3, 2, 1, 1, 2, 1]


@settings
@pytest.mark.parametrize("steps_per_replay", [1, 4, 5])
@pytest.mark.parametrize("marked", [pytest.param(None, marks=on_a_gpu)], ids=["cuda"])
def test_captured_is_eager(settings: dict[str, Any], steps_per_replay: int, marked: None) -> None:
    config = replace(CONFIG, **settings, device="cuda", steps_per_replay=steps_per_replay)
    found = Trainer(*networks_of(config), config).fit(samples_of(config))
    eager = replace(config, capture=False)
    expected = Trainer(*networks_of(config), eager).fit(samples_of(config))
    assert differing(found.tensors(), expected.tensors()) == []


def assert_no_wait(steps: EagerSteps, window: Window) -> None:
    """Check that no step waits for the GPU, after four to build and capture."""
    for _ in range(4):
        steps.advance(1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            steps.advance(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert window.close().isfinite().all()


@settings
@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("marked", [pytest.param(None, marks=on_a_gpu)], ids=["cuda"])
def test_no_step_waits_for_the_gpu(settings: dict[str, Any], capture: bool, marked: None) -> None:
    state, source, window = state_of(replace(CONFIG, **settings, device="cuda", capture=capture))
    steps = (CapturedSteps if capture else EagerSteps)(state, source, window)
    assert_no_wait(steps, window)


@pytest.mark.parametrize("marked", [pytest.param(None, marks=on_a_gpu)], ids=["cuda"])
def test_replays_draw_new_numbers(marked: None) -> None:
    state, source, window = state_of(replace(CONFIG, device="cuda"))
    steps = CapturedSteps(state, source, window)
    for _ in range(8):
        steps.advance(1)
    losses = window.close()[:, 0].tolist()
    assert len(set(losses)) == 8


@pytest.mark.usefixtures("streams_of_a_cpu")
def test_another_thread_may_pin_memory_during_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """cudaHostAlloc in any thread invalidates a capture of the mode "global", which is PyTorch's default."""
    modes = []

    @contextlib.contextmanager
    def graph(_: object, pool: object, capture_error_mode: str = "global") -> Iterator[None]:
        modes.append(capture_error_mode)
        yield

    class Graph:
        def pool(self) -> None:
            pass

        def replay(self) -> None:
            pass

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    CapturedSteps(*state_of(CONFIG)).advance(1)
    assert modes == ["thread_local"]


@pytest.mark.parametrize("marked", [pytest.param(None, marks=on_a_gpu)], ids=["cuda"])
def test_memory_is_pinned_while_a_step_is_captured(marked: None) -> None:
    stop = threading.Event()

    def pin() -> None:
        size = 1 << 16
        while not stop.is_set():
            torch.empty(size, pin_memory=True)
            size += 4096  # of another size each time, or PyTorch would hand the same out again

    thread = threading.Thread(target=pin)
    thread.start()
    try:
        state, source, window = state_of(replace(CONFIG, device="cuda"))
        CapturedSteps(state, source, window).advance(1)
    finally:
        stop.set()
        thread.join()
    assert window.close().isfinite().all()
