"""FID while training: it equals the formula, leaves no trace in training, and its best checkpoint is kept."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import fastgan
from fastgan.data import Dataset, load
from fastgan.metrics import (
    ExtractorError,
    RunningMoments,
    frechet_distance,
    load_extractor,
)
from fastgan.metrics import classifier as classifiers
from fastgan.metrics.extractor import features_of
from fastgan.training import Callback, ConfigError, TrainConfig, Trainer, checkpoint
from fastgan.training.feed import source_of
from fastgan.training.fid import Best, Fid
from fastgan.training.real_features import REAL_FEATURES
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow
from tests.pictures import Shown
from tests.test_cli import one_line, run
from tests.test_resume import Items, networks

pytestmark = pytest.mark.filterwarnings("ignore:fastgan runs on plain PyTorch")

CONFIG = TrainConfig(
    steps=20,
    batch_size=16,
    latent_dim=3,
    log_interval=4,
    sample_interval=20,
    checkpoint_interval=10,
    metrics_interval=5,
    metrics_samples=50,
)
POINTS = load("ring").samples[:100]
TRAIN = ("train", "digits", "--steps", 60, "--checkpoint-interval", 20, "--batch-size", 8, "--latent-dim", 4)
MEASURED = ("--metrics-interval", 10, "--metrics-samples", 100)


class Stretches(nn.Module):
    """Three features of points; draws from torch's own stream, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.dropout = nn.Dropout(0.5)

    def forward(self, samples: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(3)
        return self.dropout(torch.cat([samples, samples[:, :1].square()], dim=1))


class Heard(Callback):
    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self.best: list[Best] = []

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.rows.append(row)

    def on_best(self, state: TrainingState, best: Best) -> None:
        assert best.step == state.step
        self.best.append(best)


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated; its files are around
        torch.jit.script(module).save(path)
    return path


@pytest.fixture
def quick_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "_STEPS", 3)


# --- Moments


@pytest.mark.parametrize("sizes", [(200,), (1, 199), (64, 64, 64, 8), (1,) * 200])
def test_moments_of_batches_are_those_of_the_whole(sizes: tuple[int, ...]) -> None:
    """Far from zero too, where the mean of squares has lost the variance to rounding."""
    features = torch.randn(200, 5, dtype=torch.float64) * 1e-3 + 1e5
    running = RunningMoments()
    for part in features.split(sizes):
        running.add(part)
    found = running.moments()
    assert found.count == running.count == 200
    torch.testing.assert_close(found.mean, features.mean(dim=0), rtol=1e-15, atol=0)
    torch.testing.assert_close(found.covariance, torch.cov(features.T), rtol=1e-7, atol=1e-13)


def test_moments_of_bad_batches() -> None:
    running = RunningMoments()
    with pytest.raises(ValueError, match="features of 0 samples have no covariance"):
        running.moments()
    running.add(torch.zeros(3, 2))
    for batch, said in (
        (torch.zeros(3, 4), r"features has shape \[3, 4\], expected \[N, 2\]"),
        (torch.zeros(2), r"features has shape \[2\]"),
        (torch.full((1, 2), math.nan), "features holds nan"),
    ):
        with pytest.raises(ValueError, match=said):
            running.add(batch)


@pytest.mark.parametrize("width", [2, 64])
def test_the_distance_is_that_of_scipys_square_root(width: int) -> None:
    """The formula of the paper's authors, as in torch-fidelity and pytorch-fid (tests/peers.py has these)."""
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    torch.manual_seed(1)
    real = torch.randn(500, width, dtype=torch.float64) @ torch.randn(width, width, dtype=torch.float64)
    fake = torch.rand(400, width, dtype=torch.float64) * 3
    moments = [(t.mean(dim=0).numpy(), np.cov(t.numpy(), rowvar=False)) for t in (real, fake)]
    (mean, covariance), (mean2, covariance2) = moments
    root = sqrtm(covariance @ covariance2).real
    expected = ((mean - mean2) ** 2).sum() + np.trace(covariance + covariance2 - 2 * root)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)
    running = RunningMoments()
    for part in real.split(33):
        running.add(part)
    assert frechet_distance(running.moments(), fake) == pytest.approx(expected, rel=1e-9)


# --- Training


