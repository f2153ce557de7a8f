"""Data that stays on the disk: the same samples, read by other processes, and what is wrong with one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, get_worker_info

import fastgan
from fastgan.data import DataError, Framing, load, stream
from fastgan.data.streaming import ImageFolder
from fastgan.training import Callback, ConfigError, TrainConfig, Trainer, checkpoint
from fastgan.training.distributed import World
from fastgan.training.feed import source_of
from fastgan.training.source import Streamed
from fastgan.training.state import TrainingState
from tests.test_cli import one_line, run

pytestmark = pytest.mark.usefixtures("undrawn")

CONFIG = TrainConfig(
    steps=6, batch_size=4, latent_dim=3, log_interval=3, sample_interval=6, checkpoint_interval=6
)


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 48), nn.Unflatten(1, (1, 6, 8)))
    return generator, nn.Sequential(nn.Flatten(), nn.Linear(48, 1))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 6, 8), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, images: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def array(tmp_path: Path, images: np.ndarray) -> Path:
    np.save(tmp_path / "images.npy", images)
    return tmp_path / "images.npy"


@pytest.mark.parametrize("kind", ["folder", "array"])
def test_samples_are_those_of_loading(kind: str, request: pytest.FixtureRequest) -> None:
    path = str(request.getfixturevalue(kind))
    preview, data = stream(path)
    whole = load(path).seen(slice(None))
    assert len(data) == len(whole) == 30
    assert torch.equal(data.__getitems__([3, 29, 3]), whole[[3, 29, 3]])
    assert torch.equal(data[7], whole[7])
    assert torch.equal(preview.seen(slice(None)), whole)


def test_workers_change_nothing(array: Path) -> None:
    _, data = stream(str(array))
    states = [
        Trainer(*networks(), replace(CONFIG, discriminator_steps=2)).fit(data, workers=workers).tensors()
        for workers in (0, 2)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_draws_are_uniform_and_shared_out() -> None:
    class Numbers:
        def __len__(self) -> int:
            return 10

        def __getitem__(self, row: int) -> Tensor:
            return torch.tensor([float(row)])

    def turns(world: World) -> list[Tensor]:
        state = TrainingState(*networks(), replace(CONFIG, batch_size=500), world)
        source = Streamed(Numbers(), state, workers=0)
        drawn = []
        for state.step in range(4):
            source.prepare(state)
            drawn.append(source.batch(state, 0).clone())
        return drawn

    alone, first, second = turns(World()), turns(World(0, 2)), turns(World(1, 2))
    for whole, *halves in zip(alone, first, second, strict=True):
        assert torch.equal(whole, torch.cat(halves))
    counts = torch.cat(alone).flatten().long().bincount(minlength=10)
    assert counts.min() > 150  # 200 expected
    assert not torch.equal(alone[0], alone[1])


class Augmented:
    """Draws from every generator that a dataset's author would take."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, row: int) -> Tensor:
        drawn = [torch.rand(()).item(), np.random.rand(), random.random()]  # noqa: NPY002
        return torch.tensor([float(row), *drawn])


