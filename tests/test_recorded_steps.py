"""Recorded steps on a CPU: the bits of eager ones, what is recorded, and changes during a run."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan.cli.terminal import saying
from fastgan.kernels.cpu.tape import Tape, replay
from fastgan.models import Maxout, MLPDiscriminator, MLPGenerator
from fastgan.training import TrainConfig, Trainer, checkpoint
from fastgan.training.capture import LOG, EagerSteps, RecordedSteps, steps_of
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback, LogRow
from fastgan.training.window import Window

CONFIG = TrainConfig(
    steps=400,
    batch_size=24,
    latent_dim=3,
    learning_rate=2e-3,
    learning_rate_decay=1.0,
    instance_noise=0.3,
    log_interval=50,
    sample_interval=400,
    checkpoint_interval=400,
)
BOTH = {"alternating": {}, "simultaneous": {"update": "simultaneous"}}
SETTINGS: dict[str, dict[str, Any]] = {
    **{objective: {"objective": objective} for objective in ("bce", "hinge", "least-squares", "wasserstein")},
    **{objective: {"objective": objective} for objective in ("relativistic", "relativistic-average")},
    "saturating, smooth labels": {"generator_loss": "saturating", "real_label": 0.9},
    "R1 in each step": {"r1_gamma": 1.0, "penalty_interval": 1},
    "R1 and R2, lazy": {"r1_gamma": 1.0, "r2_gamma": 0.5, "penalty_interval": 3},
    "WGAN-GP": {"objective": "wasserstein", "gp_weight": 10.0, "penalty_interval": 2},
    "DRAGAN": {"dragan_weight": 10.0, "penalty_interval": 16},
    "relativistic, all penalties": {
        "objective": "relativistic",
        **{"r1_gamma": 1.0, "r2_gamma": 1.0, "gp_weight": 1.0, "dragan_weight": 1.0, "penalty_interval": 2},
    },
    "packs": {"pack": 3},
    "no noise, no average": {"instance_noise": 0.0, "ema_decay": 0.0},
    "weight decay": {"weight_decay": 0.1, "ema_decay": 0.9},
    "clipped": {"gradient_clip": 0.1, "r1_gamma": 1.0, "penalty_interval": 2},
    "SGD": {"optimizer": "sgd", "latent": "uniform", "learning_rate": 0.05, "momentum_steps": 100},
}
Networks = Callable[[TrainConfig], tuple[nn.Module, nn.Module]]


def data(width: int = 2) -> Tensor:
    return torch.randn(300, width, generator=torch.Generator().manual_seed(1))


def mlps(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    generator = MLPGenerator(config.latent_dim, (2,), (17, 33), bounded=True)
    return generator, MLPDiscriminator((2 * config.pack,), (33, 5))


def mixed(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    """Every kind of layer that a chain may have; layers of any width."""
    generator = nn.Sequential(
        *(nn.Linear(config.latent_dim, 20), nn.ReLU(), nn.Linear(20, 9, bias=False), nn.Tanh()),
        *(nn.Linear(9, 40), nn.Sigmoid(), nn.Linear(40, 2)),
    )
    discriminator = nn.Sequential(
        *(nn.Flatten(), Maxout(2 * config.pack, 7, 3), fastgan.nn.LinearLeakyReLU(7, 70, negative_slope=0.1)),
        *(nn.Linear(70, 3), nn.LeakyReLU(0.3), nn.Linear(3, 1)),
    )
    return generator, discriminator


def state_of(config: TrainConfig, networks: Networks = mlps) -> tuple[TrainingState, Resident, Window]:
    torch.manual_seed(0)
    state = TrainingState(*networks(config), config)
    return state, Resident(data()), Window(state)


def recorded(*run: Any) -> RecordedSteps:
    steps = RecordedSteps(*run, lambda: False)
    assert steps.reason is None
    return steps


def rows_of(steps: EagerSteps, count: int) -> Tensor:
    """Do so many steps; return the statistics."""
    state, window, rows = steps.state, steps.window, []
    state.hold()
    end, interval = state.step + count, state.config.log_interval
    while state.step < end:
        steps.advance(min(end - state.step, interval - state.step % interval))
        if state.step % interval == 0 or state.step == end:
            rows.append(window.close())
            window.open()
    return torch.cat(rows)


def assert_same(ours: TrainingState, theirs: TrainingState) -> None:
    tensors = theirs.tensors()
    differing = [name for name, t in ours.tensors().items() if not torch.equal(t, tensors[name])]
    assert not differing
    assert ours.step == theirs.step
    assert torch.equal(ours.clock, theirs.clock)
    assert torch.equal(ours.settings, theirs.settings)


@pytest.mark.parametrize("update", BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("networks", [mlps, mixed])
def test_the_same_bits_over_200_steps(
    settings: dict[str, Any], update: dict[str, Any], networks: Networks
) -> None:
    config = replace(CONFIG, **(settings | update))
    expected, found = state_of(config, networks), state_of(config, networks)
    of_expected = rows_of(EagerSteps(*expected), 200)
    assert torch.equal(rows_of(recorded(*found), 200), of_expected)
    assert_same(found[0], expected[0])
    assert of_expected.isfinite().all()


@pytest.mark.parametrize("last", [nn.ReLU(), nn.LeakyReLU(0.3), nn.Sigmoid(), nn.Tanh()], ids=str)
def test_any_activation_may_end_the_generator(last: nn.Module) -> None:
    def networks(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
        generator = nn.Sequential(nn.Linear(config.latent_dim, 20), nn.ReLU(), nn.Linear(20, 2), last)
        return generator, mlps(config)[1]

    expected, found = state_of(CONFIG, networks), state_of(CONFIG, networks)
    of_expected = rows_of(EagerSteps(*expected), 20)
    assert torch.equal(rows_of(recorded(*found), 20), of_expected)
    assert_same(found[0], expected[0])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_several_turns_of_d_with_any_number_of_threads(threads: int) -> None:
    config = replace(CONFIG, discriminator_steps=3, batch_size=150, r1_gamma=1.0, penalty_interval=4)
    expected, found = state_of(config), state_of(config)
    before = torch.get_num_threads()
    try:
        of_expected = rows_of(EagerSteps(*expected), 50)
        torch.set_num_threads(threads)
        assert torch.equal(rows_of(recorded(*found), 50), of_expected)
    finally:
        torch.set_num_threads(before)
    assert_same(found[0], expected[0])


def test_products_of_several_blocks(instruction_set: None) -> None:
    """Depths and rows above the blocks of the products, and sizes that fill no panel."""

    def wide(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
        generator = MLPGenerator(3, (301,), (67, 530), bounded=True)
        return generator, MLPDiscriminator((301,), (290, 35))

    config = replace(CONFIG, batch_size=310, r1_gamma=1.0, penalty_interval=2, log_interval=2)
    expected, found = ((TrainingState(*seeded(wide, config), config)) for _ in range(2))
    runs = [(state, Resident(data(301)), Window(state)) for state in (expected, found)]
    of_expected = rows_of(EagerSteps(*runs[0]), 4)
    assert torch.equal(rows_of(recorded(*runs[1]), 4), of_expected)
    assert_same(found, expected)


def seeded(networks: Networks, config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return networks(config)


def test_pixels(instruction_set: None) -> None:
    config = replace(CONFIG, instance_noise=0.1)
    images = torch.randint(256, (40, 1, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))

    def networks(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
        return MLPGenerator(3, (1, 3, 3), (16,), bounded=True), MLPDiscriminator((1, 3, 3), (16,))

    states = [TrainingState(*seeded(networks, config), config) for _ in range(2)]
    runs = [(state, Resident(images), Window(state)) for state in states]
    of_expected = rows_of(EagerSteps(*runs[0]), 60)
    assert torch.equal(rows_of(recorded(*runs[1]), 60), of_expected)
    assert_same(*states)


class _Points(torch.utils.data.Dataset[Tensor]):
    """A map-style data set with random augmentation."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([index / 50, 0.5]) + 0.1 * torch.randn(2)