def trained(
    config: TrainConfig, data: Any = POINTS, extractor: nn.Module | None = None
) -> tuple[Trainer, Heard]:
    heard = Heard()
    trainer = Trainer(*networks(dropout=True), config, [heard], extractor=extractor or Stretches())
    trainer.fit(data, workers=0)
    return trainer, heard


@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize("settings", [{}, {"update": "simultaneous", "precision": "bf16"}], ids=str)
def test_it_leaves_no_trace_in_training(settings: dict[str, Any], streamed: bool) -> None:
    """Weights, moments, average and random streams, bit for bit; nor in the extractor's modes."""
    config, data = replace(CONFIG, **settings), Items(POINTS) if streamed else POINTS
    extractor = Stretches()
    extractor.dropout.eval()
    found, heard = trained(config, data, extractor)
    stream = torch.get_rng_state()
    expected, _ = trained(replace(config, metrics_interval=0), data)
    ours, theirs = found.state.tensors(), expected.state.tensors()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert torch.equal(stream, torch.get_rng_state())
    assert (extractor.training, extractor.dropout.training) == (True, False)
    assert [row.step for row in heard.rows if "fid" in row.values] == [5, 10, 15, 20]


def test_recorded_steps_stay_recorded_steps() -> None:
    """Chains, whose steps run as one replay: no trace there either."""

    def trained(interval: int) -> TrainingState:
        torch.manual_seed(0)
        generator, discriminator = fastgan.nn.MLP([3, 8, 2]), fastgan.nn.MLP([2, 8, 1])
        config = replace(CONFIG, metrics_interval=interval)
        return Trainer(generator, discriminator, config, extractor=Stretches()).fit(POINTS)

    ours, theirs = trained(5).tensors(), trained(0).tensors()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
def test_the_value_is_that_of_all_features_at_once(streamed: bool) -> None:
    trainer, heard = trained(CONFIG, Items(POINTS) if streamed else POINTS)
    latent = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    extractor = Stretches().eval()
    expected = frechet_distance(extractor(POINTS), extractor(trainer.state.average(latent)))
    assert heard.rows[-1].values["fid"] == pytest.approx(expected, rel=1e-5)


def test_neither_the_batch_size_nor_the_network_s_dtype_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for batch, real_at_once, double in ((16, 256, False), (5, 7, False), (16, 256, True)):
        monkeypatch.setattr("fastgan.training.fid._REAL_AT_ONCE", real_at_once)
        config = replace(CONFIG, batch_size=batch, steps=1, learning_rate=1e-30)
        torch.manual_seed(0)
        players = [nn.Linear(3, 2), nn.Linear(2, 1)]  # without batch norm, whose statistics steps change
        players = [player.double() if double else player for player in players]
        heard = Heard()
        Trainer(*players, config, [heard], extractor=Stretches()).fit(POINTS)
        found.append(heard.rows[-1].values["fid"])
    assert found[1:] == pytest.approx(found[:1] * 2, rel=1e-4)