def points() -> tuple[nn.Module, nn.Module]:
    """Networks of four features, which draw random numbers too."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 4))
    return generator, nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def read(steps: int, seed: int = 0, rank: int = 0, workers: int = 0, first: int = 0) -> Tensor:
    """What a run reads from Augmented."""
    config = replace(CONFIG, batch_size=8, seed=seed, discriminator_steps=2)
    state = TrainingState(*points(), config, World(rank, 2))
    state.step = first
    source = Streamed(Augmented(), state, workers)
    batches = []
    for state.step in range(first, steps):
        source.prepare(state)
        batches += [source.batch(state, turn).clone() for turn in range(2)]
    return torch.stack(batches)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_augmentation_depends_on_seed_rank_and_step_alone(workers: int) -> None:
    torch.manual_seed(5)
    first = read(4)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    assert torch.equal(first, read(4, workers=workers))
    assert torch.equal(first[4:], read(4, workers=workers, first=2))
    numbers = torch.cat([first, read(4, seed=1, workers=workers), read(4, rank=1, workers=workers)])
    drawn = numbers[..., 1:].flatten(0, 1)
    assert all(len(column.unique()) == len(column) for column in drawn.unbind(dim=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_leaves_the_global_generators_alone(workers: int) -> None:
    def states() -> list[object]:
        return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]  # noqa: NPY002

    before = states()
    read(2, workers=workers)
    torch.manual_seed(0)  # by the networks
    assert states()[1:] == before[1:]
    state = Trainer(*points(), replace(CONFIG, steps=1)).state
    before = states()
    Streamed(Augmented(), state, workers)
    assert states() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_with_augmentation_is_the_uninterrupted_one(tmp_path: Path, workers: int) -> None:
    class Saves(Callback):
        def on_checkpoint(self, state: TrainingState) -> None:
            if state.step == 3:
                checkpoint.save(tmp_path, state)

    config = replace(CONFIG, checkpoint_interval=3)
    whole = Trainer(*points(), config, [Saves()]).fit(Augmented(), workers=workers)
    half = Trainer(*points(), config)
    checkpoint.restore(checkpoint.read(tmp_path), half.state)
    half.fit(Augmented(), workers=workers)
    ours, theirs = half.state.tensors(), whole.tensors()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    other = Trainer(*points(), replace(config, seed=1)).fit(Augmented(), workers=workers)
    assert not torch.equal(other.tensors()["discriminator.0.weight"], theirs["discriminator.0.weight"])


def test_the_command_line_streams(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    steps = ("--steps", 5, "--batch-size", 4)
    assert run(monkeypatch, "train", folder, "--stream", "--workers", 1, *steps, "--out", out) == 0
    assert (out / "dashboard.png").is_file()
    capsys.readouterr()
    assert run(monkeypatch, "train", "ring", "--stream", "--out", tmp_path / "other") == 2
    assert "ring: cannot be streamed; give a folder of images or an .npy file" in one_line(capsys)


def test_evaluation_reads_no_more_of_streamed_data_than_it_compares(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    steps = ("--steps", 2, "--batch-size", 4)
    assert run(monkeypatch, "train", folder, "--stream", *steps, "--out", out) == 0
    decoded: list[int] = []
    images = ImageFolder.images

    def counting(data: ImageFolder, rows: list[int]) -> Tensor:
        decoded.extend(rows)
        return images(data, rows)

    monkeypatch.setattr(ImageFolder, "images", counting)
    monkeypatch.setattr("fastgan.data.streaming._PREVIEWED", 1)
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", out, "--count", 8) == 0
    assert "diversity" in capsys.readouterr().out
    assert len(decoded) == 1 + 8
    assert len(set(decoded[1:])) == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_ends_the_run_by_name(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    """In the middle of the folder, in the middle of training; the checkpoint before it stays."""
    for number in range(65, 96):  # beyond the pictures' first 64
        Image.fromarray(np.zeros((6, 8), np.uint8)).save(folder / f"{number:03}.png")
    for number in range(30, 65):
        Image.fromarray(np.full((6, 8), 9, np.uint8)).save(folder / f"{number:03}.png")
    (folder / "080.png").write_bytes(b"not an image")
    out = tmp_path / "run"
    steps = ("--steps", 100, "--batch-size", 8, "--checkpoint-interval", 1)
    assert run(monkeypatch, "train", folder, "--stream", "--workers", workers, *steps, "--out", out) == 2
    line = one_line(capsys)
    assert "080.png: not a readable image; replace or remove it; kept the checkpoint of step " in line
    assert str(out) in line
    assert (out / "checkpoint.json").is_file()


def test_several_steps_a_replay_are_refused(array: Path) -> None:
    _, data = stream(str(array))
    with pytest.raises(ConfigError, match="steps_per_replay is 2, expected 1 for data that is streamed"):
        Trainer(*networks(), replace(CONFIG, steps_per_replay=2)).fit(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((4, 6, 8), np.float32), "float32 of shape .*, expected images of uint8 to stream"),
        (np.zeros((4, 2), np.uint8), "shape .4, 2., expected images"),
        (np.zeros((0, 6, 8), np.uint8), "holds no sample"),
    ],
    ids=["floats", "points", "empty"],
)
def test_what_cannot_be_streamed_is_named(tmp_path: Path, content: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(DataError, match=message):
        stream(str(tmp_path / "a.npy"))


def test_items_that_are_no_samples_are_named() -> None:
    class Labels:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, row: int) -> tuple[int, Tensor]:
            return 1, torch.zeros(1, 6, 8)

    with pytest.raises(DataError, match="data has items of int, expected tensors of floats"):
        Trainer(*networks(), CONFIG).fit(Labels())


class Ones:
    """Samples of a user's, to which the processes that read add something."""

    gain = 1.0

    def __len__(self) -> int:
        return 10

    def __getitem__(self, row: int) -> Tensor:
        return torch.full((1, 6, 8), self.gain)


