"""The classes of a run's data: their names, those of streamed folders, and labels that have changed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import fastgan
from fastgan.data import DataError, Dataset, load, stream
from fastgan.data.contents import digest, labels_digest
from fastgan.training import TrainConfig, checkpoint
from fastgan.training.export import metadata
from fastgan.training.feed import source_of
from fastgan.training.run import RunError, read_config
from fastgan.training.state import TrainingState
from tests.pictures import undrawn_pictures
from tests.test_cli import one_line, run
from tests.test_data import write_idx
from tests.test_labels import CONFIG, dcgans
from tests.test_resume import assert_same_run
from tests.test_runs import SHORT, stop_at, write_photos

pytestmark = pytest.mark.usefixtures("undrawn")

NAMES = ("[grey] cats, small", "dogs", "ünicorns")
# more than a stream reads at first, for pictures
COUNTS = (70, 5, 3)
TRAIN = ("--labels", "--steps", 8, *SHORT)


def write_classes(folder: Path, names: tuple[str, ...] = NAMES, counts: tuple[int, ...] = COUNTS) -> Path:
    for name, count in zip(names, counts, strict=True):
        write_photos(folder / name, count)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, undrawn_pictures():
        assert run(monkeypatch, "train", photos, *TRAIN, "--out", folder) == 0
    return folder


def copied(run_folder: Path, to: Path, **changes: Any) -> Path:
    """A copy of a run with other values in its config.yaml; None for those that are to be missing."""
    shutil.copytree(run_folder, to)
    content = {**yaml.safe_load((to / "config.yaml").read_text()), **changes}
    kept = {name: value for name, value in content.items() if name not in changes or value is not None}
    (to / "config.yaml").write_text(yaml.safe_dump(kept))
    return to


# --- names


def test_names_are_those_of_subfolders(photos: Path, tmp_path: Path) -> None:
    data = load(str(photos))
    assert (data.class_names, data.num_classes) == (NAMES, 3)
    assert load("digits").class_names == ()
    assert load(str(write_photos(tmp_path / "flat"))).class_names == ()


def test_a_class_may_have_no_sample() -> None:
    data = Dataset("ours", torch.zeros(2, 2), labels=torch.tensor([0, 1]), class_names=("a", "b", "c"))
    assert data.num_classes == 3


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "ours: has 2 names of classes, but no labels"),
        (torch.tensor([0, 2]), "ours: has 2 names of classes, but a label of 2"),
    ],
    ids=["no labels", "too few names"],
)
def test_names_that_do_not_fit_are_named(labels: torch.Tensor | None, said: str) -> None:
    with pytest.raises(DataError, match=f"^{said}$"):
        Dataset("ours", torch.zeros(2, 2), labels=labels, class_names=("a", "b"))


def test_a_run_knows_the_names(trained: Path) -> None:
    assert read_config(trained, device="cpu").class_names == NAMES
    generator = fastgan.load(trained)
    assert generator.class_names == NAMES
    assert metadata(generator)["class_names"] == list(NAMES)


def test_info_shows_the_names(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()
    assert run(monkeypatch, "info", trained) == 0
    shown = capsys.readouterr().out.splitlines()[0]
    assert shown.split(maxsplit=1)[1].rstrip() == "0 '[grey] cats, small', 1 'dogs', 2 'ünicorns'"
    assert run(monkeypatch, "info", copied(trained, tmp_path / "run", class_names=None)) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["classes", "3"]


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (NAMES, ["dogs"], [1]),
        (NAMES, ["ünicorns,0", "dogs"], [2, 0, 1]),
        (NAMES, ["[grey] cats, small", "2"], [0, 2]),
        (("2", "7", "0"), ["2"], [0]),  # a name comes before a number
        (("2", "7", "0"), ["7,0,1"], [1, 2, 1]),
        (None, ["2"], [2]),  # a run of an earlier version
    ],
    ids=str,
)
def test_sample_takes_names_and_numbers(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...] | None,
    asked: list[str],
    expected: list[int],
) -> None:
    folder = copied(trained, tmp_path / "run", class_names=list(names) if names else None)
    classes = [word for each in asked for word in ("--class", each)]
    out = tmp_path / "s.npy"
    assert run(monkeypatch, "sample", folder, "--count", 6, *classes, "--out", out) == 0
    wanted = fastgan.load(folder).sample(6, classes=expected)
    found = torch.from_numpy(np.load(out)).movedim(3, 1).float()
    assert (found - (wanted + 1) * 127.5).abs().max() <= 1


def test_interpolate_takes_a_name(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = []
    for number, name in enumerate(NAMES):
        for asked in (name, number):
            out = tmp_path / f"{asked}.png"
            options = ("--rows", 2, "--class", asked, "--out", out)
            assert run(monkeypatch, "interpolate", trained, *options) == 0
            pictures.append(out.read_bytes())
    assert pictures[::2] == pictures[1::2]
    assert len(set(pictures)) == 3


@pytest.mark.parametrize(
    ("asked", "names", "said"),
    [
        ("dog", NAMES, "--class dog: unknown, expected dogs, ünicorns, [grey] cats, small, or 0 to 2"),
        ("3", NAMES, "--class 3: unknown, expected "),
        ("fern", None, "--class fern: unknown, expected 0 to 2"),
    ],
)
def test_an_unknown_class_is_named(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: str,
    names: tuple[str, ...] | None,
    said: str,
) -> None:
    folder = copied(trained, tmp_path / "run", class_names=list(names) if names else None)
    for command in ("sample", "interpolate"):
        capsys.readouterr()
        assert run(monkeypatch, command, folder, "--class", asked) == 2
        assert one_line(capsys).startswith(f"fastgan: {said}")


def test_of_many_names_a_message_has_the_closest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_classes(tmp_path / "many", tuple(f"kind-{number}" for number in range(20, 40)), (1,) * 20)
    assert run(monkeypatch, "train", photos, *TRAIN, "--steps", 1, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert run(monkeypatch, "sample", tmp_path / "run", "--class", "kind31") == 2
    line = one_line(capsys)
    assert "unknown, expected kind-31, " in line
    assert line.count("kind-") == 5
    assert line.endswith(", or 0 to 19")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", 3], "abc"], ids=str)
def test_damaged_names_are_told(trained: Path, tmp_path: Path, names: object) -> None:
    folder = copied(trained, tmp_path / "run", class_names=names)
    with pytest.raises(RunError, match=r"damaged \(class_names is .*, expected a name for each class, or no"):
        read_config(folder, None)


def test_a_run_of_an_earlier_version_learns_the_names(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(trained, tmp_path / "run", class_names=None, labels_digest=None)
    assert read_config(folder, None).class_names == ()
    assert run(monkeypatch, "train", "--resume", folder, "--steps", 12) == 0
    assert read_config(folder, None).class_names == NAMES


# --- streamed


def assert_same_weights(ours: Path, theirs: Path) -> None:
    found, expected = (checkpoint.read(path).tensors for path in (ours, theirs))
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_items_of_a_streamed_folder_have_labels(photos: Path) -> None:
    preview, feed = stream(str(photos))
    whole = load(str(photos))
    assert whole.labels is not None
    assert (preview.class_names, preview.num_classes) == (NAMES, 3)
    rows = [0, 77, 70, 1]
    items: Any = feed.__getitems__(rows)
    assert torch.equal(torch.stack([sample for sample, _ in items]), whole.seen(torch.tensor(rows)))
    assert [label for _, label in items] == whole.labels[rows].tolist() == [0, 2, 1, 0]
    assert feed[77][1] == 2


@pytest.mark.parametrize("settings", [{}, {"discriminator_steps": 2, "precision": "bf16"}], ids=str)
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_the_resident_ones(photos: Path, settings: dict[str, Any], workers: int) -> None:
    config: TrainConfig = replace(CONFIG, batch_size=16, **settings)
    _, feed = stream(str(photos))
    seen: list[list[torch.Tensor]] = []
    for data in (feed, load(str(photos))):
        state = TrainingState(*dcgans(), config)
        source = source_of(data, state, workers)
        batches = []
        for state.step in range(3):
            source.prepare(state)
            state.clock.fill_(state.step)
            state.draws.begin_step(True)
            for turn in range(config.discriminator_steps):
                samples = source.batch(state, turn)
                assert source.labels is not None
                batches += [samples.clone(), source.labels.clone()]
        source.close()
        seen.append(batches)
    assert all(map(torch.equal, *seen))
    assert len(torch.cat(seen[0][1::2]).unique()) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_run_is_the_resident_one(
    photos: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Stopped and resumed too."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    streamed = ("train", photos, *TRAIN, "--stream", "--workers", workers)
    with monkeypatch.context() as patch:
        stop_at(patch, 8)
        assert run(patch, *streamed, "--out", out) == 2
    assert checkpoint.read(out).step == 4
    assert run(monkeypatch, "train", "--resume", out) == 0
    assert run(monkeypatch, *streamed, "--out", whole) == 0
    assert_same_run(out, whole)
    assert read_config(out, None).class_names == NAMES
    assert_same_weights(out, trained)


def test_a_run_without_labels_ignores_those_of_a_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options in (("--stream", "--workers", 0), ()):
        out = tmp_path / f"run-{len(options)}"
        assert run(monkeypatch, "train", photos, "--steps", 4, *SHORT, *options, "--out", out) == 0
        assert read_config(out, None).class_names == ()
    assert_same_weights(tmp_path / "run-3", tmp_path / "run-0")


def test_a_streamed_run_can_be_evaluated_and_sampled(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    framed = ("--size", 8, "--crop", "random", "--flip", "--model", "dcgan")
    assert run(monkeypatch, "train", photos, "--stream", *framed, *TRAIN, "--steps", 1, "--out", out) == 0
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", out, "--count", 70) == 0
    assert "diversity" in capsys.readouterr().out
    npy = ("--count", 2, "--format", "npy", "--out", tmp_path / "s.npy")
    assert run(monkeypatch, "sample", out, "--class", "dogs", *npy) == 0


def test_streamed_data_without_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.arange(5 * 36, dtype=np.uint8).reshape(5, 6, 6))
    for source in (tmp_path / "a.npy", write_photos(tmp_path / "flat")):
        assert run(monkeypatch, "train", source, "--stream", *TRAIN) == 2
        assert f"--labels, but {source} has none; use mnist" in one_line(capsys)


# --- labels that have changed


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Path, Path]:
    """An IDX file of images, and the labels next to it."""
    images = write_idx(tmp_path / "train-images-idx3-ubyte", np.arange(8 * 36).reshape(8, 6, 6))
    return images, write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(8) % 3)


def test_the_digest_of_labels(labelled: tuple[Path, Path]) -> None:
    images, labels = labelled
    before = labels_digest(str(images))
    assert before == digest(str(labels))
    of_images = digest(str(images))
    write_idx(labels, np.arange(8) % 2)
    assert labels_digest(str(images)) not in (None, before)
    assert digest(str(images)) == of_images
    labels.unlink()
    assert labels_digest(str(images)) is None
    for other in ("ring", "mnist", str(images.parent)):
        assert labels_digest(other) is None


def test_other_labels_are_refused(
    labelled: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, labels = labelled
    out = tmp_path / "run"
    assert run(monkeypatch, "train", images, *TRAIN, "--out", out) == 0
    of_earlier_version = copied(out, tmp_path / "earlier", labels_digest=None)
    write_idx(labels, np.roll(np.arange(8) % 3, 1))
    said = f"was trained with other labels: those next to {images} differ"
    longer: Any = ("--steps", 12)
    capsys.readouterr()
    assert run(monkeypatch, "train", "--resume", out, *longer) == 2
    remedy = "pass its original data as --data, or start a new run"
    assert one_line(capsys) == f"fastgan: {out}: {said}; {remedy}"
    assert run(monkeypatch, "evaluate", out, "--count", 4) == 0
    assert f"fastgan: warning: {out}: {said}\n" in capsys.readouterr().err
    assert run(monkeypatch, "train", "--resume", of_earlier_version, *longer) == 0
    assert read_config(of_earlier_version, None).labels_digest == digest(str(labels))


def test_labels_do_not_matter_to_a_run_without_them(
    labelled: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = labelled
    out = tmp_path / "run"
    assert run(monkeypatch, "train", images, "--steps", 8, *SHORT, "--out", out) == 0
    config = read_config(out, None)
    assert (config.labels_digest, config.class_names) == (None, ())
    write_idx(labels, np.zeros(8))
    assert run(monkeypatch, "train", "--resume", out, "--steps", 12) == 0
