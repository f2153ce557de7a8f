"""A VQGAN-style image tokenizer with fastgan, on MNIST. Compare it with vqgan_plain.py.

After Esser et al. 2021, arXiv:2012.09841, without the perceptual loss, which needs a pretrained network.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastgan
from fastgan.compat.taming import hinge_d_loss

parser = argparse.ArgumentParser()
parser.add_argument("data", type=Path, help="train-images-idx3-ubyte of MNIST, or the same with .gz")
parser.add_argument("--steps", type=int, default=1_000)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--channels", type=int, default=64)
parser.add_argument("--codes", type=int, default=256, help="size of the codebook")
parser.add_argument("--disc-start", type=int, default=0, help="first step with the adversarial loss")
args = parser.parse_args()
torch.manual_seed(0)


def images_of(path: Path) -> Tensor:
    """Images in [-1, 1], [N, 1, 28, 28]."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    pixels = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels / 127.5 - 1).to(torch.get_default_dtype())


class Tokenizer(nn.Module):
    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, channels, 4, 2, 1),
            nn.SiLU(),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1),
            nn.SiLU(),
            nn.Conv2d(2 * channels, channels, 3, 1, 1),
        )
        self.codebook = nn.Parameter(torch.empty(codes, channels).uniform_(-1 / codes, 1 / codes))
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, 1, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(channels, channels, 4, 2, 1),
            nn.SiLU(),
        )
        self.last = nn.Conv2d(channels, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions, and the losses of codebook and commitment (van den Oord et al. 2017)."""
        z = self.encoder(x).movedim(1, -1)
        codes = torch.cdist(z.flatten(0, -2), self.codebook).argmin(1)
        found = self.codebook[codes].view_as(z)
        codebook_loss = F.mse_loss(found, z.detach()) + 0.25 * F.mse_loss(z, found.detach())
        passed_on = (z + (found - z).detach()).movedim(-1, 1)
        return self.last(self.decoder(passed_on)), codebook_loss


def patch_discriminator(channels: int) -> nn.Module:
    """Logits of patches, after Isola et al. 2017."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * channels),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * channels, 4 * channels, 4, 1, 1, bias=False),
        nn.BatchNorm2d(4 * channels),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * channels, 1, 4, 1, 1),
    )


images = images_of(args.data)
G = Tokenizer(args.channels, args.codes)
D = fastgan.fuse(patch_discriminator(args.channels))
optG = torch.optim.Adam(G.parameters(), lr=1e-4, betas=(0.5, 0.9))
optD = torch.optim.Adam(D.parameters(), lr=1e-4, betas=(0.5, 0.9))

losses = []
start = time.perf_counter()
for step in range(args.steps):
    real = images[torch.randint(len(images), (args.batch_size,))]
    fake, codebook_loss = G(real)
    reconstruction_loss = F.l1_loss(fake, real)
    with fastgan.frozen(D):
        adversarial_loss = -D(fake).mean()
    weight = fastgan.adaptive_weight(reconstruction_loss, adversarial_loss, G.last.weight)
    loss_G = reconstruction_loss + codebook_loss
    if step >= args.disc_start:
        loss_G = loss_G + weight * adversarial_loss
    optG.zero_grad()
    loss_G.backward()
    optG.step()

    logits_real, logits_fake = D(real), D(fake.detach())
    loss_D = hinge_d_loss(logits_real, logits_fake)
    optD.zero_grad()
    loss_D.backward()
    optD.step()

    losses.append((loss_D.item(), loss_G.item()))
    if step % 100 == 99:
        print(f"step {step + 1}: loss_D {loss_D.item():.4f}, reconstruction {reconstruction_loss.item():.4f}")
seconds = time.perf_counter() - start
print(f"{args.steps / seconds:.1f} steps/s")
