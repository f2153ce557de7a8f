"""The peak memory of a run: measured, kept over resumptions, and shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastgan.files import WriteError
from fastgan.training import memory
from fastgan.training.memory import Peak, read_peak, write_peak
from fastgan.training.run import RunError
from tests.test_cli import one_line, run

pytestmark = pytest.mark.usefixtures("undrawn")
SHORT = ("--batch-size", 4, "--latent-dim", 4)
_PEAK = "Peak.so_far(torch.device('cpu')).process"
_IMPORTS = "import subprocess, sys, numpy, torch; from fastgan.training.memory import Peak"
_FREES = f"{_IMPORTS}; before = {_PEAK}; numpy.ones(50_000_000); print(before, {_PEAK})"
_CHILD = f"{_IMPORTS}; print({_PEAK})"
_PARENT = (
    f"{_IMPORTS}; numpy.ones(250_000_000); subprocess.run([sys.executable, '-c', {_CHILD!r}], check=True)"
)
on_linux = pytest.mark.skipif(not memory._STATUS.exists(), reason="read from Linux' /proc")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(monkeypatch, "train", "--steps", 4, *SHORT, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    return tmp_path / "run"


def printed_by(code: str) -> list[int]:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in ended.stdout.split()]


@on_linux
def test_the_peak_is_in_bytes_and_stays() -> None:
    before, after = printed_by(_FREES)
    assert 380e6 < after - before < 500e6


@on_linux
def test_the_peak_is_not_that_of_the_parent() -> None:
    (peak,) = printed_by(_PARENT)
    assert 30e6 < peak < 1.5e9


def test_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where a peak may be the parent's, but is in bytes."""
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert 30e6 < Peak.so_far(torch.device("cpu")).process < 30e9


def test_the_tensors_of_a_gpu_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7_000 + device.index)
    assert Peak.so_far(torch.device("cuda", 1)).gpu == 7_001
    assert Peak.so_far(torch.device("cpu")).gpu is None


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (Peak(3), Peak(2), Peak(3)),
        (Peak(3, 5), Peak(4, 4), Peak(4, 5)),
        (Peak(3, 5), Peak(4), Peak(4, 5)),  # resumed on a CPU
        (Peak(3), Peak(2, 6), Peak(3, 6)),
    ],
)
def test_the_larger_of_each(before: Peak, now: Peak, expected: Peak) -> None:
    assert now.or_higher(before) == expected


@pytest.mark.parametrize("before", [Peak(10**13, 2), Peak(1)])
def test_a_resumed_run_keeps_the_larger(trained: Path, monkeypatch: pytest.MonkeyPatch, before: Peak) -> None:
    write_peak(trained, before)
    assert run(monkeypatch, "train", "--resume", trained, "--steps", 8) == 0
    found = read_peak(trained)
    assert found is not None
    if before.gpu is not None:
        assert found == before
    else:
        assert 30e6 < found.process < 1e12


def test_info(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_peak(trained, Peak(412_345_678))
    assert run(monkeypatch, "info", trained) == 0
    assert capsys.readouterr().out.split() == ["peak", "memory", "412", "MB"]
    write_peak(trained, Peak(2_412_345_678, 97_600_000))
    assert run(monkeypatch, "info", trained) == 0
    printed = capsys.readouterr().out
    assert "2,412 MB" in printed
    assert printed.splitlines()[1].split() == ["peak", "memory", "of", "the", "GPU", "98", "MB"]


def test_info_of_a_run_of_an_earlier_version(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "memory.json").unlink()
    assert run(monkeypatch, "info", trained) == 0
    assert "recorded with the next checkpoint" in capsys.readouterr().out


def test_info_of_a_folder_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", tmp_path) == 2
    assert f"{tmp_path}: holds no config.yaml; give the folder of a run" in one_line(capsys)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"process": "x", "gpu": null}', '{"process": 1, "gpu": []}']
)
def test_a_damaged_file_is_named(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = trained / "memory.json"
    path.write_text(text)
    with pytest.raises(RunError, match=rf"^{path}: damaged \(\w+: .*\); remove it$"):
        read_peak(trained)
    assert run(monkeypatch, "info", trained) == 2
    assert f"{path}: damaged" in one_line(capsys)
    assert run(monkeypatch, "train", "--resume", trained, "--steps", 8) == 2
    assert f"{path}: damaged" in one_line(capsys)
    path.unlink()
    assert run(monkeypatch, "train", "--resume", trained, "--steps", 8) == 0
    assert path.exists()


def test_a_full_disk_ends_the_run_in_one_line(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_peak(trained, Peak(1))

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    def without_room(folder: Path, peak: Peak) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            write_peak(folder, peak)

    monkeypatch.setattr("fastgan.training.recorder.write_peak", without_room)
    assert run(monkeypatch, "train", "--resume", trained, "--steps", 8) == 2
    assert f"{trained / 'memory.json'}: cannot be written (No space left on device)" in one_line(capsys)
    assert read_peak(trained) == Peak(1)
    with pytest.raises(WriteError):
        without_room(trained, Peak(2))
