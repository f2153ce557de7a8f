"""Train on a map-style dataset. Worker processes read batches ahead of the step."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from fastgan import TrainConfig, Trainer
from fastgan.nn import MLP


class Spirals:
    """A dataset of torch.utils.data. Items are samples, or tuples with the sample first."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        arm, t = index % 2, torch.tensor(index / len(self))
        angle = 6 * t + arm * torch.pi
        return t * torch.stack([angle.cos(), angle.sin()]), arm


if __name__ == "__main__":  # worker processes import this file
    steps = int(sys.argv[1]) if sys.argv[1:] else 2_000
    trainer = Trainer(MLP([8, 64, 64, 2]), MLP([2, 64, 64, 1]), TrainConfig(steps=steps, latent_dim=8))
    state = trainer.fit(Spirals(), workers=2)
    print(f"a sample: {state.average(state.latent(1))[0].tolist()}")