class Copies(nn.Module):
    """Makes points from labels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, latent: Tensor, y: Tensor) -> Tensor:
        return self.scale * y[:, None].to(latent.dtype).expand(-1, 2)


class Ignores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, samples: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = self.linear(samples)
        return logits


class Pairs:
    """A map-style dataset of points and labels."""

    def __init__(self, points: Tensor, y: Tensor) -> None:
        self.points, self.y = points, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.points[row], int(self.y[row])


@pytest.mark.parametrize("form", [lambda *data: data, Pairs], ids=["resident", "streamed"])
def test_labels_of_generated_samples_do_not_depend_on_the_step(form: Callable[[Tensor, Tensor], Any]) -> None:
    """Else a resumed run would measure something else."""
    config, values = replace(CONFIG, labels=True, metrics_samples=300), []
    for step in (0, 7):
        state = TrainingState(Copies(), Ignores(), config)
        state.step = step
        source = source_of(form(POINTS, torch.arange(100)), state, 0)
        fid = Fid(state, source, nn.Identity(), lambda: False, None)
        fid.prepare()
        values.append(fid.measure())
    assert values[0] == values[1]


@pytest.mark.parametrize("form", [lambda *data: data, Pairs], ids=["resident", "streamed"])
def test_labels_of_generated_samples_are_as_frequent_as_real_ones(
    form: Callable[[Tensor, Tensor], Any],
) -> None:
    y = (torch.arange(300) % 10 == 0).long() * 5
    points = y[:, None].float().expand(-1, 2).clone()
    heard = Heard()
    config = replace(CONFIG, labels=True, learning_rate=1e-30, metrics_samples=400)
    Trainer(Copies(), Ignores(), config, [heard], extractor=nn.Identity()).fit(form(points, y), workers=0)
    rare = frechet_distance(points, torch.zeros_like(points).add_(1e-6 * torch.randn_like(points)))
    assert heard.rows[-1].values["fid"] < 0.05 * rare


def test_the_best_is_the_lowest() -> None:
    trainer, heard = trained(replace(CONFIG, learning_rate=0.01, steps=60))
    values = {row.step: row.values["fid"] for row in heard.rows if "fid" in row.values}
    lowest = math.inf
    expected = []
    for step, value in values.items():
        if value < lowest:
            lowest = value
            expected.append((step, value))
    assert [(best.step, best.fid) for best in heard.best] == expected
    assert trainer.best == heard.best[-1]
    assert len(expected) > 1


def test_none_is_measured_of_samples_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    look = TrainingState.look
    monkeypatch.setattr(TrainingState, "look", lambda *args, **kw: look(*args, **kw) / 0)
    _, heard = trained(CONFIG)
    assert all("fid" not in row.values for row in heard.rows)


def test_digits_have_the_classifier_s_features(quick_classifier: None) -> None:
    digits = load("digits")
    generator = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)), nn.Tanh())
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    config, heard = replace(CONFIG, steps=5, metrics_samples=100), Heard()
    state = Trainer(generator, discriminator, config, [heard]).fit(digits)
    assert digits.labelled is not None
    features = classifiers.train_classifier(digits.labelled).features
    latent = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    expected = frechet_distance(features(digits.samples), features(state.average(latent)))
    assert heard.rows[-1].values["fid"] == pytest.approx(expected, rel=1e-5)


def test_few_samples_are_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match="FID of 3 samples with 3 features: the covariance is singular"):
        trained(replace(CONFIG, metrics_samples=3))


def test_a_stop_ends_a_measurement() -> None:
    """As the first Ctrl-C does: the step's row and checkpoint are there, without a value."""

    class Stops(Stretches):
        def forward(self, samples: Tensor) -> Tensor:
            if self.calls == 10:  # of generated samples, batch by batch
                trainer.stop()
            return super().forward(samples)

    heard, extractor = Heard(), Stops()
    config = replace(CONFIG, metrics_samples=10_000)
    trainer = Trainer(*networks(dropout=True), config, [heard], extractor=extractor)
    assert trainer.fit(POINTS).step == 5
    assert extractor.calls == 11
    assert [(row.step, "fid" in row.values) for row in heard.rows] == [(4, False), (5, False)]


def test_a_stop_before_the_first_step() -> None:
    class Stops(Stretches):
        def forward(self, samples: Tensor) -> Tensor:
            trainer.stop()
            return super().forward(samples)

    trainer = Trainer(*networks(dropout=True), CONFIG, extractor=Stops())
    assert trainer.fit(POINTS).step == 0
    trainer.extractor = Stretches()
    assert trainer.fit(POINTS).step == 20


# --- Bad extractors and settings


class Returns(nn.Module):
    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, samples: Tensor) -> Any:
        return self.make(samples)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: x.sum(dim=1), "extractor returns features of shape [4] for 4 samples, expected a tensor"),
        (lambda x: x.view(4, 2, 1), "features of shape [4, 2, 1] for 4 samples, expected a tensor of shape"),
        (lambda x: x[:1], "features of shape [1, 2] for 4 samples"),
        (lambda x: x[:, :0], "features of shape [4, 0] for 4 samples"),
        (lambda x: (x, x), "extractor returns a tuple for 4 samples, expected a tensor of shape [4, D]"),
        (lambda x: x.long(), "extractor returns features of torch.int64, expected floats"),
        (lambda x: x / 0, "extractor returns nan or infinite features of finite samples"),
        (
            lambda x: nn.Linear(3, 4)(x),
            "extractor does not take samples of shape [4, 2]: mat1 and mat2 shapes cannot be multiplied",
        ),
    ],
)  # fmt: skip
def test_outputs_that_are_no_features(make: Callable[[Tensor], Any], said: str) -> None:
    with pytest.raises(ExtractorError, match=re.escape(said)) as raised:
        features_of(Returns(make), torch.ones(4, 2))
    assert "\n" not in str(raised.value)


