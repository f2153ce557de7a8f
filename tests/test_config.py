"""Settings: their options and documentation come from one place, and --config reads what a run wrote."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fastgan import TrainConfig
from fastgan.data import Streaming
from fastgan.models import FAMILIES
from fastgan.training.config import SETTINGS
from fastgan.training.run import read_config
from fastgan.training.run_config import RunConfig
from tests.test_cli import one_line, run

pytestmark = [
    pytest.mark.usefixtures("undrawn"),
    pytest.mark.filterwarnings("ignore:fastgan runs on plain PyTorch"),
]

BEGAN: dict[str, Any] = {"objective": "began", "diversity_ratio": 0.7, "balance_rate": 0.2}
# a value for each other setting that is not its default
OTHERS: dict[str, Any] = {
    "steps": 7,
    "batch_size": 6,
    "latent_dim": 5,
    "latent": "uniform",
    "discriminator_steps": 3,
    "update": "alternating",
    "pack": 2,
    "instance_noise": 0.3,
    "ema_decay": 0.9,
    "seed": 2**63 - 1,
    "real_label": 0.9,
    "generator_loss": "saturating",
    "optimizer": "sgd",
    "learning_rate": 1e-5,
    "discriminator_learning_rate": 0.25,
    "learning_rate_decay": 0.5,
    "learning_rate_half_life": 11,
    "betas": (0.0, 0.99),
    "momentum": (0.1, 0.2),
    "momentum_steps": 12,
    "gradient_clip": 2.5,
    "r1_gamma": 0.1,
    "r2_gamma": 0.2,
    "gp_weight": 10.0,
    "dragan_weight": 0.4,
    "penalty_interval": 3,
    "device": "cpu:0",
    "threads": 2,
    "precision": "bf16",
    "capture": False,
    "steps_per_replay": 2,
    "log_interval": 13,
    "sample_interval": 14,
    "checkpoint_interval": 15,
    "checkpoint_minutes": 0.5,
    "keep": 4,
    "metrics_interval": 16,
    "metrics_samples": 17,
    "extractor": "/extractor.pt",
}


# those that OTHERS exclude: for images, and for Adam
APART = {
    "augment": True,
    "augment_probability": 0.4,
    "augment_target": 0.5,
    "augment_images": 18,
    "weight_decay": 0.03,
}


def options(settings: dict[str, Any]) -> list[object]:
    """The same on the command line."""
    words: list[object] = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", *(value if isinstance(value, tuple) else [value])]
    return words


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunConfig]:
    """The run that a command line asks for, which does not begin."""

    def ask(*arguments: object) -> RunConfig:
        asked: list[RunConfig] = []

        def record(*arguments: Any, feed: Streaming | None, **_: Any) -> None:
            asked.append(replace(arguments[2], stream=feed is not None))
            sys.exit()

        monkeypatch.setattr(import_module("fastgan.cli.train"), "train_run", record)
        assert run(monkeypatch, "train", *arguments) == 0
        return asked[0]

    return ask


def test_every_setting_is_an_option(begun: Callable[..., RunConfig]) -> None:
    assert {*BEGAN, *OTHERS, *APART, "labels"} == set(SETTINGS)
    assert begun(*options(OTHERS)).training == TrainConfig(**OTHERS)
    augmented = begun("digits", *options(APART)).training
    assert augmented == replace(augmented, **APART)
    assert begun("digits", "--labels").num_classes == 10
    training = begun("digits", *options(BEGAN)).training
    assert {name: getattr(training, name) for name in BEGAN} == BEGAN


def test_the_last_of_two_opposite_options_counts(begun: Callable[..., RunConfig]) -> None:
    assert begun("--no-capture", "--capture").training.capture


def test_help_lists_every_setting_under_its_heading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run(monkeypatch, "train", "--help") == 0
    panels = {text.split(" ")[0]: text for text in capsys.readouterr().out.split("╭─ ")[1:]}
    for name, about in SETTINGS.items():
        assert f"--{name.replace('_', '-')} " in panels[about.panel]
        assert about.summary in panels[about.panel]


def test_no_option_is_cut_short_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "train", "--help") == 0
    shown = capsys.readouterr().out
    assert not [name for name in SETTINGS if f"--{name.replace('_', '-')} " not in shown]


def test_the_docstring_has_every_setting() -> None:
    shown = " ".join((TrainConfig.__doc__ or "").split())
    for name, about in SETTINGS.items():
        sentence, _, details = about.text.partition(". ")
        assert f"{name}: {sentence.rstrip('.')}" in shown
        assert details in shown


def test_the_quick_start_says_what_the_options_say() -> None:
    page = Path(__file__).parents[1] / "docs" / "quickstart.md"
    if not page.exists():
        pytest.skip("needs the sources")
    rows = [line.split(" | ") for line in page.read_text(encoding="utf-8").splitlines() if "| `--" in line]
    assert len(rows) == 5
    for option, said in rows:
        name = option.strip("| `-").replace("-", "_")
        assert said.removesuffix(" |") == SETTINGS[name].summary


# --- --config

# what stands in config.yaml, what somebody wrote in its place, and what fastgan says
DAMAGE: dict[str, tuple[str, str, str]] = {
    "a typing error": ("  steps:", "  stepz:", "no setting is called stepz, but steps is"),
    "an unknown name": (
        "workers:",
        "colour:",
        "no setting is called colour; another version",
    ),
    "an earlier name": ("penalty_interval:", "r1_interval:", "r1_interval is now called penalty_interval"),
    "an earlier objective": (
        "objective: hinge",
        "objective: gan",
        f"objective is 'gan', expected {SETTINGS['objective'].expected}",
    ),
    "a wrong type": (
        "steps: 3",
        "steps: many",
        "steps is 'many', expected a whole number from 1 to 2147483647",
    ),
    "out of range": (
        "ema_decay: 0.999",
        "ema_decay: 1",
        "ema_decay is 1, expected a number from 0 to below 1",
    ),
    "a pair of three": (
        "  - 0.1\n",
        "  - 0.1\n  - 0.1\n",
        "betas is (0.1, 0.1, 0.9), expected two numbers from 0 to below 1",
    ),
    "a shape": (
        "sample_shape:\n- 2\n",
        "sample_shape: 2\n",
        "sample_shape is 2, expected the number of axes",
    ),
    "nothing": ("model: mlp\n", "model:\n", f"model is None, expected {' or '.join(FAMILIES)}"),
    "no YAML": ("model: mlp", "model: [", "line "),
}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = ["--steps", 3, "--batch-size", 8, "--betas", 0.1, 0.9, "--objective", "hinge"]
        assert run(monkeypatch, "train", *settings, "--out", folder) == 0
    return folder


def test_a_run_is_repeated_from_its_config(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    assert run(monkeypatch, "train", "--config", ring / "config.yaml", "--out", again) == 0
    assert (again / "config.yaml").read_text() == (ring / "config.yaml").read_text()
    weights = "checkpoint-00000003.safetensors"
    assert (again / weights).read_bytes() == (ring / weights).read_bytes()


def test_options_override_a_config(ring: Path, begun: Callable[..., RunConfig]) -> None:
    changes = ["--steps", 9, "--betas", 0.5, 0.8, "--no-capture", "--workers", 1]
    of_grid = begun("grid", "--config", ring / "config.yaml", *changes)
    assert of_grid.data == "grid"
    assert of_grid.workers == 1
    training = of_grid.training
    assert (training.steps, training.betas, training.capture) == (9, (0.5, 0.8), False)
    assert (training.batch_size, training.objective) == (8, "hinge")
    before = begun("--config", ring / "config.yaml")
    assert (of_grid.generator, of_grid.discriminator) == (before.generator, before.discriminator)
    assert of_grid.transform != before.transform


def test_a_config_brings_its_data_and_how_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: Callable[..., RunConfig]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(photos / f"{number}.png")
    wanted = ["--size", 16, "--flip", "--stream", "--workers", 0, "--batch-size", 2, "--steps", 1]
    assert run(monkeypatch, "train", photos, *wanted, "--out", tmp_path / "run") == 0
    file = tmp_path / "run" / "config.yaml"
    noted = replace(read_config(tmp_path / "run", None), samples=None, digest=None)
    assert noted.stream
    assert begun("--config", file) == noted
    other = begun("--config", file, "--size", 32, "--no-flip", "--no-stream", "--workers", 2)
    assert (other.framing.size, other.framing.flip, other.stream, other.workers) == (32, False, False, 2)


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_wrong_with_a_config_is_one_line(
    ring: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    before, after, said = DAMAGE[damage]
    text = (ring / "config.yaml").read_text()
    assert before in text
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace(before, after))
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert run(monkeypatch, "train", "--config", file) == 2
    line = one_line(capsys)
    assert line.startswith(f"fastgan: {file}: {said}")
    assert line.endswith("; correct it")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory); give the config.yaml of a run as --config"),
        ("", "it is empty; correct it"),
        ("steps", "it holds 'steps', expected settings by name; correct it"),
        (
            b"\x89PNG\r\n\x1a\n",
            "'utf-8' codec can't decode byte 0x89 in position 0: invalid start byte; correct it",
        ),
        ("steps: 3", "training is missing, expected settings by name; correct it"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | bytes | None,
    said: str,
) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run(monkeypatch, "train", "--config", file) == 2
    assert one_line(capsys) == f"fastgan: {file}: {said}"
    assert run(monkeypatch, "train", "--config", tmp_path) == 2
    assert f"{tmp_path}: cannot be read (Is a directory); give the config.yaml" in one_line(capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recipe", "pacgan"], "has networks and settings of its own; omit --recipe"),
        (["--model", "mlp"], "has networks and settings of its own; omit --model"),
        (["--resume", "RUN", "--flip"], "in its own folder; omit --config and --flip"),
        (["--objective", "began"], "pack is 2, expected 1 for the began objective"),
        (["--steps", 0], "steps is 0, expected a whole number from 1 to 2147483647"),
    ],
)
def test_what_a_config_cannot_be_combined_with(
    ring: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[object],
    said: str,
) -> None:
    options = [ring if option == "RUN" else option for option in options]
    capsys.readouterr()
    out = tmp_path / "run"
    where = [] if ring in options else ["--out", out]
    assert run(monkeypatch, "train", "--config", ring / "config.yaml", *options, *where) == 2
    assert said in one_line(capsys)
    assert not out.exists()
