"""A run that was stopped, killed or crowded out goes on bit for bit as if nothing had happened."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import MODULE, Forks, Started
from safetensors.torch import load_file
from torch import Tensor, nn

from fastgan.data import load
from fastgan.training import Callback, TrainConfig, Trainer, checkpoint
from fastgan.training.alarms import Rule, Watch
from fastgan.training.export import export
from fastgan.training.recipes import recipe_for
from fastgan.training.run import load_generator, read_config
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import interpolation
from fastgan.training.session import resume_run, train_run
from fastgan.training.state import TrainingState
from tests.pictures import undrawn_pictures
from tests.test_cli import one_line, run

pytestmark = pytest.mark.usefixtures("undrawn")

CONFIG = TrainConfig(
    steps=20, batch_size=16, latent_dim=3, log_interval=4, sample_interval=10, checkpoint_interval=10
)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


def networks(dropout: bool, *, reconstructs: bool = False) -> tuple[nn.Module, nn.Module]:
    """A generator of points, and a discriminator with a logit, or as many outputs as inputs."""
    torch.manual_seed(0)
    between = nn.Dropout(0.5) if dropout else nn.BatchNorm1d(8)
    generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.Linear(8, 2))
    return generator, nn.Sequential(
        nn.Linear(2, 8), between, nn.LeakyReLU(0.2), nn.Linear(8, 2 if reconstructs else 1)
    )


class SavesAtTen(Callback):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_checkpoint(self, state: TrainingState) -> None:
        if state.step == 10:
            checkpoint.save(self.folder, state)


class Items:
    """A map-style dataset."""

    def __init__(self, samples: Tensor) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.samples[row], 7


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize(
    "settings",
    [
        {"instance_noise": 0.3},
        {"update": "simultaneous"},
        {"discriminator_steps": 2, "r1_gamma": 1.0, "penalty_interval": 3},
        {"precision": "bf16", "gradient_clip": 0.5},
        {"objective": "wasserstein", "gp_weight": 10.0, "dragan_weight": 1.0, "penalty_interval": 2},
        {"capture": False},
        {"objective": "began", "diversity_ratio": 1.0, "balance_rate": 0.05},
        {"objective": "began", "diversity_ratio": 1.0, "balance_rate": 0.05, "update": "simultaneous"},
    ],
    ids=str,
)
def test_two_halves_are_the_whole(
    tmp_path: Path, settings: dict[str, Any], streamed: bool, device: str
) -> None:
    config = replace(CONFIG, **settings, device=device)
    samples = load("ring").samples[:100]
    data = Items(samples) if streamed else samples
    began = config.objective == "began"
    penalized = config.r1_gamma + config.gp_weight > 0
    networks_of = lambda: networks(dropout=not penalized, reconstructs=began)  # noqa: E731
    whole = Trainer(*networks_of(), config, [SavesAtTen(tmp_path)]).fit(data, workers=0)
    half = Trainer(*networks_of(), config)
    torch.manual_seed(99)  # whatever this process did before
    checkpoint.restore(checkpoint.read(tmp_path), half.state)
    assert half.state.step == 10
    if began:
        assert 0 < half.state.objective.tensors()["k"] < 1
    half.fit(data, workers=0)
    ours, theirs = half.state.tensors(), whole.tensors()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def test_a_run_in_a_thread(tmp_path: Path) -> None:
    """Python lets the main thread alone heed signals."""
    data = load("ring")
    settings = {"steps": 4, "checkpoint_interval": 2, "batch_size": 16}
    recipe = recipe_for(data)
    config = RunConfig.of("ring", data, replace(recipe, config=replace(recipe.config, **settings)))
    with ThreadPoolExecutor() as pool:
        outcome = pool.submit(train_run, tmp_path / "thread", data, config).result()
        assert outcome.summary["steps"] == 4
        again = pool.submit(resume_run, tmp_path / "thread", data, config).result()
    assert again.folder == tmp_path / "thread"
    train_run(tmp_path / "main", data, config)
    assert_same_run(tmp_path / "thread", tmp_path / "main")


def test_a_run_under_another_default_dtype(tmp_path: Path) -> None:
    """Its files are those of float32, as its data are."""
    data = load("ring")
    recipe = recipe_for(data)
    config = RunConfig.of(
        "ring", data, replace(recipe, config=replace(recipe.config, steps=2, batch_size=16))
    )
    try:
        torch.set_default_dtype(torch.float64)
        again = load("ring")
        train_run(tmp_path / "run", again, config)
        _, generator = load_generator(tmp_path / "run")
        drawn = interpolation(generator, 2, config.training.latent_dim, seed=0)
        export(generator, config, tmp_path / "exported", "safetensors")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(again.samples, data.samples)
    assert drawn.dtype is torch.float32
    tensors = weights(tmp_path / "run").values()
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float32}


def test_keep_says_how_many_checkpoints_stay(tmp_path: Path) -> None:
    state = TrainingState(*networks(dropout=True), replace(CONFIG, keep=2))
    for state.step in (1, 2, 3):
        checkpoint.save(tmp_path, state)
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == ["checkpoint-00000002.safetensors", "checkpoint-00000003.safetensors"]
    (tmp_path / files[-1]).write_bytes(b"damaged")
    with pytest.raises(checkpoint.CheckpointError, match="remove it to continue from step 2"):
        checkpoint.read(tmp_path)
    (tmp_path / files[-1]).unlink()
    assert checkpoint.read(tmp_path).step == 2


def test_a_checkpoint_with_the_state_of_a_generator_still_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version drew a CPU's numbers with torch's generator, and kept its state."""
    state = Trainer(*networks(dropout=True), replace(CONFIG, steps=2)).fit(load("ring"))
    states = state.random_states() | {"state": torch.Generator().get_state()}
    monkeypatch.setattr(state, "random_states", lambda: states)
    checkpoint.save(tmp_path, state)
    again = TrainingState(*networks(dropout=True), state.config)
    checkpoint.restore(checkpoint.read(tmp_path), again)
    ours, theirs = again.tensors(), state.tensors()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


