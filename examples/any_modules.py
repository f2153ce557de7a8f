"""Train any two modules: here convolutional ones on scikit-learn's digits, with CUDA graphs on a GPU."""

from __future__ import annotations

import sys

import torch
from torch import nn

from fastgan import TrainConfig, Trainer
from fastgan.data import load

generator = nn.Sequential(
    nn.Linear(16, 256),
    nn.Unflatten(1, (64, 2, 2)),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.ConvTranspose2d(64, 32, 4, 2, 1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.ConvTranspose2d(32, 1, 4, 2, 1),
    nn.Tanh(),
)
discriminator = nn.Sequential(
    nn.Conv2d(1, 32, 4, 2, 1),
    nn.LeakyReLU(0.2),
    nn.Conv2d(32, 64, 4, 2, 1),
    nn.LeakyReLU(0.2),
    nn.Flatten(),
    nn.Linear(256, 1),
)
config = TrainConfig(
    steps=int(sys.argv[1]) if sys.argv[1:] else 2_000,
    batch_size=64,
    latent_dim=16,
    device="cuda" if torch.cuda.is_available() else "cpu",
)
state = Trainer(generator, discriminator, config).fit(load("digits"))
samples = state.average(state.latent(64))  # from the average of the generator's weights
print(f"{len(samples)} samples of shape {tuple(samples.shape[1:])} after {state.step} steps")
