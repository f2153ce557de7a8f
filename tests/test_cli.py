"""The command line: what a run leaves behind, and one line for everything that is wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import pytest
import torch
import yaml

import fastgan
from fastgan import use_backend
from fastgan.cli import main
from fastgan.training.run_config import RunConfig
from tests.pictures import Shown

pytestmark = pytest.mark.filterwarnings("ignore:fastgan runs on plain PyTorch")

if TYPE_CHECKING:  # programs of other tests import this module, and know no conftest
    from conftest import Python


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of ``fastgan ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["fastgan", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, which must be one line without a traceback."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("fastgan: ")
    return lines[0]


def picture(path: Path) -> np.ndarray:
    return matplotlib.image.imread(path)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory, shown: Shown) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run(monkeypatch, "train", "ring", "--steps", 50, "--out", folder) == 0
    return folder


def test_train_leaves_everything(ring: Path, shown: Shown) -> None:
    names = {path.name for path in ring.iterdir()}
    assert {
        "config.yaml",
        "metrics.jsonl",
        "samples-00000050.png",
        "checkpoint.json",
        "checkpoint-00000050.safetensors",
        "dashboard.png",
        "memory.json",
        "summary.json",
    } < names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.endswith(".tmp") for name in names)
    assert yaml.safe_load((ring / "config.yaml").read_text())["training"]["steps"] == 50
    rows = [json.loads(line) for line in (ring / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 50
    assert {"loss_D", "loss_G", "D(x)", "D(G(z))", "saturated", "steps_per_second"} < rows[-1].keys()
    assert {"gradient", "gradient_share", "diversity", "modes_covered", "high_quality"} < rows[-1].keys()
    assert rows[-1]["alarms"] == {}
    summary = json.loads((ring / "summary.json").read_text())
    assert summary["modes"] == 8
    assert 0 <= summary["high_quality"] <= 1
    losses, outputs, real, (generated,) = shown(ring / "dashboard.png")
    assert losses == outputs == [len(rows)] * 2
    assert real == [2_500]
    assert generated > 0


@pytest.mark.usefixtures("undrawn")
def test_train_says_where_everything_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert run(monkeypatch, "train", "--steps", 2) == 0
        assert (tmp_path / f"runs/ring-{number}/dashboard.png").is_file()
    printed = capsys.readouterr().out
    assert "modes covered" in printed
    assert "runs/ring-2/dashboard.png" in printed


def test_train_on_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 6, 5, 3), np.uint8))
    out = tmp_path / "run"
    options = ("--steps", 3, "--batch-size", 4, "--generator-loss", "saturating", "--seed", 3)
    assert run(monkeypatch, "train", tmp_path / "a.npy", *options, "--out", out) == 0
    assert run(monkeypatch, "sample", out, "--count", 7, "--out", tmp_path / "s.png") == 0
    assert picture(tmp_path / "s.png").ndim == 3


def test_began_logs_its_balance_and_can_be_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shown: Shown
) -> None:
    out = tmp_path / "began"
    assert run(monkeypatch, "train", "digits", "--objective", "began", "--steps", 120, "--out", out) == 0
    assert {" k ", " M "} == set(re.findall(" [kM] ", capsys.readouterr().out))
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"loss_D", "loss_G", "k", "M", "L(x)", "gradient", "diversity"} < rows[-1].keys()
    assert rows[1]["M"] < rows[0]["M"]
    assert yaml.safe_load((out / "config.yaml").read_text())["model"] == "autoencoder"
    losses, convergence, (real,), (generated,), balance = shown(out / "dashboard.png")
    assert losses == [len(rows)] * 3
    assert convergence == balance == [len(rows)]
    assert min(real, generated) > 0
    monkeypatch.setattr("fastgan.training.evaluation.compare", lambda *_: {})
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", out, "--count", 100) == 0
    assert "L(G(z))" in capsys.readouterr().out


def test_sample_depends_on_the_seed_alone(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(monkeypatch, "sample", ring, "--seed", seed, "--out", tmp_path / f"{name}.png") == 0
    first, same, other = (picture(tmp_path / f"{name}.png") for name in "abc")
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "info") == 0
    printed = capsys.readouterr().out
    assert "backend reference" in printed
    assert "torch" in printed
    assert re.search("backend asked for +none: each device gets its best one", printed)
    with use_backend("reference"):
        assert run(monkeypatch, "info") == 0
    assert re.search("backend asked for +reference", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tpu",
            "FASTGAN_BACKEND='tpu' is not a backend; choose one of cpu, cuda, triton, reference, or ",
        ),
        ("cuda", "the cuda backend was requested but cannot run: "),
    ],
)
def test_a_backend_that_cannot_run_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Python, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code = (
        "import sys; from fastgan.cli import main\n"
        "sys.argv[1:] = ['train', '--steps', '5']\n"
        "try: main()\nexcept SystemExit as stop: print('code', stop.code)\n"
        "sys.argv[1:] = ['info']; main()"
    )
    result = python(code, FASTGAN_BACKEND=name, COLUMNS="200")
    assert "code 2\n" in result.stdout
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []
    expected = name if name == "cuda" else "'tpu', not a backend; choose one of .*, or unset FASTGAN_BACKEND"
    assert re.search(f"backend asked for +{expected}", result.stdout), result.stdout


def test_info_keeps_what_stands_in_brackets_and_between_colons(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fastgan.kernels.report", lambda: [("cuda", "pip install '.[nvcc]' file.npz:a: no")])
    assert run(monkeypatch, "info") == 0
    assert "'.[nvcc]' file.npz:a: no" in capsys.readouterr().out


def test_a_folder_with_a_run_is_refused(
    ring: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in ring.iterdir()}
    assert run(monkeypatch, "train", "ring", "--steps", 5, "--out", ring) == 2
    assert "holds another run" in one_line(capsys)
    assert {path: path.read_bytes() for path in ring.iterdir()} == before


def test_plot_objectives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shown: Shown
) -> None:
    out = tmp_path / "o.png"
    assert run(monkeypatch, "plot", "objectives", "--out", out) == 0
    assert str(out) in capsys.readouterr().out
    assert [len(curves) for curves in shown(out)] == [2, 2, 2, 3]
    assert min(map(min, shown(out))) > 0


def test_a_folder_that_is_missing_is_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nofolder" / "o.png"
    assert run(monkeypatch, "plot", "objectives", "--out", out) == 2
    said = (
        f"{out}: cannot be written (No such file or directory); make the folder {out.parent} or give another"
    )
    assert said in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "cifar"), "cifar"),
        (("train", "mnist", "--data-dir", "nowhere"), "nowhere"),
        (("train", "--batch-size", 0), "batch_size"),
        (("train", "--generator-loss", "wgan"), "wgan"),
        (("train", "--device", "toaster"), "toaster"),
        (("train", "--device", "meta"), "use cpu or cuda"),
        (("train", "--steps", "many"), "--steps"),
        (("train", "--nonsense"), "--nonsense"),
        (("nonsense",), "nonsense"),
        (("sample", "nowhere", "--seed", 2**63), "--seed"),
        (("train", "--out", "file"), "file"),
        (("train", "--out", "file/run"), "file/run"),
        (("sample", "nowhere"), "nowhere"),
        (("sample", "nowhere", "--out", "s.mp3"), "nowhere"),
        (("sample", "broken"), "broken/config.yaml"),
        (("plot", "objectives", "--out", "o.mp3"), "o.mp3"),
        (("plot", "nonsense"), "nonsense"),
        (("train", "ring", "--objective", "began"), "objective is 'began', whose recipe is for images"),
        (("train", "digits", "--objective", "began", "--r1-gamma", "1"), "r1_gamma is 1.0, expected 0"),
        (("train", "digits", "--objective", "began", "--recipe", "goodfellow2014"), "model is 'goodfellow'"),
        (("train", "ring", "--model", "dcgan"), "model is 'dcgan', which is for images, and ring has points"),
        (
            ("train", "digits", "--model", "gan"),
            "'gan', expected mlp or dcgan or stylegan2 or r3gan",
        ),
        (("train", "digits", "--model", "dcgan", "--recipe", "pacgan"), "omit --model"),
        (
            ("train", "digits", "--model", "dcgan", "--objective", "began"),
            "model is 'dcgan', which the began",
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[object, ...],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("broken").mkdir()
    Path("broken/config.yaml").write_text("training: 3")
    before = sorted(tmp_path.rglob("*"))
    assert run(monkeypatch, *arguments) == 2
    assert named in one_line(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_config_is_one_line(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ring / "config.yaml").read_text()
    for before, after in (
        ("ring\n", "2020-13-01\n"),
        ("scale:\n  - 1.0", "scale:\n  - .nan"),
        ("- 2\n", "- 0\n"),
        ("- 64\n", "- 1.5\n"),
    ):
        assert before in text
        (tmp_path / "config.yaml").write_text(text.replace(before, after, 1))
        assert run(monkeypatch, "sample", tmp_path) == 2, after
        assert "config.yaml: damaged" in one_line(capsys), after


def test_run_without_checkpoint_is_one_line(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ring / "config.yaml", tmp_path)
    assert run(monkeypatch, "sample", tmp_path) == 2
    assert "before its first checkpoint; train again" in one_line(capsys)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "--batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "--batch-size"),
    ],
)
def test_nothing_is_left_by_a_run_that_never_began(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def fails(self: RunConfig) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunConfig, "build_generator", fails)
    assert run(monkeypatch, "train") == code
    assert said in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("undrawn")
def test_full_disk_is_one_line_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "run"
    assert run(monkeypatch, "train", "--out", out) == 2
    assert f"{out}/config.yaml: cannot be written (No space" in one_line(capsys)
    assert not out.exists()


@pytest.mark.usefixtures("undrawn")
def test_corrupted_checkpoint_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(monkeypatch, "train", "--steps", 1, "--out", out) == 0
    path = out / "checkpoint-00000001.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert run(monkeypatch, "sample", out, "--out", tmp_path / "s.png") == 2
    assert f"{path}: corrupted" in one_line(capsys)
    assert not (tmp_path / "s.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_divergence_is_one_line_and_keeps_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(monkeypatch, "train", "--steps", 50, "--learning-rate", 1e30, "--out", out) == 1
    line = one_line(capsys)
    assert "at step" in line
    assert str(out) in line
    assert (out / "config.yaml").is_file()


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"fastgan {fastgan.__version__}, torch {torch.__version__}\n"


def test_help_is_short_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ((), ("train",), ("sample",), ("plot",), ("plot", "objectives")):
        for option in ("-h", "--help"):
            assert run(monkeypatch, *command, option) == 0
            assert capsys.readouterr().out.strip().startswith("Usage: "), (command, option)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("options", "warns"),
    [
        (("--objective", "wasserstein", "--r1-gamma", 0), True),
        (("--objective", "wasserstein", "--r1-gamma", 0, "--gp-weight", 10), False),
        (("--objective", "wasserstein"), False),  # the recipe of ring has R1
        (("--r1-gamma", 0), False),
    ],
)
def test_wasserstein_without_a_penalty_warns(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[object, ...],
    warns: bool,
) -> None:
    assert run(monkeypatch, "train", "--steps", 1, *options, "--out", tmp_path / "run") == 0
    said = "fastgan: warning: nothing keeps D Lipschitz, which wasserstein needs; give --gp-weight 10 "
    assert capsys.readouterr().err == (said + "--penalty-interval 1\n") * warns


def test_missing_extra_is_one_line(python: Python) -> None:
    done = python("import sys; sys.modules['typer'] = None; import fastgan.cli")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "fastgan: the command line needs typer: pip install '.[train]' in fastgan's sources"
    ]
