"""Files of data that are not what they say: each is told by name, and what is told is true."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fastgan.data import DataError, Labelled, load, stream
from fastgan.metrics import classifier
from fastgan.training import ConfigError, TrainConfig
from tests.test_cli import one_line, run

pytestmark = pytest.mark.usefixtures("undrawn")


def npy(shape: tuple[int, ...], content: bytes = b"", dtype: str = "<f8") -> bytes:
    """A file whose header says so, whatever follows."""
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def archive(content: bytes, name: str = "a.npy") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        members.writestr(name, content)
    return file.getvalue()


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    return file.getvalue()


def nothing_saved() -> bytes:
    file = io.BytesIO()
    np.savez(file)
    return file.getvalue()


LYING = npy((10**12, 2), bytes(32))
WHOLE = npy((400, 2), bytes(6400))

FILES: dict[str, tuple[bytes, str]] = {
    "lying.npy": (
        LYING,
        ": truncated, its header announces 16,000,000,000,000 bytes and 32 follow; save or fetch it again",
    ),
    "truncated.npy": (
        npy((4, 2), bytes(32)),
        ": truncated, its header announces 64 bytes and 32 follow; save or fetch it again",
    ),
    "half a header.npy": (
        npy((4, 2))[:40],
        ": its header is damaged (EOF: reading array header, expected 118 bytes got 30); "
        "save or fetch it again",
    ),
    "negative.npy": (
        npy((-4, 2), bytes(64)),
        ": its header is damaged (shape (-4, 2)); save or fetch it again",
    ),
    "pickle.npy": (
        pickle.dumps({}),
        ": is no .npy or .npz file, whatever its name is; save it with numpy.save",
    ),
    "text.npz": (b"1, 2\n", ": is no .npy or .npz file, whatever its name is; save it with numpy.save"),
    "empty.npy": (b"", ": is empty; save it again"),
    "no array.npz": (nothing_saved(), ": holds no array; save one in it, with numpy.savez"),
    "objects.npy": (pickled(), ": holds pickled Python objects; save an array of numbers"),
    "records.npy": (
        b"\x93NUMPY\x03\x00" + struct.pack("<I", 16) + b"{'descr': '<f8'}",
        ": holds records, expected numbers; save their fields as one array",
    ),
    "objects.npz": (archive(pickled()), ", a.npy: holds pickled Python objects; save an array of numbers"),
    "lying.npz": (
        archive(LYING),
        ", a.npy: truncated, its header announces 16,000,000,000,000 bytes and 32 follow; "
        "save or fetch it again",
    ),
    "half.npz": (archive(WHOLE)[:300], ": damaged (File is not a zip file); save or fetch it again"),
    "a flipped byte.npz": (
        flipped(archive(WHOLE), 1000),
        ": damaged (Bad CRC-32 for file 'a.npy'); save or fetch it again",
    ),
    "readme.npz": (
        archive(b"hello", "readme.txt"),
        ", readme.txt: is no array; save it with numpy.save or numpy.savez",
    ),
    "lying.idx": (
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31) + bytes(9),
        ": truncated or damaged, 25 bytes where the header announces 9903520314283042199192993808; "
        "fetch it again",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content, said = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        load(str(path))
    assert str(raised.value) == f"{path}{said}"
    if path.suffix == ".npy":
        with pytest.raises(DataError) as raised:
            stream(str(path))
        assert str(raised.value) == f"{path}{said}"
    assert run(monkeypatch, "train", path, "--out", tmp_path / "run") == 2
    assert one_line(capsys) == f"fastgan: {path}{said}"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.idx", "a.idx.gz"])
def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Root may read any, so another says no."""
    path = tmp_path / name
    path.write_bytes(b"secret")

    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(io, "open", refuses)
    monkeypatch.setattr(Path, "open", refuses)
    with pytest.raises(DataError) as raised:
        load(str(path))
    assert (
        str(raised.value) == f"{path}: cannot be read (Permission denied); make it readable, or give another"
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("train", "digits"), "out of memory; lower --batch-size or --latent-dim, or --stream the data"),
        (("sample", "run"), "out of memory; lower --count"),
        (("evaluate", "run"), "out of memory; lower --count"),
        (("interpolate", "run"), "out of memory; lower --rows"),
        (("export", "run"), "out of memory"),
    ],
)
def test_the_remedy_for_memory_is_an_option_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], said: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("fastgan.cli.app", fails)
    assert run(monkeypatch, *command) == 2
    assert one_line(capsys) == f"fastgan: {said}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ValueError("SHA256 hash of downloaded file does not match"),
            "mnist: cannot be fetched from https://ossci-datasets.s3.amazonaws.com/mnist/ (its SHA-256 "
            "differs) or https://storage.googleapis.com/cvdf-datasets/mnist/ (its SHA-256 differs); put "
            "train-images-idx3-ubyte.gz in a folder and give it as --data-dir or FASTGAN_DATA",
        ),
        (
            OSError(28, os.strerror(28)),
            "{cache}: mnist cannot be kept there (No space left on device); put train-images-idx3-ubyte.gz "
            "in another folder and give it as --data-dir or FASTGAN_DATA",
        ),
    ],
)
def test_a_download_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pooch.retrieve", fails)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path)
    with pytest.raises(DataError) as raised:
        load("mnist")
    assert str(raised.value) == said.format(cache=tmp_path)


def test_a_classifier_that_may_not_be_read_is_not_to_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    data = Labelled("set", torch.zeros(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64))
    path = tmp_path / "classifier-set.safetensors"
    path.touch()
    monkeypatch.setattr(classifier, "load_file", refuses)
    with pytest.raises(DataError) as raised:
        classifier.classifier_of(data, tmp_path)
    assert (
        str(raised.value) == f"{path}: cannot be read (Permission denied); make it readable, or give another"
    )


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("meta", "the trainer knows no such device"),
        ("cuda:-1", "Invalid device string: 'cuda:-1'"),
        ("cpu:x", "Invalid device string: 'cpu:x'"),
    ],
)
def test_a_device_that_cannot_be_used(device: str, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TrainConfig(device=device)
    said = f"device {device!r} cannot be used on this machine ({reason}); use cpu or cuda"
    assert str(raised.value) == said