@pytest.mark.parametrize("prepares", [True, False])
def test_a_process_that_reads_has_the_users_dataset(prepares: bool) -> None:
    """Which PyTorch's documentation tells users to prepare there."""

    def prepare(worker: int) -> None:
        get_worker_info().dataset.gain = 7.0

    class Looks(Ones):
        def __getitem__(self, row: int) -> Tensor:
            assert get_worker_info().dataset is self
            return super().__getitem__(row)

    data = DataLoader(Looks(), 4, num_workers=1, worker_init_fn=prepare if prepares else None)
    state = Trainer(*networks(), CONFIG).state
    with contextlib.closing(source_of(data, state, 0)) as source:
        assert source.batch(state, 0).unique().tolist() == [7.0 if prepares else 1.0]


def test_the_seed_of_a_process_that_reads_follows_from_seed_step_and_rank() -> None:
    class Seeds:
        def __len__(self) -> int:
            return 10

        def __getitem__(self, row: int) -> Tensor:
            seed = get_worker_info().seed
            return torch.tensor([float(seed % 2**24), float(seed // 2**24 % 2**24)])

    def seed_of(seed: int, step: int, rank: int) -> tuple[float, ...]:
        state = TrainingState(*networks(), replace(CONFIG, seed=seed), World(rank, 2))
        state.step = step
        with contextlib.closing(Streamed(Seeds(), state, workers=1)) as source:
            (read,) = source.batch(state, 0).unique(dim=0)
        return tuple(read.tolist())

    cases = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({seed_of(*case) for case in cases}) == 4
    assert seed_of(*cases[2]) == seed_of(*cases[2])


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda rows: torch.zeros(1, 1, 6, 8), "gives a batch of 1 for 4 rows; give a sample for each"),
        (lambda rows: torch.zeros(5, 1, 6, 8), "gives a batch of 5 for 4 rows"),
        (lambda rows: [torch.zeros(1, 6, 8)] * 3, "gives a batch of 3 for 4 rows"),
        (lambda rows: [], "gives a batch of 0 for 4 rows"),
        (lambda rows: (torch.zeros(4, 1, 6, 8), torch.zeros(4)), "gives a batch of 2 for 4 rows"),
        (lambda rows: torch.zeros(4, 1, 6, 8, dtype=torch.int64), "data has items of torch.int64"),
        (lambda rows: torch.zeros(()), "failed with TypeError: len.. of a 0-d tensor"),
    ],
    ids=["one", "one more", "one less", "none", "with labels", "integers", "a number"],
)
def test_a_batch_that_is_no_batch_is_named(read: Callable[[list[int]], Any], said: str) -> None:
    class Batches(Ones):
        def __getitems__(self, rows: list[int]) -> Any:
            return read(rows)

    with pytest.raises(DataError, match=said):
        Trainer(*networks(), CONFIG).fit(Batches(), workers=0)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("at_once", [True, False])