def test_streamed_data() -> None:
    config = replace(CONFIG, steps=30, log_interval=10, discriminator_steps=2)
    states = []
    for capture in (True, False):
        trainer = Trainer(*seeded(mlps, config), replace(config, capture=capture))
        states.append(trainer.fit(_Points(), workers=0))
    assert_same(*states)


STRIDED = {
    "columns": torch.randn(300, 4)[:, ::2],
    "transposed": torch.randn(2, 300).T,
    "expanded": torch.randn(1, 2).expand(300, 2),
    "pixels": torch.randint(256, (300, 4), dtype=torch.uint8)[:, 1:3],
}


@pytest.mark.parametrize("samples", STRIDED.values(), ids=STRIDED)
def test_data_with_any_strides(samples: Tensor) -> None:
    config = replace(CONFIG, steps=20)
    configs = [replace(config, capture=capture) for capture in (True, False)]
    assert_same(*(Trainer(*seeded(mlps, each), each).fit(samples) for each in configs))


def test_other_defaults_of_pytorch() -> None:
    expected, found = state_of(CONFIG), state_of(CONFIG)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            steps = recorded(*found)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(rows_of(steps, 3), rows_of(EagerSteps(*expected), 3))
    assert_same(found[0], expected[0])


@pytest.mark.parametrize("first", [True, False])
def test_resume_from_either_into_the_other(first: bool, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=60, log_interval=10, r1_gamma=1.0, penalty_interval=4)
    whole, _, _ = run = state_of(config)
    rows_of(recorded(*run), 60)
    half, _, _ = run = state_of(config)
    rows_of((recorded if first else EagerSteps)(*run), 25)
    checkpoint.save(tmp_path, half)
    rest, source, _ = state_of(config)
    checkpoint.restore(checkpoint.read(tmp_path), rest)
    rows_of((EagerSteps if first else recorded)(rest, source, Window(rest)), 35)
    assert_same(rest, whole)


