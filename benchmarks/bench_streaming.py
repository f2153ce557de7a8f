"""Time to stream a batch from disk, compared with an ordinary DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.conftest import Record
from benchmarks.contest import EFFORT, contest, timed
from benchmarks.replay import replayed
from fastgan.data import stream
from fastgan.training import TrainConfig
from fastgan.training.source import Streamed
from fastgan.training.state import TrainingState

pytestmark = pytest.mark.benchmark(timer=replayed)
BATCH = 128
WORKERS = 2
KINDS = {"array": "28 × 28 in an array", "folder": "64 × 64 in PNG files"}


class Usual(Dataset[Tensor]):
    """Reads single items, which DataLoader's default collate function assembles to batches."""

    def __init__(self, count: int, read: Callable[[int], np.ndarray[Any, Any]]) -> None:
        self.count, self.read = count, read

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Tensor:
        return torch.from_numpy(self.read(row)).float().div_(127.5).sub_(1).unsqueeze(0)


def make(folder: Path, kind: str) -> tuple[Path, Usual]:
    """60,000 images of 28 x 28 in one array, or 2,000 of 64 x 64 in a folder."""
    rng = np.random.default_rng(0)
    if kind == "array":
        path = folder / "images.npy"
        np.save(path, rng.integers(0, 256, (60_000, 28, 28), dtype=np.uint8))
        mapped = np.load(path, mmap_mode="r")
        return path, Usual(len(mapped), lambda row: np.array(mapped[row]))
    for number in range(2_000):
        Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(folder / f"{number:04}.png")
    paths = sorted(folder.glob("*.png"))
    return folder, Usual(len(paths), lambda row: np.array(Image.open(paths[row])))


def usual_batches(data: Usual) -> Iterator[Tensor]:
    loader = DataLoader(
        data, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True
    )
    while True:
        yield from loader


@pytest.mark.parametrize("kind", KINDS)
def test_streaming(record: Record, tmp_path: Path, kind: str) -> None:
    path, usual = make(tmp_path, kind)
    _, data = stream(str(path))
    config = TrainConfig(batch_size=BATCH, latent_dim=2)
    state = TrainingState(nn.Linear(2, 1), nn.Linear(1, 1), config)
    source = Streamed(data, state, WORKERS)
    batches = usual_batches(usual)

    def ours() -> None:
        state.step += 1
        source.prepare(state)

    # Short samples would measure only batches that were prefetched during the other contender's turn.
    samples = {"fastgan": timed(ours), "DataLoader": timed(lambda: next(batches))}
    result = contest(samples, replace(EFFORT, seconds=10 * EFFORT.seconds), min_seconds=0.5)
    record("streaming", f"a batch of {BATCH} from {KINDS[kind]}", result)