def test_nan_in_streamed_data_is_named_by_its_row(workers: int, wrong: float, at_once: bool) -> None:
    class Wrong(Ones):
        def __getitem__(self, row: int) -> Tensor:
            sample = super().__getitem__(row).double()
            sample[0, 0, 0] = wrong if row == 7 else 3e38  # of which a few sum to infinity
            return sample

    class AtOnce(Wrong):
        def __getitems__(self, rows: list[int]) -> Tensor:
            return torch.stack([self[row] for row in rows])

    def read_on(data: Wrong) -> None:
        state = Trainer(*networks(), CONFIG).state
        with contextlib.closing(Streamed(data, state, workers)) as source:
            for state.step in range(500):
                source.prepare(state)

    said = r"^data\[7\] holds nan or infinite values, expected finite ones of torch.float32$"
    with pytest.raises(DataError, match=said):
        read_on(AtOnce() if at_once else Wrong())


class OddError(Exception):
    """Cannot be made anew of its message alone, and so not be pickled."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


class Photos:
    """A dataset of a user's, of which one item is out of order."""

    def __init__(self, wrong: str, length: int = 10) -> None:
        self.wrong, self.length = wrong, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, row: int) -> Tensor:
        if row != 7:
            return torch.zeros(1, 6, 8)
        if self.wrong == "shape":
            return torch.zeros(1, 6, 9)
        if self.wrong == "odd":
            raise OddError(3, "no such photo")
        if self.wrong == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return {}[row]
        except KeyError as missing:
            raise FileNotFoundError(f"photo-{row}.jpg") from missing


class PhotoBatches(Photos):
    def __getitems__(self, rows: list[int]) -> list[Tensor]:
        return [self[row] for row in rows]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("data", "said", "cause"),
    [
        (Photos("chained"), "data[7] failed with FileNotFoundError: photo-7.jpg", FileNotFoundError),
        (PhotoBatches("chained"), ") failed with FileNotFoundError: photo-7.jpg", FileNotFoundError),
        (Photos("odd"), "data[7] failed with OddError: no such photo (3)", OddError),
        (Photos("shape"), "has shape [1, 6, ", DataError),
    ],
    ids=["an item", "a batch", "not to be pickled", "another shape"],
)
def test_the_error_of_a_dataset_is_named_whole(
    data: Photos, said: str, cause: type[Exception], workers: int
) -> None:
    """By type and row, with the error itself and its own causes for who reads the traceback."""
    with pytest.raises(DataError) as raised:
        Trainer(*networks(), replace(CONFIG, steps=500)).fit(data, workers=workers)
    assert said in str(raised.value)
    assert "data[7]" in str(raised.value) or isinstance(data, PhotoBatches)
    error = raised.value.__cause__
    if workers and cause is OddError:
        assert (type(error), str(error)) == (RuntimeError, "OddError: no such photo (3)")
    else:
        assert type(error) is cause
    shown = "".join(traceback.format_exception(raised.value))
    assert "in __getitem__" in shown or cause is DataError
    assert ("KeyError: 7" in shown) == (cause is FileNotFoundError)


LOST = r"a process that reads data is gone \(.*\); lower --workers"


def test_a_process_that_reads_and_is_killed_ends_the_run() -> None:
    with pytest.raises(DataError, match=LOST) as raised:
        Trainer(*networks(), replace(CONFIG, steps=500)).fit(Photos("killed"), workers=2)
    # the other one has ended too, though the traceback holds the loader
    assert raised.tb is not None
    assert multiprocessing.active_children() == []


def test_a_process_may_be_lost_while_a_step_computes() -> None:
    """torch raises its error in the signal handler, so anywhere."""

    class Losing(Callback):
        def on_log(self, state: TrainingState, row: object) -> None:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    with pytest.raises(DataError, match=LOST):
        Trainer(*networks(), CONFIG, [Losing()]).fit(torch.zeros(9, 1, 6, 8))


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), EOFError(), FileNotFoundError("no socket")])
def test_a_process_may_be_lost_while_a_batch_is_fetched(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object) -> None:
        raise error

    monkeypatch.setattr("multiprocessing.resource_sharer.DupFd.detach", fetch)
    with pytest.raises(DataError, match=LOST):
        Trainer(*networks(), CONFIG).fit(Photos("never read", length=7), workers=1)