EARLY = Rule(
    name="early",
    needs=("loss_D",),
    begins=lambda row: row["loss_D"] > 0,
    ends=lambda row: False,
    patience=20,
    says=lambda row: "the loss is above 0",
    remedy="wait",
)
TIMES = {"steps_per_second": 0, "seconds": 0}  # in place of a row's own, which no two runs share
TRAIN = ("train", "ring", "--steps", 60, "--checkpoint-interval", 20, "--batch-size", 32)


def weights(folder: Path) -> dict[str, Tensor]:
    (path,) = folder.glob("checkpoint-*.safetensors")
    return load_file(path)


def assert_same_run(ours: Path, theirs: Path) -> None:
    found, expected = weights(ours), weights(theirs)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    rows = [
        [
            {**json.loads(line), "steps_per_second": 0, "seconds": 0}
            for line in (folder / "metrics.jsonl").open()
        ]
        for folder in (ours, theirs)
    ]
    assert rows[0] == rows[1]


def test_the_command_line_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fastgan.training.trainer.Watch", lambda: Watch([EARLY]))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(monkeypatch, *TRAIN, "--out", whole) == 0
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", dies_at(40))
        assert run(monkeypatch, *TRAIN, "--out", stopped) == 2
    assert checkpoint.read(stopped).step == 20
    assert run(monkeypatch, "train", "--resume", stopped) == 0
    assert_same_run(stopped, whole)
    summary = json.loads((stopped / "summary.json").read_text())
    assert summary["steps"] == 60
    assert [(alarm["since"], alarm["raised"]) for alarm in summary["alarms"]] == [(20, 40)]
    assert "alarm       the loss is above 0; wait (since step 20)" in capsys.readouterr().out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has its 60 steps; whoever changes it takes a copy."""
    out = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, undrawn_pictures():
        assert run(monkeypatch, *TRAIN, "--out", out) == 0
    return out


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir()}


def test_another_configuration_is_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(trained)
    for arguments, message in (
        (["--learning-rate", 0.5, "--seed", 3], "seed 0 became 3, learning_rate 0.002 became 0.5"),
        (["mnist"], "was trained on ring"),
        (["--out", "elsewhere"], "omit --out"),
    ):
        capsys.readouterr()
        assert run(monkeypatch, "train", "--resume", trained, *arguments) == 2
        assert message in one_line(capsys)
        assert contents(trained) == before


def test_a_damaged_log_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    log = out / "metrics.jsonl"
    log.write_text("[]\n" + log.read_text())
    before = {path: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert run(monkeypatch, "train", "--resume", out, "--steps", 80) == 2
    assert f"{log}: line 1 is damaged; repair or remove it" in one_line(capsys)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    log.unlink()
    (out / "summary.json").unlink()  # killed before it was written
    assert run(monkeypatch, "train", "--resume", out) == 0
    assert json.loads((out / "summary.json").read_text())["steps"] == 60


def state_of(folder: Path, steps: int) -> TrainingState:
    """A run's last checkpoint, trained on by the library to so many steps."""
    config = read_config(folder, "cpu")
    training = replace(config.training, steps=steps)
    trainer = Trainer(config.build_generator(), config.build_discriminator(), training)
    checkpoint.restore(checkpoint.read(folder), trainer.state)
    return trainer.fit(load("ring"))


