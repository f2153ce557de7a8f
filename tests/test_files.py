"""Files are there whole or not at all, nobody else's file is touched, and an error says what is true."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import Forks, Started

from fastgan.data.transform import Transform
from fastgan.files import (
    WriteError,
    remove_leftovers,
    save_array,
    save_tensors,
    write_folder,
    write_text,
    write_whole,
)
from fastgan.training.config import TrainConfig
from fastgan.training.export import export
from fastgan.training.run_config import RunConfig
from tests.test_cli import one_line, run

pytestmark = pytest.mark.usefixtures("undrawn")


def fill(folder: Path) -> None:
    (folder / "inside").write_text("new")


def save(path: Path) -> None:
    save_tensors({"a": torch.zeros(3)}, path)


def config(generator: int = 4) -> RunConfig:
    """The config of a run on points, whose generator is that wide."""
    return RunConfig("ring", (2,), Transform(), (generator,), (4,), TrainConfig(latent_dim=3))


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: write_text(path, "new"),
    "tensors": lambda path: write_whole(path, save),
    "folder": lambda path: write_folder(path, fill),
    "onnx": lambda path: export(config().build_generator(), config(), path, "onnx"),
    "torch-export": lambda path: export(config().build_generator(), config(), path, "torch-export"),
    "safetensors": lambda path: export(config().build_generator(), config(), path, "safetensors"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_is_the_users_stays(tmp_path: Path, write: Callable[[Path], object]) -> None:
    """Files and folders under any name that a writer might take for its own."""
    names = ["x.tmp", ".x.tmp", ".x.0.tmp"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").write_text("years")
    write(tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"x", *names}
    assert {(tmp_path / name / "thesis").read_text() for name in names} == {"years"}


# an export is written by the same functions as the first three
@pytest.mark.parametrize(
    ("name", "mask"), [*((name, 0o027) for name in WRITERS), *((name, 0o002) for name in list(WRITERS)[:3])]
)
def test_the_umask_decides_who_may_read(tmp_path: Path, name: str, mask: int) -> None:
    before = os.umask(mask)
    try:
        WRITERS[name](tmp_path / "x")
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        full = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == full & ~mask, path


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space"), KeyboardInterrupt(), ValueError()])
@pytest.mark.parametrize("writer", [write_whole, write_folder])
def test_an_error_leaves_nothing(
    tmp_path: Path, writer: Callable[[Path, Callable[[Path], object]], None], error: BaseException
) -> None:
    def fails(path: Path) -> None:
        (path if writer is write_whole else path / "a").write_text("half")
        raise error

    with pytest.raises((WriteError, type(error))):
        writer(tmp_path / "x", fails)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_array_on_a_full_disk() -> None:
    with pytest.raises(OSError, match="No space left on device") as raised:
        save_array(np.zeros(100_000), Path("/dev/full"))
    assert raised.value.errno == errno.ENOSPC


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # /dev/null is no file either
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(WriteError, match=rf"{name}: is not a file; give another --out"):
            write_text(tmp_path / name, "new")
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "disk" / "a")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "disk" / "a").read_text() == "new"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "(No space left on device); free space or give another --out"),
        (errno.EDQUOT, "(Disk quota exceeded); free space or give another --out"),
        (errno.EROFS, "(Read-only file system); give another --out"),
        (errno.EACCES, "(Permission denied); give another --out"),
        (errno.EEXIST, "(File exists); give another --out"),
        (errno.EIO, "(Input/output error); give another --out"),
    ],
    ids=errno.errorcode.get,
)
def test_the_remedy_suits_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    """Also where the folder cannot be written to, in which there is then nothing to clean up."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "x"
    for name in ("fsync", "replace") if code == errno.EEXIST else ("fsync", "replace", "mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fails)
            with pytest.raises(WriteError) as raised:
                write_text(path, "new")
        assert str(raised.value) == f"{path}: cannot be written {said}"
    assert list(tmp_path.iterdir()) == []


def test_a_path_through_a_file_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"file/x: cannot be written \(Not a directory\); give"):
        write_text(tmp_path / "file" / "x", "new")


WRITES_SLOWLY = """
import signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from fastgan import __main__, files

def slow(path):
    path.write_text("half")
    time.sleep(60)

def command():
    files.write_whole(Path({!r}), slow)

sys.modules["fastgan.cli"] = SimpleNamespace(main=command)  # whose imports take as long as torch's
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background, it is ignored
__main__.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_writing(tmp_path: Path, forks: Forks, number: signal.Signals) -> None:
    """Leaves nothing; only what nothing can follow leaves a folder, which is not in the way."""
    path = tmp_path / "checkpoint-00000001.safetensors"
    process = Started(forks, WRITES_SLOWLY.format(str(path)))
    deadline = time.monotonic() + 60
    while "half" not in [left.read_text() for left in tmp_path.rglob("*") if left.is_file()]:
        assert not process.has_ended
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    done = process.wait(60)
    if number != signal.SIGKILL:
        assert (done.returncode, done.stderr) == (130, "fastgan: interrupted\n")
        assert list(tmp_path.iterdir()) == []
        return
    (left,) = tmp_path.iterdir()
    (tmp_path / ".checkpoint-mine.tmp").touch()
    write_text(tmp_path / "other", "new")  # may not be the only one that writes here
    assert left.exists()
    remove_leftovers(tmp_path, "checkpoint*")
    assert {path.name for path in tmp_path.iterdir()} == {"other", ".checkpoint-mine.tmp"}


@pytest.mark.parametrize("kind", ["onnx", "torch-export", "safetensors"])
def test_an_export_that_does_not_fit_on_the_disk(tmp_path: Path, kind: str) -> None:
    out, wide = tmp_path / "x", config(generator=4000)
    generator = wide.build_generator()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(WriteError) as raised:
            export(generator, wide, out, kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(raised.value) == f"{out}: cannot be written (File too large); give another --out"
    assert list(tmp_path.iterdir()) == []


def test_an_export_to_a_device_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(monkeypatch, "train", "--steps", 1, "--out", out) == 0
    capsys.readouterr()
    assert run(monkeypatch, "export", out, "--format", "torch-export", "--out", "/dev/null") == 2
    assert one_line(capsys) == "fastgan: /dev/null: is not a file; give another --out"
    assert not Path("/dev/null").is_file()