def test_capture_false_runs_eagerly() -> None:
    run = state_of(replace(CONFIG, capture=False))
    assert type(steps_of(*run)) is EagerSteps
    assert type(steps_of(*state_of(CONFIG))) is RecordedSteps


class _Told(nn.Sequential):
    pass


REASONS: dict[str, tuple[dict[str, Any], Networks, str]] = {
    "batch norm": (
        {},
        lambda c: (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), mlps(c)[1]),
        "generator: 1 is a BatchNorm1d",
    ),
    "dropout": (
        {},
        lambda c: (mlps(c)[0], nn.Sequential(nn.Linear(2, 4), nn.Dropout(), nn.Linear(4, 1))),
        "discriminator: 1 is a Dropout",
    ),
    "subclass": ({}, lambda c: (_Told(nn.Linear(3, 2)), mlps(c)[1]), "generator: the network is a _Told"),
    "began": ({"objective": "began", "instance_noise": 0.0}, mlps, "objective 'began' does not depend on"),
    "labels": ({"labels": True}, mlps, "the networks take labels"),
    "bf16": ({"precision": "bf16"}, mlps, "precision is 'bf16', expected 'fp32'"),
    "a probability": (
        {},
        lambda c: (mlps(c)[0], nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())),
        "discriminator: does not end with a linear layer of one logit",
    ),
    "a penalty through tanh": (
        {"r1_gamma": 1.0},
        lambda c: (mlps(c)[0], nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))),
        "discriminator: has a tanh or sigmoid",
    ),
}


@pytest.mark.parametrize(("settings", "networks", "reason"), REASONS.values(), ids=REASONS)
def test_what_cannot_be_recorded_is_named_and_runs_eagerly(
    settings: dict[str, Any], networks: Networks, reason: str
) -> None:
    config = replace(CONFIG, **settings)
    steps = RecordedSteps(*state_of(config, networks), lambda: False)
    assert steps.recording is None
    assert (steps.reason or "").startswith(reason)
    if settings.get("objective") != "began":
        steps.advance(50)
        assert steps.state.step == 1


def test_the_command_says_why_steps_run_eagerly(capsys: pytest.CaptureFixture[str]) -> None:
    with saying(LOG):
        RecordedSteps(*state_of(CONFIG), lambda: False)
        assert capsys.readouterr().out == ""
        RecordedSteps(*state_of(replace(CONFIG, precision="bf16")), lambda: False)
    assert capsys.readouterr().out == "steps run eagerly: precision is 'bf16', expected 'fp32'\n"


CHANGES: dict[str, tuple[Callable[[TrainingState], object], str]] = {
    "a hook": (
        lambda s: s.discriminator.mlp.layers[0].register_forward_hook(lambda *_: None),
        "from step 50 on, steps run eagerly: discriminator: mlp.layers.0 has a hook",
    ),
    "a frozen weight": (
        lambda s: s.generator.mlp.layers[1].weight.requires_grad_(False),
        "from step 50 on, steps run eagerly: generator: mlp.layers.1.weight is frozen",
    ),
    "another slope": (
        lambda s: setattr(s.discriminator.mlp, "negative_slope", 0.5),
        "step 50 is recorded anew: the discriminator changed",
    ),
    "a removed bias": (
        lambda s: setattr(s.generator.mlp.layers[0], "bias", None),
        "from step 50 on, steps run eagerly: generator: a parameter that the optimizer holds was removed",
    ),
    "other betas": (
        lambda s: setattr(s.generator_optimizer, "betas", (0.9, 0.9)),
        "step 50 is recorded anew: the settings changed",
    ),
    "another config": (
        lambda s: setattr(s, "config", replace(s.config, r1_gamma=1.0, penalty_interval=1)),
        "step 50 is recorded anew: the settings changed",
    ),
    "another learning rate": (
        lambda s: setattr(s.generator_optimizer, "learning_rate", torch.tensor(0.1)),
        "step 50 is recorded anew: memory of weights or of the optimizers changed",
    ),
    "moved moments": (
        lambda s: setattr(s.generator_optimizer, "exp_avg", [s.generator_optimizer.exp_avg[0].clone()]),
        "step 50 is recorded anew: memory of weights or of the optimizers changed",
    ),
}


