"""An ESRGAN-style upscaler with fastgan, on digits. Compare it with esrgan_plain.py.

Networks after Wang et al. 2018, arXiv:1809.00219 (G), and Wang et al. 2021, arXiv:2107.10833 (D); the
relativistic average loss as in BasicSR, without the perceptual loss, which needs a pretrained network.
"""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

import fastgan

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=1_000)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--channels", type=int, default=32)
parser.add_argument("--blocks", type=int, default=3)
args = parser.parse_args()
torch.manual_seed(0)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all that came before."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(channels + i * growth, growth if i < 4 else channels, 3, 1, 1) for i in range(5)]
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for convolution in self.convolutions[:-1]:
            seen = torch.cat([seen, F.leaky_relu(convolution(seen), 0.2)], 1)
        return x + 0.2 * self.convolutions[-1](seen)


class Upscaler(nn.Module):
    """Images of half the size to images: [N, 1, H / 2, W / 2] -> [N, 1, H, W]."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, 1, 1)
        self.body = nn.Sequential(*[DenseBlock(channels, channels // 2) for _ in range(blocks)])
        self.up = nn.Conv2d(channels, channels, 3, 1, 1)
        self.last = nn.Conv2d(channels, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = F.interpolate(x + self.body(x), scale_factor=2)
        return self.last(F.leaky_relu(self.up(x), 0.2))


class UNetDiscriminator(nn.Module):
    """A logit for each pixel, with spectral norm in all layers but the first and the last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, channels, 3, 1, 1)
        self.conv1 = spectral_norm(nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False))
        self.conv2 = spectral_norm(nn.Conv2d(2 * channels, 4 * channels, 4, 2, 1, bias=False))
        self.conv3 = spectral_norm(nn.Conv2d(4 * channels, 2 * channels, 3, 1, 1, bias=False))
        self.conv4 = spectral_norm(nn.Conv2d(2 * channels, channels, 3, 1, 1, bias=False))
        self.conv5 = spectral_norm(nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
        self.last = nn.Conv2d(channels, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x0 = F.leaky_relu(self.conv0(x), 0.2)
        x1 = F.leaky_relu(self.conv1(x0), 0.2)
        x2 = F.leaky_relu(self.conv2(x1), 0.2)
        x3 = F.interpolate(x2, scale_factor=2, mode="bilinear", align_corners=False)
        x3 = F.leaky_relu(self.conv3(x3), 0.2) + x1
        x4 = F.interpolate(x3, scale_factor=2, mode="bilinear", align_corners=False)
        x4 = F.leaky_relu(self.conv4(x4), 0.2) + x0
        return self.last(F.leaky_relu(self.conv5(x4), 0.2))


images = torch.tensor(load_digits().images, dtype=torch.get_default_dtype())[:, None] / 16
G = Upscaler(args.channels, args.blocks)
D = fastgan.join_spectral_norms(fastgan.fuse(UNetDiscriminator(args.channels)))
optG = torch.optim.Adam(G.parameters(), lr=1e-4, betas=(0.9, 0.99))
optD = torch.optim.Adam(D.parameters(), lr=1e-4, betas=(0.9, 0.99))

losses = []
start = time.perf_counter()
for step in range(args.steps):
    real = images[torch.randint(len(images), (args.batch_size,))]
    fake = G(F.avg_pool2d(real, 2))

    with fastgan.frozen(D):
        logits_real, logits_fake = D(real), D(fake)
    adversarial_loss = fastgan.relativistic_loss(logits_fake, logits_real, average=True)
    loss_G = F.l1_loss(fake, real) + 5e-3 * 0.5 * adversarial_loss
    optG.zero_grad()
    loss_G.backward()
    optG.step()

    logits_real, logits_fake = D(real), D(fake.detach())
    loss_D = 0.5 * fastgan.relativistic_loss(logits_real, logits_fake, average=True, detach_means=True)
    optD.zero_grad()
    loss_D.backward()
    optD.step()

    losses.append((loss_D.item(), loss_G.item()))
    if step % 100 == 99:
        print(f"step {step + 1}: loss_D {loss_D.item():.4f}, loss_G {loss_G.item():.4f}")
seconds = time.perf_counter() - start
print(f"{args.steps / seconds:.1f} steps/s")