def test_grey_images_for_an_extractor_of_rgb(tmp_path: Path) -> None:
    rgb = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Dropout())
    script = load_extractor(scripted(rgb, tmp_path / "rgb.pt"))
    for extractor in (rgb, script):
        with pytest.raises(ExtractorError) as raised:
            features_of(extractor, torch.zeros(2, 1, 8, 8))
        said = str(raised.value)
        assert said.startswith("extractor does not take samples of shape [2, 1, 8, 8]: Given groups=1")
        assert "expected input[2, 1, 8, 8] to have 3 channels, but got 1 channels instead" in said
        assert "\n" not in said


def test_frozen_torchscript_has_no_modes(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Dropout()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.freeze(torch.jit.script(module)).save(tmp_path / "frozen.pt")
    samples = torch.randn(4, 2)
    assert torch.equal(features_of(load_extractor(tmp_path / "frozen.pt"), samples), module(samples))


@pytest.mark.parametrize("content", ["text", "nothing", "weights", "pickle", "folder", None])
def test_files_that_are_no_extractors(tmp_path: Path, content: str | None) -> None:
    """A pickle is not read, whatever it would do."""
    path = tmp_path / "extractor.pt"
    if content == "folder":
        path.mkdir()
    elif content in ("text", "nothing"):
        path.write_text("text" if content == "text" else "")
    elif content is not None:
        torch.save(nn.Linear(2, 2).state_dict() if content == "weights" else nn.Linear(2, 2), path)
    said = "no such file; give" if content in ("folder", None) else "not a TorchScript file; write one with"
    with pytest.raises(ExtractorError, match=said) as raised:
        Trainer(*networks(dropout=True), replace(CONFIG, extractor=path))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metrics_interval": -1}, "metrics_interval is -1, expected a whole number from 0 to"),
        ({"metrics_samples": 1}, "metrics_samples is 1, expected a whole number from 2 to"),
        ({"extractor": nn.Identity()}, r"extractor is Identity\(\), expected a path"),
    ],
)
def test_bad_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(CONFIG, **settings)


def test_an_extractor_needs_an_interval() -> None:
    with pytest.raises(ConfigError, match=r"extractor is 'e\.pt', expected none unless"):
        TrainConfig(extractor="e.pt")


def test_data_without_classes_need_an_extractor() -> None:
    for data in (POINTS, Dataset("points", POINTS)):
        with pytest.raises(ConfigError, match="metrics_interval is 5, but these data have no classes"):
            Trainer(*networks(dropout=True), CONFIG).fit(data)