@pytest.mark.parametrize(("change", "line"), CHANGES.values(), ids=CHANGES)
def test_a_change_between_steps_is_noticed(change: Callable[[TrainingState], object], line: str) -> None:
    expected, found = state_of(CONFIG), state_of(CONFIG)
    eager, steps = EagerSteps(*expected), recorded(*found)
    for each in (eager, steps):
        rows_of(each, 50)
        change(each.state)
    with pytest.warns(RuntimeWarning, match=line):
        steps.advance(1)
    eager.advance(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps.advance(1)
        eager.advance(1)
    if "eagerly" not in line:  # a frozen weight or a hook takes another path, which rounds differently
        assert_same(found[0], expected[0])


def test_another_number_of_threads_in_flight() -> None:
    config = replace(CONFIG, batch_size=150)
    expected, found = state_of(config), state_of(config)
    rows_of(EagerSteps(*expected), 20)
    steps, threads = recorded(*found), torch.get_num_threads()
    steps.advance(10)
    try:
        torch.set_num_threads(threads + 1)
        with pytest.warns(
            RuntimeWarning, match=f"step 10 is recorded anew: threads changed from {threads} to"
        ):
            steps.advance(10)
    finally:
        torch.set_num_threads(threads)
    found[2].close()
    assert_same(found[0], expected[0])


def test_a_weight_edited_in_place_counts() -> None:
    """Packed copies of weights are made anew in each replay."""
    expected, found = state_of(CONFIG), state_of(CONFIG)
    for steps in (EagerSteps(*expected), recorded(*found)):
        rows_of(steps, 3)
        with torch.no_grad():
            steps.state.discriminator.mlp.layers[1].weight.mul_(1.5)
        rows_of(steps, 3)
    assert_same(found[0], expected[0])


def test_a_moved_weight_is_taken_back_and_a_resized_one_refused() -> None:
    expected, found = state_of(CONFIG), state_of(CONFIG)
    for steps in (EagerSteps(*expected), recorded(*found)):
        weight = steps.state.generator.mlp.layers[0].weight
        weight.data = weight.data + 1
        rows_of(steps, 3)
    assert_same(found[0], expected[0])
    weight.data = torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"a parameter of shape \[17, 3\] now has shape \[1, 3\]"):
        steps.advance(1)


