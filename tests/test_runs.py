"""A run knows its data wherever they lie, belongs to one process at a time, and says what is damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import SafetensorError

from fastgan.data.contents import digest
from fastgan.files import WriteError
from fastgan.training import checkpoint, lock
from fastgan.training.lock import LockedError, locked
from fastgan.training.run import RunError, read_config
from tests.test_cli import one_line, run
from tests.test_resume import assert_same_run

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = ("--batch-size", 4, "--checkpoint-interval", 4, "--latent-dim", 4)


def write_photos(folder: Path, count: int = 8) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.bmp")  # all of one size, whatever they show
    return folder


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the next run fail when it takes that step's checkpoint."""
    save = checkpoint.save

    def fails(folder: Path, state: Any) -> Path:
        if state.step == step:
            raise OSError("the disk is gone")
        return save(folder, state)

    monkeypatch.setattr(checkpoint, "save", fails)


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A streamed run of 8 steps that got to step 4; its photos were named as they lie in the folder."""
    write_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        stop_at(patch, 8)
        assert (
            run(patch, "train", "photos", "--stream", "--workers", 0, "--steps", 8, *SHORT, "--out", "run")
            == 2
        )
    capsys.readouterr()
    return tmp_path / "run"


def test_a_streamed_run_goes_on_as_our_hint_says(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder too, with the same draws to the last bit."""
    options = ("--stream", "--workers", 0, "--steps", 8, *SHORT)
    assert run(monkeypatch, "train", "photos", *options, "--out", "whole") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(monkeypatch, "train", "--resume", stopped) == 0
    assert_same_run(stopped, tmp_path / "whole")
    config = read_config(stopped, None)
    assert (config.data, config.stream, config.workers) == (str(tmp_path / "photos"), True, 0)
    assert config.samples == 8


def test_our_hints_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "train", "--steps", 2, "--batch-size", 4, "--out", "my run") == 0
    assert "fastgan sample 'my run', or tensorboard --logdir 'my run'\n" in capsys.readouterr().out


def test_a_run_keeps_how_its_data_were_read(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(stopped, "loaded")
    text = Path("loaded/config.yaml").read_text()
    Path("loaded/config.yaml").write_text(text.replace("stream: true", "stream: false"))
    assert run(monkeypatch, "train", "--resume", "loaded", "--stream") == 2
    assert one_line(capsys) == "fastgan: loaded: did not stream its data; omit --stream"


def test_photos_that_have_moved(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = (tmp_path / "photos").rename(tmp_path / "archive")
    for command in (("train", "--resume", stopped), ("evaluate", stopped, "--count", 2)):
        assert run(monkeypatch, *command) == 2
        said = f"fastgan: {stopped}: its data are not at {tmp_path / 'photos'}; pass their path as --data"
        assert one_line(capsys) == said
    assert run(monkeypatch, "train", "--resume", stopped, "--data", "archive") == 0
    assert read_config(stopped, None).data == str(moved)
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", stopped, "--count", 2) == 0
    (moved / "007.bmp").unlink()
    said = f"{stopped}: was trained on 8 samples, and {moved} has 7"
    assert run(monkeypatch, "evaluate", stopped, "--count", 2) == 0
    assert f"fastgan: warning: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("one less", "was trained on 8 samples, and {} has 7"),
        ("one renamed", "was trained on other data: names, sizes or bytes of {} differ"),
    ],
)
def test_other_photos_are_refused(
    stopped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
    said: str,
) -> None:
    photos = tmp_path / "photos"
    (photos / "007.bmp").unlink() if change == "one less" else (photos / "007.bmp").rename(photos / "x.bmp")
    before = {path: path.read_bytes() for path in stopped.iterdir()}
    assert run(monkeypatch, "train", "--resume", stopped) == 2
    remedy = "pass its original data as --data, or start a new run"
    assert one_line(capsys) == f"fastgan: {stopped}: {said.format(photos)}; {remedy}"
    assert {path: path.read_bytes() for path in stopped.iterdir()} == before


def test_a_changed_byte_of_an_array_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    found = set()
    for value in (0.0, 1.0):
        np.save(path, np.full((5, 2), value))
        found.add(digest(str(path)))
        monkeypatch.setattr("fastgan.data.contents._MAX_HASHED_BYTES", 32)  # only the first part of the file
        monkeypatch.setattr("fastgan.data.contents._PART_BYTES", 32)
        found.add(digest(str(path)))
        monkeypatch.undo()
    assert len(found) == 3  # the header of both is the same
    assert digest("ring") is None


