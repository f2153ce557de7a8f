"""Hinge losses and spectral norm with fastgan. Compare it with hinge_plain.py."""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import fastgan

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=1_000)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--n-dis", type=int, default=1, help="updates of D per update of G")
parser.add_argument("--latent-dim", type=int, default=128)
parser.add_argument("--channels", type=int, default=32)
parser.add_argument("--image-size", type=int, default=32)
args = parser.parse_args()
torch.manual_seed(0)


class Generator(nn.Module):
    def __init__(self, latent_dim: int, channels: int, image_size: int) -> None:
        super().__init__()
        self.smallest = (4 * channels, image_size // 4, image_size // 4)
        self.dense = nn.Linear(latent_dim, 4 * channels * (image_size // 4) ** 2)
        self.model = nn.Sequential(
            nn.BatchNorm2d(4 * channels),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * channels, 2 * channels, 4, 2, 1),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 1, 3, 1, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.model(self.dense(z).view(-1, *self.smallest))


class Discriminator(nn.Module):
    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(1, channels, 3, 1, 1))
        self.conv2 = spectral_norm(nn.Conv2d(channels, 2 * channels, 4, 2, 1))
        self.conv3 = spectral_norm(nn.Conv2d(2 * channels, 2 * channels, 3, 1, 1))
        self.conv4 = spectral_norm(nn.Conv2d(2 * channels, 4 * channels, 4, 2, 1))
        self.fc = spectral_norm(nn.Linear(4 * channels * (image_size // 4) ** 2, 1))
        self.act1, self.act2, self.act3, self.act4 = (nn.LeakyReLU(0.1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.conv1(x))
        h = self.act2(self.conv2(h))
        h = self.act3(self.conv3(h))
        h = self.act4(self.conv4(h))
        return self.fc(h.flatten(1))


G = Generator(args.latent_dim, args.channels, args.image_size)
D = fastgan.join_spectral_norms(fastgan.fuse(Discriminator(args.channels, args.image_size)))
optG = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.0, 0.9))
optD = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.0, 0.9))

digits = torch.tensor(load_digits().images, dtype=torch.get_default_dtype()) / 8 - 1
images = F.interpolate(digits[:, None], size=(args.image_size, args.image_size))

losses = []
start = time.perf_counter()
for step in range(args.steps):
    for _ in range(args.n_dis):
        real = images[torch.randint(len(images), (args.batch_size,))]
        with torch.no_grad():
            fake = G(torch.randn(args.batch_size, args.latent_dim))
        d_real, d_fake = D(real), D(fake)
        loss_D = F.relu(1.0 - d_real).mean() + F.relu(1.0 + d_fake).mean()
        optD.zero_grad()
        loss_D.backward()
        optD.step()

    loss_G = -D(G(torch.randn(args.batch_size, args.latent_dim))).mean()
    optG.zero_grad()
    loss_G.backward()
    optG.step()

    losses.append((loss_D.item(), loss_G.item()))
    if step % 100 == 99:
        print(f"step {step + 1}: loss_D {loss_D.item():.4f}, loss_G {loss_G.item():.4f}")
seconds = time.perf_counter() - start
print(f"{args.steps / seconds:.1f} steps/s")