def test_a_replay_is_seen_by_autograd() -> None:
    state, source, window = state_of(CONFIG)
    steps = recorded(state, source, window)
    weight = state.generator.mlp.layers[0].weight
    loss = state.generator(torch.ones(1, 3)).sum()
    steps.advance(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert weight.grad is None


def slow(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    return MLPGenerator(3, (400,), (500,), bounded=True), MLPDiscriminator((400,), (500,))


def test_ctrl_c_ends_within_a_step() -> None:
    """The signal's handler runs in the middle of a replay of many steps."""
    config = replace(CONFIG, batch_size=2_000, log_interval=400)
    trainer = Trainer(*seeded(slow, config), config)
    state, source, window = trainer.state, Resident(data(400)), Window(trainer.state)
    steps = RecordedSteps(state, source, window, lambda: trainer._stopping)
    assert steps.reason is None
    state.hold()
    seen = []

    def handler(number: int, frame: object) -> None:
        seen.append(int(window._row))  # steps done so far, written by the replay
        trainer.stop()

    before = signal.signal(signal.SIGUSR1, handler)
    ringing = threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        ringing.start()
        while not seen:
            steps.advance(400 - state.step)
    finally:
        ringing.join()
        signal.signal(signal.SIGUSR1, before)
    # the step of the signal, and one that another thread began at that moment
    assert seen[0] <= state.step <= seen[0] + 2
    assert int(window._row) == state.step < 400


def test_an_error_of_a_handler_is_raised() -> None:
    tape = Tape()
    tape.stage()
    tape.unit(1, 1)

    class RungError(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise RungError

    before = signal.signal(signal.SIGUSR1, handler)
    ringing = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        ringing.start()
        with pytest.raises(RungError):
            replay([tape], [0] * 10**7, 1, 1, 60.0, lambda: False)
    finally:
        ringing.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("in_question", [False, True])
def test_an_error_ends_all_threads_after_their_step(in_question: bool) -> None:
    """Whether a signal's handler raises it, or is_stopping. Steps take longer than the time between calls."""
    config = replace(CONFIG, batch_size=2_000, log_interval=400)
    state, source, window = state_of(config, slow)
    source = Resident(data(400))

    class RungError(Exception):
        pass

    def ring(*_: object) -> bool:
        if int(window._row) >= 2:
            raise RungError
        return False

    steps = RecordedSteps(state, source, window, ring if in_question else lambda: False)
    assert steps.reason is None
    state.hold()
    before = signal.signal(signal.SIGALRM, ring)
    try:
        if not in_question:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        with pytest.raises(RungError):
            rows_of(steps, 400)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    weight = state.generator.mlp.layers[0].weight.clone()
    assert 2 <= state.step == int(state.clock) == int(window._row) < 400
    time.sleep(0.05)
    assert torch.equal(state.generator.mlp.layers[0].weight, weight)
    rest = EagerSteps(*state_of(config, slow))
    rest.source = source
    rows_of(rest, state.step)
    assert_same(state, rest.state)


def test_a_replay_runs_the_least_number_of_tapes() -> None:
    """The time may be over, and the run may be stopped, before weights are packed."""
    tape = Tape()
    tape.stage()
    tape.unit(1, 1)
    assert replay([tape], [0] * 100, 2, 1, 0.0, lambda: True) == 2


def test_a_replay_returns_after_its_seconds() -> None:
    tape = Tape()
    tape.stage()
    tape.unit(1, 1)
    start = time.perf_counter()
    done = replay([tape], [0] * 10**7, 1, 2, 0.05, lambda: False)
    assert 0 < done < 10**7
    assert time.perf_counter() - start < 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_inside(tmp_path: Path) -> None:
    """A forked process has none of the threads, and records anew."""
    config = replace(CONFIG, batch_size=150)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = state_of(config)
        steps = recorded(*run)
        rows_of(steps, 10)
        child = os.fork()
        if child == 0:
            try:
                with pytest.warns(RuntimeWarning, match="step 10 is recorded anew: process changed"):
                    steps.advance(10)
                torch.save(run[0].generator.state_dict(), tmp_path / "child")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        rows_of(steps, 10)
    finally:
        torch.set_num_threads(before)
    of_child = torch.load(tmp_path / "child")
    assert all(torch.equal(of_child[name], t) for name, t in run[0].generator.state_dict().items())


def test_threads_of_python_may_train_at_the_same_time() -> None:
    runs = [state_of(replace(CONFIG, seed=seed)) for seed in range(4)]
    alone = [state_of(replace(CONFIG, seed=seed)) for seed in range(4)]
    threads = [threading.Thread(target=rows_of, args=(recorded(*run), 100)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found, expected in zip(runs, alone, strict=True):
        rows_of(EagerSteps(*expected), 100)
        assert_same(found[0], expected[0])


class _Rows(Callback):
    def __init__(self) -> None:
        self.rows: list[LogRow] = []

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.rows.append(row)


def test_a_trainer_logs_the_same_rows() -> None:
    logs = []
    for capture in (True, False):
        callback = _Rows()
        config = replace(CONFIG, steps=120, capture=capture)
        Trainer(*seeded(mlps, config), config, [callback]).fit(data())
        logs.append([(row.step, row.values, row.alarms) for row in callback.rows])
    assert logs[0] == logs[1]
    assert len(logs[0]) == 3


def test_nothing_is_allocated_while_training() -> None:
    steps = recorded(*state_of(CONFIG))
    calls: list[str] = []

    class Noted(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls.append(str(func))
            return func(*args, **(kwargs or {}))

    with Noted():
        steps.advance(50)
    assert steps.state.step == 50
    assert not calls


def test_wrong_sizes_are_refused() -> None:
    tape = Tape()
    tape.stage()
    tape.unit(4, 2)
    with pytest.raises(ValueError, match="5 rows or elements, expected a multiple of the unit's 4"):
        tape.fill(torch.zeros(5), 1.0)
    with pytest.raises(ValueError, match="expected 12 elements"):
        tape.copy(torch.zeros(8), torch.zeros(12))
    with pytest.raises(TypeError, match=r"plain contiguous torch\.float32"):
        tape.fill(torch.zeros(4, dtype=torch.float64), 1.0)
