"""The usual DCGAN script with fastgan. Compare it with dcgan_plain.py."""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

import fastgan

parser = argparse.ArgumentParser()
parser.add_argument("--niter", type=int, default=1_000)
parser.add_argument("--batchSize", type=int, default=64)
parser.add_argument("--lr", type=float, default=2e-4)
parser.add_argument("--beta1", type=float, default=0.5)
parser.add_argument("--nz", type=int, default=100, help="size of the latent vector")
parser.add_argument("--ngf", type=int, default=32)
parser.add_argument("--ndf", type=int, default=32)
opt = parser.parse_args()
torch.manual_seed(0)


def weights_init(m: nn.Module) -> None:
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


class Generator(nn.Module):
    def __init__(self, nz: int, ngf: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            # (ngf*4) x 4 x 4
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            # (ngf*2) x 8 x 8
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            # (ngf) x 16 x 16
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
            # 1 x 32 x 32
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self, ndf: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            # 1 x 32 x 32
            nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            # (ndf) x 16 x 16
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            # (ndf*2) x 8 x 8
            nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 4),
            nn.LeakyReLU(0.2, inplace=True),
            # (ndf*4) x 4 x 4
            nn.Conv2d(ndf * 4, 1, 4, 1, 0, bias=False),
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.main(input).view(-1)


netG = fastgan.fuse(Generator(opt.nz, opt.ngf).apply(weights_init))
netD = fastgan.fuse(Discriminator(opt.ndf).apply(weights_init))
optimizerD = torch.optim.Adam(netD.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))

digits = torch.tensor(load_digits().images, dtype=torch.get_default_dtype()) / 8 - 1
images = F.interpolate(digits[:, None], size=(32, 32))

losses = []
start = time.perf_counter()
for i in range(opt.niter):
    # (1) update D: maximize log(D(x)) + log(1 - D(G(z)))
    netD.zero_grad()
    real = images[torch.randint(len(images), (opt.batchSize,))]
    fake = netG(torch.randn(opt.batchSize, opt.nz, 1, 1))
    errD = fastgan.discriminator_loss(netD(real), netD(fake.detach()))
    errD.backward()
    optimizerD.step()

    # (2) update G: maximize log(D(G(z)))
    netG.zero_grad()
    errG = fastgan.generator_loss(netD(fake))
    errG.backward()
    optimizerG.step()

    losses.append((errD.item(), errG.item()))
    if i % 100 == 99:
        print(f"[{i + 1}/{opt.niter}] Loss_D: {errD.item():.4f} Loss_G: {errG.item():.4f}")
seconds = time.perf_counter() - start
print(f"{opt.niter / seconds:.1f} steps/s")