def test_another_array_of_the_same_file_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = np.random.default_rng(0).normal(size=(8, 2))
    archive, out = tmp_path / "ab.npz", tmp_path / "run"
    np.savez(archive, a=points, b=points + 1)
    assert run(monkeypatch, "train", f"{archive}:a", "--steps", 4, *SHORT, "--out", out) == 0
    capsys.readouterr()
    assert run(monkeypatch, "train", "--resume", out, "--steps", 8, "--data", f"{archive}:b") == 2
    assert f"names, sizes or bytes of {archive}:b differ" in one_line(capsys)
    archive = archive.rename(tmp_path / "moved.npz")
    assert run(monkeypatch, "train", "--resume", out, "--steps", 8, "--data", f"{archive}:a") == 0


def test_the_only_array_of_a_file_is_the_file(tmp_path: Path) -> None:
    """Named or not, and as runs of before noted it: by the bytes alone."""
    archive = tmp_path / "a.npz"
    np.savez(archive, a=np.zeros((8, 2)))
    (tmp_path / "bytes").write_bytes(archive.read_bytes())
    assert len({digest(f"{tmp_path}/{name}") for name in ("a.npz", "a.npz:a", "bytes")}) == 1


def test_a_run_of_an_earlier_version_goes_on(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its config.yaml has a path as it was typed, and says nothing of streaming; it gets what it lacks."""
    content = yaml.safe_load((stopped / "config.yaml").read_text())
    for name in ("data_dir", "stream", "workers", "samples", "digest"):
        del content[name]
    content["data"] = "photos"
    (stopped / "config.yaml").write_text(yaml.safe_dump(content))
    assert run(monkeypatch, "train", "--resume", stopped, "--stream", "--workers", 0) == 0
    config = read_config(stopped, None)
    assert (config.data, config.stream, config.samples) == ("photos", True, 8)
    assert config.digest == digest(str(tmp_path / "photos"))
    assert checkpoint.read(stopped).step == 8


def test_downloaded_sets_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.test_data import write_idx

    (tmp_path / "sets").mkdir()
    write_idx(tmp_path / "sets" / "train-images-idx3-ubyte", np.zeros((6, 28, 28)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTGAN_DATA", raising=False)
    options = ("--steps", 2, *SHORT, "--out", "run")
    assert run(monkeypatch, "train", "mnist", "--data-dir", "sets", *options) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(monkeypatch, "train", "--resume", tmp_path / "run", "--steps", 4) == 0
    assert run(monkeypatch, "evaluate", tmp_path / "run", "--count", 2) == 0


# --- one process at a time

HOLDS = """
import os, sys, time
from pathlib import Path
from fastgan.training.lock import locked

with locked(Path(sys.argv[1])):
    worker = os.fork()  # as a process that reads data is
    if worker:
        print(worker, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds ``tmp_path``, and has a worker."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    os.kill(worker, signal.SIGKILL)


def test_two_processes_in_one_folder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    said = rf"{tmp_path}: process {holder.pid} on .* is training in it; let it end, or stop it first"
    with pytest.raises(LockedError, match=said), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path):  # at once, though the worker is still there
        pass


def test_a_run_that_trains_is_not_resumed_or_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, fresh = tmp_path / "run", tmp_path / "fresh"
    assert run(monkeypatch, "train", "--steps", 2, "--batch-size", 4, "--out", out) == 0
    fresh.mkdir()
    with locked(out), locked(fresh):  # a second lock of one process is refused as that of another
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for arguments in (("--resume", out, "--steps", 4), ("--out", fresh, "--steps", 2)):
            capsys.readouterr()
            assert run(monkeypatch, "train", *arguments) == 2
            assert f"process {os.getpid()} on " in one_line(capsys)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run(monkeypatch, "train", "--steps", 2, "--batch-size", 4, "--out", fresh) == 0


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", fails)
    with pytest.warns(UserWarning, match="cannot be locked .Function not implemented."), locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(lock.os, "open", fails)
    said = r"cannot be written to \(Read-only file system\); make it writable, or take a copy of it"
    with pytest.raises(WriteError, match=said), locked(tmp_path):
        pass


def test_what_a_killed_run_left_goes_when_it_goes_on(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [
        ".checkpoint-00000008.safetensors.x1.tmp",
        ".samples-00000004.png.x2.tmp",
        ".metrics.jsonl.x3.tmp",
    ]
    theirs = [".mine.tmp", "checkpoint-best.safetensors", "checkpoint-00000004.safetensors.copy"]
    for name in ours:
        (stopped / name).mkdir()
        (stopped / name / "half").touch()
    for name in theirs:
        (stopped / name).touch()
    assert run(monkeypatch, "train", "--resume", stopped) == 0
    names = {path.name for path in stopped.iterdir()}
    assert not names.intersection(ours)
    assert names.issuperset(theirs)


def test_seconds_are_those_of_all_sessions(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = stopped / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert 0 <= rows[-1]["seconds"] < 60
    rows[0]["seconds"] = 3600.0  # of step 4, where the run goes on
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(monkeypatch, "train", "--resume", stopped) == 0
    assert 3600 < json.loads((stopped / "summary.json").read_text())["seconds"] < 3700
    assert "trained at step 8 after 36" in capsys.readouterr().out


@pytest.mark.parametrize("made", [True, False])
def test_a_disk_too_small_for_the_first_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: bool
) -> None:
    """Leaves nothing, so that the same command works as soon as there is room."""
    out = tmp_path / "run"
    if not made:
        out.mkdir()
    command = ("train", "--steps", 2, "--batch-size", 4, "--out", out)

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr("fastgan.files.save_file", full)
        assert run(patch, *command) == 2
    path = out / "checkpoint-00000000.safetensors"
    said = f"{path}: cannot be written (No space left on device); free space or give another --out"
    assert one_line(capsys) == f"fastgan: {said}"
    assert list(tmp_path.rglob("*")) == ([] if made else [out])
    assert run(monkeypatch, *command) == 0


# --- config.yaml and checkpoint.json as they should not be


def edited(**changes: Any) -> Callable[[dict[str, Any]], str]:
    return lambda content: yaml.safe_dump({**content, **changes})


def trained_with(**changes: Any) -> Callable[[dict[str, Any]], str]:
    return lambda content: yaml.safe_dump({**content, "training": {**content["training"], **changes}})


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "empty": (lambda _: "", "damaged (it is empty); restore it"),
    "a list": (lambda _: "[1, 2]", "damaged (it holds a list, expected settings by name); restore it"),
    "a number": (lambda _: "7", "damaged (it holds 7, expected settings by name); restore it"),
    "no yaml": (
        lambda _: "a: 1\nb: [",
        "damaged (line 2: expected the node content, but found '<stream end>'); restore it",
    ),
    "no date": (lambda _: "data: 2020-13-01", "damaged (month must be in 1..12); restore it"),
    "no training": (
        lambda content: yaml.safe_dump({name: content[name] for name in content if name != "training"}),
        "damaged (training is missing, expected settings by name); restore it",
    ),
    "training": (edited(training=3), "damaged (training is 3, expected settings by name); restore it"),
    "training list": (
        edited(training=[3]),
        "damaged (training is a list, expected settings by name); restore it",
    ),
    "missing": (
        lambda content: yaml.safe_dump({name: content[name] for name in content if name != "generator"}),
        "damaged (generator is missing); restore it",
    ),
    "unknown": (
        edited(colour="red"),
        "damaged (no setting is called colour; another version of fastgan may know it); restore it",
    ),
    "unknown setting": (
        trained_with(color="red"),
        "damaged (no setting is called color; another version of fastgan may know it); restore it",
    ),
    "data": (edited(data=3), "damaged (data is 3, expected a built-in data set or a path); restore it"),
    "widths": (
        edited(generator="wide"),
        "damaged (generator is 'wide', expected widths of layers); restore it",
    ),
    "model": (edited(model=None), "damaged (model is None, expected mlp or "),
    "stream": (edited(stream="yes"), "damaged (stream is 'yes', expected true or false); restore it"),
    "workers": (edited(workers=-1), "damaged (workers is -1, expected a whole number from 0 on); restore it"),
    "steps": (
        trained_with(steps="many"),
        "damaged (steps is 'many', expected a whole number from 1 to 2147483647); restore it",
    ),
    "device": (
        trained_with(device=None),
        "damaged (device is None, expected a name such as cpu); restore it",
    ),
    "betas": (
        trained_with(betas=3),
        "damaged (betas is 3, expected two numbers from 0 to below 1); restore it",
    ),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_config_is_told(
    tmp_path: Path, finished: Path, damage: Callable[[dict[str, Any]], str], said: str
) -> None:
    content = yaml.safe_load((finished / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(damage(content))
    with pytest.raises(RunError) as raised:
        read_config(tmp_path, None)
    assert str(raised.value).startswith(f"{tmp_path / 'config.yaml'}: {said}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run(monkeypatch, "train", "--steps", 2, "--batch-size", 4, "--out", folder) == 0
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "no setting is called colour; another version of fastgan may know it"),
        ({"steps": "many"}, "steps is 'many', expected a whole number from 1 to 2147483647"),
    ],
)
def test_damaged_settings_of_a_checkpoint_are_told(
    tmp_path: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    said: str,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    index = json.loads((folder / "checkpoint.json").read_text())
    index["settings"] |= change
    (folder / "checkpoint.json").write_text(json.dumps(index))
    capsys.readouterr()
    assert run(monkeypatch, "train", "--resume", folder) == 2
    assert one_line(capsys) == f"fastgan: {folder / 'checkpoint.json'}: damaged ({said}); restore it"