# --- Runs


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, shown: Shown) -> Path:
    """A run of 60 steps whose FID is measured every ten."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(classifiers, "_STEPS", 3)
        assert run(monkeypatch, *TRAIN, *MEASURED, "--out", folder) == 0
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


def values_of(folder: Path) -> dict[int, float]:
    return {row["step"]: row["fid"] for row in rows_of(folder) if "fid" in row}


def test_a_run_keeps_its_best_checkpoint(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = values_of(measured)
    assert list(values) == [10, 20, 30, 40, 50, 60]
    step, lowest = min(values.items(), key=lambda pair: pair[1])
    index = json.loads((measured / "checkpoint.json").read_text())
    assert (index["best"]["step"], index["best"]["fid"]) == (step, lowest)
    kept = {path.name for path in measured.glob("checkpoint-*")}
    assert kept == {f"checkpoint-{number:08}.safetensors" for number in (step, 60)}
    assert json.loads((measured / "summary.json").read_text())["best"] == {"step": step, "fid": lowest}
    best, last = checkpoint.read(measured, best=True), checkpoint.read(measured)
    assert (best.step, last.step) == (step, 60)
    weights = fastgan.load(measured, best=True).network.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in best.part("average").items())
    for command in ("sample", "interpolate"):
        assert run(monkeypatch, command, measured, "--best", "--out", tmp_path / "s.png") == 0
    monkeypatch.setattr("fastgan.training.evaluation.compare", lambda *_: {})
    capsys.readouterr()
    for options, shown in ((("--best",), step), ((), 60)):
        assert run(monkeypatch, "evaluate", measured, "--count", 50, *options) == 0
        assert re.search(rf"step +{shown} *\n", capsys.readouterr().out)


def test_the_dashboard_has_it(measured: Path, shown: Shown) -> None:
    losses, outputs, fid, *_ = shown(measured / "dashboard.png")
    assert losses == outputs == [len(rows_of(measured))] * 2
    assert fid == [6, 1]


@pytest.mark.usefixtures("undrawn", "quick_classifier")
def test_a_run_that_is_killed_and_resumed_ends_the_same(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without computing the real features again, or forgetting the best so far."""
    out = tmp_path / "run"
    save = checkpoint.save

    def dies(folder: Path, state: TrainingState, best: Best | None = None) -> Path:
        if state.step == 40:
            raise OSError("the disk is gone")
        return save(folder, state, best)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", dies)
        assert run(patch, *TRAIN, *MEASURED, "--out", out) == 2
    monkeypatch.setattr("fastgan.training.source.Resident.everything", None)
    monkeypatch.setattr(classifiers, "train_classifier", None)
    assert run(monkeypatch, "train", "--resume", out) == 0
    assert values_of(out) == values_of(measured)
    ours, theirs = (json.loads((folder / "checkpoint.json").read_text()) for folder in (out, measured))
    assert ours == theirs
    for entry in (theirs["best"], *theirs["checkpoints"]):
        one, two = (load_file(folder / entry["tensors"]) for folder in (out, measured))
        assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.usefixtures("undrawn", "quick_classifier")