def test_processes_that_read_end_with_the_run() -> None:
    Trainer(*networks(), CONFIG).fit(Photos("never read", length=7), workers=2)
    assert multiprocessing.active_children() == []


def test_dark_images_of_16_bits_are_no_masks(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((6, 8), 100 + 100 * number, np.uint16)).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match=r"16 bits whose brightest pixel is about 257 of 65,535"):
        stream(str(tmp_path))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photos of several sizes and modes."""
    folder = tmp_path / "shots"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(9):
        width, height = rng.integers(40, 60, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
    Image.new("L", (50, 40), 9).save(folder / "grey.png")
    return folder


@pytest.mark.parametrize("how", [(), ("--stream", "--workers", 1)], ids=["resident", "streamed"])
def test_a_folder_of_photos_trains(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: tuple[object, ...],
) -> None:
    out = tmp_path / "run"
    framed = ("--size", 32, "--crop", "random", "--flip")
    settings = ("--steps", 2, "--batch-size", 4, *how)
    assert run(monkeypatch, "train", photos, *framed, *settings, "--out", out) == 0
    said = "shots: 10 RGB images of 32 x 32 pixels (random crop, mirrored at random), model dcgan"
    assert capsys.readouterr().out.startswith(said)
    generator = fastgan.load(out)
    assert generator.sample_shape == (3, 32, 32)
    assert generator.config.framing == Framing(32, "random", flip=True)
    assert run(monkeypatch, "train", "--resume", out, "--steps", 3) == 0
    assert said in capsys.readouterr().out
    assert run(monkeypatch, "evaluate", out, "--count", 8) == 0
    assert run(monkeypatch, "sample", out, "--format", "npy", "--count", 3, "--out", tmp_path / "s.npy") == 0
    pixels = np.load(tmp_path / "s.npy")
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 32, 32, 3))
    capsys.readouterr()
    assert run(monkeypatch, "train", "--resume", out, "--size", 64) == 2
    assert "omit --size" in one_line(capsys)


def test_photos_of_no_one_size_are_told_of_size(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", photos) == 2
    assert "give --size, 64 for example, to make them of one size" in one_line(capsys)
    assert run(monkeypatch, "train", photos, "--crop", "top", "--size", 8) == 2
    assert "crop is 'top', expected center or random" in one_line(capsys)


@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
def test_windows_follow_from_the_seed_and_the_step(photos: Path, streamed: bool) -> None:
    framing = Framing(6, "random", flip=True)
    data, feed = stream(str(photos), framing) if streamed else (load(str(photos), framing=framing), None)

    def batches(seed: int, first: int = 0) -> list[Tensor]:
        torch.manual_seed(0)
        generator = nn.Sequential(nn.Linear(3, 108), nn.Unflatten(1, (3, 6, 6)))
        discriminator = nn.Sequential(nn.Flatten(), nn.Linear(108, 1))
        state = TrainingState(generator, discriminator, replace(CONFIG, batch_size=64, seed=seed))
        state.step = first
        source = source_of(feed or data, state, 0)
        seen = []
        for step in range(first, 3):
            state.step = step
            source.prepare(state)
            seen.append(source.batch(state, 0).clone())
        return seen

    whole = batches(0)
    assert all(batch.shape == (64, 3, 6, 6) and batch.dtype == torch.float32 for batch in whole)
    assert all(map(torch.equal, whole, batches(0)))
    if streamed:  # what is drawn on a device comes from the state's stream, which a checkpoint has
        assert all(map(torch.equal, whole[1:], batches(0, first=1)))
    assert not torch.equal(whole[0], batches(1)[0])
    assert len({image.numpy().tobytes() for image in whole[0]}) > 20  # of 10 photos: other windows, mirrored
