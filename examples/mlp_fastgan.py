"""A fully connected GAN with fastgan. Compare it with mlp_plain.py."""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import fastgan

parser = argparse.ArgumentParser()
parser.add_argument("--n_steps", type=int, default=2_000)
parser.add_argument("--batch_size", type=int, default=64)
parser.add_argument("--lr", type=float, default=2e-4)
parser.add_argument("--latent_dim", type=int, default=100)
parser.add_argument("--width", type=int, default=128, help="width of G's first layer")
parser.add_argument("--img_size", type=int, default=28)
opt = parser.parse_args()
img_shape = (1, opt.img_size, opt.img_size)
torch.manual_seed(0)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def block(n_in: int, n_out: int, normalize: bool = True) -> list[nn.Module]:
            norm: list[nn.Module] = [nn.BatchNorm1d(n_out, 0.8)] if normalize else []
            return [nn.Linear(n_in, n_out), *norm, nn.LeakyReLU(0.2, inplace=True)]

        self.model = nn.Sequential(
            *block(opt.latent_dim, opt.width, normalize=False),
            *block(opt.width, 2 * opt.width),
            *block(2 * opt.width, 4 * opt.width),
            nn.Linear(4 * opt.width, opt.img_size**2),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.model(z).view(-1, *img_shape)


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(opt.img_size**2, 4 * opt.width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(4 * opt.width, 2 * opt.width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(2 * opt.width, 1),
        )

    def forward(self, img: Tensor) -> Tensor:
        return self.model(img.flatten(1))


generator, discriminator = fastgan.fuse(Generator()), fastgan.fuse(Discriminator())
optimizer_G = torch.optim.Adam(generator.parameters(), lr=opt.lr, betas=(0.5, 0.999))
optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=opt.lr, betas=(0.5, 0.999))

digits = torch.tensor(load_digits().images, dtype=torch.get_default_dtype()) / 8 - 1
images = F.interpolate(digits[:, None], size=img_shape[1:])

losses = []
start = time.perf_counter()
for step in range(opt.n_steps):
    real_imgs = images[torch.randint(len(images), (opt.batch_size,))]

    optimizer_G.zero_grad()
    gen_imgs = generator(torch.randn(opt.batch_size, opt.latent_dim))
    g_loss = fastgan.generator_loss(discriminator(gen_imgs))
    g_loss.backward()
    optimizer_G.step()

    optimizer_D.zero_grad()
    d_loss = fastgan.discriminator_loss(discriminator(real_imgs), discriminator(gen_imgs.detach())) / 2
    d_loss.backward()
    optimizer_D.step()

    losses.append((d_loss.item(), g_loss.item()))
    if step % 100 == 99:
        print(f"[step {step + 1}/{opt.n_steps}] [D loss: {d_loss.item():.4f}] [G loss: {g_loss.item():.4f}]")
seconds = time.perf_counter() - start
print(f"{opt.n_steps / seconds:.1f} steps/s")