@pytest.mark.parametrize("damage", ["other key", "no safetensors", "cut", "removed"])
def test_a_damaged_cache_is_computed_again(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = shutil.copytree(measured, tmp_path / "run")
    path = out / REAL_FEATURES
    whole = path.read_bytes()
    if damage == "removed":
        path.unlink()
    elif damage == "other key":
        path.write_bytes(re.sub(rb'"key":"..', b'"key":"__', whole))
        assert path.read_bytes() != whole
    else:
        path.write_bytes(b"text" if damage == "no safetensors" else whole[: len(whole) // 2])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert run(monkeypatch, "train", "--resume", out, "--steps", 70) == 0
    told = [str(each.message) for each in said if "computed again" in str(each.message)]
    assert len(told) == (damage in ("no safetensors", "cut"))
    assert path.read_bytes() == whole
    assert list(values_of(out)) == [10, 20, 30, 40, 50, 60, 70]


@pytest.mark.usefixtures("undrawn", "quick_classifier", "heeded_signals")
def test_an_interrupted_measurement_is_made_up_for(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the third value is measured: the run is saved, and ends the same when it is resumed."""
    out = tmp_path / "run"
    measure = Fid.measure
    steps = []

    def interrupted(fid: Fid) -> dict[str, float]:
        steps.append(fid._state.step)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)
        return measure(fid)

    with monkeypatch.context() as patch:
        patch.setattr(Fid, "measure", interrupted)
        assert run(patch, *TRAIN, *MEASURED, "--out", out) == 130
    assert steps == [10, 20, 30]
    assert list(values_of(out)) == [10, 20]
    assert checkpoint.read(out).step == 30
    assert run(monkeypatch, "train", "--resume", out) == 0
    assert values_of(out) == values_of(measured)
    best = [json.loads((folder / "checkpoint.json").read_text())["best"] for folder in (out, measured)]
    assert best[0] == best[1]


@pytest.mark.usefixtures("undrawn")
def test_any_images_with_an_extractor_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resident and streamed; the path may be relative, and the file may move before the run is resumed."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 6), dtype=np.uint8)
    np.save("a.npy", pixels)
    scripted(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), Path("e.pt"))
    settings = ("--steps", 4, "--batch-size", 4, "--metrics-interval", 2, "--metrics-samples", 20)
    found = []
    for streamed in ((), ("--stream", "--workers", 0)):
        out = f"run{len(streamed)}"
        command = ("train", "a.npy", *settings, "--extractor", "e.pt", "--model", "mlp", "--out", out)
        assert run(monkeypatch, *command, *streamed) == 0
        found.append(values_of(Path(out)))
    assert list(found[0]) == [2, 4]
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    Path("e.pt").rename("moved.pt")
    capsys.readouterr()
    assert run(monkeypatch, "train", "--resume", "run0", "--steps", 6) == 2
    assert one_line(capsys) == (
        f"fastgan: {tmp_path / 'e.pt'}: no such file; give a TorchScript file as the extractor"
    )
    assert run(monkeypatch, "train", "--resume", "run0", "--steps", 6, "--extractor", "moved.pt") == 0
    assert list(values_of(Path("run0"))) == [2, 4, 6]


@pytest.mark.usefixtures("undrawn")
def test_another_extractor_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values cannot be compared with those so far, nor those of another number of samples."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).normal(size=(30, 2)))
    scripted(nn.Linear(2, 2), Path("small.pt"))
    scripted(Returns1000(), Path("large.pt"))
    settings = ("--batch-size", 4, "--metrics-interval", 2, "--metrics-samples", 20)
    assert (
        run(monkeypatch, "train", "a.npy", "--steps", 4, *settings, "--extractor", "small.pt", "--out", "run")
        == 0
    )
    before = checkpoint.best_of(Path("run"))
    assert run(monkeypatch, "train", "--resume", "run", "--steps", 8, "--extractor", "large.pt") == 0
    after = checkpoint.best_of(Path("run"))
    assert before is not None
    assert after is not None
    assert after.step > 4
    assert after.fid > 100 * before.fid


class Returns1000(nn.Module):
    def forward(self, samples: Tensor) -> Tensor:
        return samples * 1000


@pytest.mark.usefixtures("undrawn")
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((9, 6, 6), np.uint8))
    np.save("one.npy", np.zeros((1, 6, 6), np.uint8))
    scripted(nn.Conv2d(1, 2, 3), Path("maps.pt"))
    scripted(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), Path("rgb.pt"))
    scripted(nn.Flatten(), Path("flat.pt"))
    torch.save(nn.Linear(2, 2).state_dict(), "weights.pt")
    for options, said in (
        (("a.npy",), "metrics_interval is 2, but these data have no classes to train a classifier for"),
        (("a.npy", "--extractor", "weights.pt"), "weights.pt: not a TorchScript file"),
        (("a.npy", "--extractor", "no.pt"), "no.pt: no such file"),
        (("a.npy", "--metrics-samples", 1), "metrics_samples is 1, expected a whole number from 2"),
    ):
        assert run(monkeypatch, "train", *options, "--metrics-interval", 2, "--steps", 2, "--out", "run") == 2
        assert said in one_line(capsys)
        assert not Path("run").exists()
    for data, extractor, said in (
        ("a.npy", "maps.pt", "features of shape [2, 2, 4, 4] for 2 samples, expected a tensor of shape"),
        ("a.npy", "rgb.pt", "does not take samples of shape [2, 1, 6, 6]: Given groups=1, weight of size"),
        ("one.npy", "flat.pt", "FID needs at least two real samples, and there is one"),
    ):  # fmt: skip
        options = ("--extractor", extractor, "--metrics-interval", 2, "--batch-size", 4)
        assert run(monkeypatch, "train", data, *options, "--steps", 2, "--out", f"run-{extractor}") == 2
        line = one_line(capsys)
        assert said in line
        assert f"kept the checkpoint of step 0 in run-{extractor}" in line
    assert run(monkeypatch, "train", "a.npy", "--steps", 2, "--batch-size", 4, "--out", "unmeasured") == 0
    assert run(monkeypatch, "sample", "unmeasured", "--best") == 2
    said = "unmeasured: has no best checkpoint, as FID was not measured; train with --metrics-interval"
    assert one_line(capsys) == f"fastgan: {said}"


@pytest.mark.usefixtures("undrawn")
def test_a_best_checkpoint_that_is_gone(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(measured, tmp_path / "run")
    best = checkpoint.read(out, best=True).path
    best.write_bytes(b"text")
    assert run(monkeypatch, "sample", out, "--best", "--out", tmp_path / "s.png") == 2
    assert f"{best}: corrupted, its SHA-256 differs; use the latest one, or retrain" in one_line(capsys)
    best.unlink()
    assert run(monkeypatch, "sample", out, "--best", "--out", tmp_path / "s.png") == 2
    assert f"{best}: missing; use the latest checkpoint, or retrain" in one_line(capsys)
    assert checkpoint.best_of(out) is None