def test_more_steps_extend_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their schedules are those of the whole, also where the extended run is killed and resumed."""
    out = tmp_path / "run"
    assert run(monkeypatch, *TRAIN, "--instance-noise", 0.5, "--out", out) == 0
    expected = state_of(out, 120).tensors()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", dies_at(100))
        assert run(monkeypatch, "train", "--resume", out, "--steps", 120) == 2
    assert "120 steps in place of 60, with their schedules" in capsys.readouterr().out
    assert read_config(out, "cpu").training.steps == 120
    assert run(monkeypatch, "train", "--resume", out) == 0
    assert "schedules" not in capsys.readouterr().out
    found = weights(out)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    rows = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == [20, 40, 60, 80, 100, 120]
    assert json.loads((out / "summary.json").read_text())["steps"] == 120


def dies_at(step: int) -> Callable[[Path, TrainingState], Path]:
    save = checkpoint.save

    def dies(folder: Path, state: TrainingState) -> Path:
        if state.step == step:
            raise OSError("[Errno 28] No space left on device")
        return save(folder, state)

    return dies


def test_a_run_that_has_its_steps_is_left_alone(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    said = f"nothing to do: {out} has been trained for 60 steps; give --steps a larger number\n"
    for steps in ((), ("--steps", 60), ("--steps", 20)):
        capsys.readouterr()
        assert run(monkeypatch, "train", "--resume", out, *steps) == 0
        assert capsys.readouterr().out == said
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_fewer_steps_end_a_run_that_was_stopped_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", dies_at(40))
        assert run(monkeypatch, *TRAIN, "--out", out) == 2
    expected = state_of(out, 50).tensors()
    assert run(monkeypatch, "train", "--resume", out, "--steps", 50) == 0
    assert [name for name in expected if not torch.equal(weights(out)[name], expected[name])] == []
    assert read_config(out, "cpu").training.steps == 50


def test_a_config_edited_by_hand_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("batch_size: 32", "batch_size: 64"))
    capsys.readouterr()
    assert run(monkeypatch, "train", "--resume", out) == 2
    assert "batch_size 32 became 64" in one_line(capsys)


def test_killed_three_times_it_still_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: Forks
) -> None:
    """At once, while a checkpoint is written, and at random; one is taken every fifth step."""
    settings = ("--steps", 1000, "--checkpoint-interval", 5, "--batch-size", 16)
    out = tmp_path / "killed"
    begin = ["train", "ring", *map(str, settings), "--out", str(out)]
    steps: list[int] = []
    for how in ("at once", "while it writes", "at random"):
        resumable = (out / checkpoint.INDEX).exists()
        arguments = ["train", "--resume", str(out)] if resumable else begin
        process = Started(forks, MODULE.format(arguments=["fastgan", *arguments], name="fastgan"))
        wait_for_training(out, process, after=steps[-1] if steps else 0)
        if how == "while it writes":
            until_it_writes(out, process)
        elif how == "at random":
            time.sleep(random.Random(0).uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        done = process.wait(60)
        assert done.returncode == -9, done.stderr
        steps.append(checkpoint.read(out).step)  # whole, each time
    assert steps == sorted(set(steps))
    assert 0 < steps[-1] < 1000
    last = checkpoint.read(out)
    reference = tmp_path / "reference"
    at_that_step = ("--checkpoint-interval", last.step, "--keep", 1000)
    # what comes after that step is of no interest
    monkeypatch.setattr(checkpoint, "save", dies_after(last.step))
    assert run(monkeypatch, *begin[:-1], reference, *at_that_step) == 2
    expected = load_file(reference / last.path.name)
    assert [name for name in expected if not torch.equal(last.tensors[name], expected[name])] == []


def dies_after(step: int) -> Callable[[Path, TrainingState], Path]:
    save = checkpoint.save

    def dies(folder: Path, state: TrainingState) -> Path:
        saved = save(folder, state)
        if state.step == step:
            raise OSError("[Errno 28] No space left on device")
        return saved

    return dies


def until_it_writes(out: Path, process: Started) -> None:
    """Until there is a checkpoint under the name that it has before it is whole."""
    deadline = time.monotonic() + 120
    while not any(out.glob(".checkpoint-*.tmp")):
        assert not process.has_ended
        assert time.monotonic() < deadline


def wait_for_training(out: Path, process: Started, after: int) -> None:
    """Until the run has taken a checkpoint beyond the given step."""
    deadline = time.monotonic() + 120
    while not process.has_ended and time.monotonic() < deadline:
        index = out / checkpoint.INDEX
        if index.exists() and json.loads(index.read_text())["checkpoints"][-1]["step"] > after:
            return
        time.sleep(0.01)
    raise AssertionError("the run made no progress")
