"""A BigVGAN-style vocoder with fastgan, on generated tones. Compare it with bigvgan_plain.py.

The networks are those of Lee et al. 2023, arXiv:2206.04658, with fewer channels: G's activations are Snakes
at twice the rate, and D looks at the signal in periods and at its spectrum at three resolutions.
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import fastgan
from fastgan.compat.hifigan import discriminator_loss, feature_loss, generator_loss

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--batch-size", type=int, default=2)
parser.add_argument("--segment", type=int, default=8192, help="samples of a training segment")
parser.add_argument("--channels", type=int, default=256, help="of G's first layer")
parser.add_argument("--d-channels", type=int, default=128, help="of the discriminators' widest layer")
args = parser.parse_args()
torch.manual_seed(0)
RATE, N_FFT, HOP, N_MELS, SLOPE = 24_000, 1024, 256, 100, 0.1


def mel_filters() -> Tensor:
    """Triangles that are equally wide in mel, [N_MELS, N_FFT // 2 + 1]."""
    edges = torch.linspace(0.0, 2595 * math.log10(1 + RATE / 2 / 700), N_MELS + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = torch.linspace(0.0, RATE / 2, N_FFT // 2 + 1)
    rising = (bins - hertz[:-2, None]) / (hertz[1:-1] - hertz[:-2])[:, None]
    falling = (hertz[2:, None] - bins) / (hertz[2:] - hertz[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)


FILTERS, WINDOW = mel_filters(), torch.hann_window(N_FFT)


def log_mel(y: Tensor) -> Tensor:
    """[N, samples] -> [N, N_MELS, samples // HOP]."""
    y = F.pad(y, ((N_FFT - HOP) // 2,) * 2, mode="reflect")
    spectrum = torch.stft(y, N_FFT, HOP, window=WINDOW, center=False, return_complex=True)
    return torch.log((FILTERS @ (spectrum.abs().square() + 1e-9).sqrt()).clamp(min=1e-5))


def activation(channels: int) -> nn.Module:
    return fastgan.nn.AntiAliasedSnake(fastgan.nn.SnakeBeta(channels, log_scale=True))


class AMPBlock(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()

        def convolution(dilation: int) -> nn.Module:
            padding = dilation * (kernel - 1) // 2
            return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding))

        self.steps = nn.ModuleList(
            [
                nn.Sequential(
                    *(activation(channels), convolution(dilation), activation(channels), convolution(1))
                )
                for dilation in (1, 3, 5)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = x + step(x)
        return x


class Generator(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = weight_norm(nn.Conv1d(N_MELS, channels, 7, padding=3))
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for stride in (8, 8, 2, 2):
            up = nn.ConvTranspose1d(channels, channels // 2, 2 * stride, stride, padding=stride // 2)
            self.ups.append(weight_norm(up))
            channels //= 2
            self.blocks.append(nn.ModuleList([AMPBlock(channels, kernel) for kernel in (3, 7, 11)]))
        self.last = nn.Sequential(
            activation(channels), weight_norm(nn.Conv1d(channels, 1, 7, padding=3)), nn.Tanh()
        )

    def forward(self, mel: Tensor) -> Tensor:
        x = self.first(mel)
        for up, blocks in zip(self.ups, self.blocks, strict=True):
            x = up(x)
            x = sum(block(x) for block in blocks) / len(blocks)
        return self.last(x)


class Discriminator(nn.Module):
    """Convolutions over an image of the signal: logits and feature maps."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int], width: int) -> None:
        super().__init__()
        padding = kernel[0] // 2, kernel[1] // 2
        self.convolutions = nn.ModuleList(
            [
                weight_norm(nn.Conv2d(*ends, kernel, stride, padding))
                for ends in itertools.pairwise([1, width // 8, width // 4, width // 2, width])
            ]
        )
        self.last = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), SLOPE)
            features.append(x)
        x = self.last(x)
        return x.flatten(1), [*features, x]


class PeriodDiscriminator(Discriminator):
    def __init__(self, period: int, width: int) -> None:
        super().__init__((5, 1), (3, 1), width)
        self.period = period

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = F.pad(x, (0, -x.shape[-1] % self.period), mode="reflect")
        return super().forward(x.unflatten(-1, (-1, self.period)))


class SpectrumDiscriminator(Discriminator):
    def __init__(self, n_fft: int, width: int) -> None:
        super().__init__((3, 9), (1, 2), width)
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = torch.stft(
            x.squeeze(1), self.n_fft, self.n_fft // 4, window=self.window, return_complex=True
        )
        return super().forward(spectrum.abs().mT.unsqueeze(1))


Logits = tuple[Tensor, ...]
Features = tuple[list[Tensor], ...]


class Discriminators(nn.ModuleList):
    """Five by period and three by resolution: logits and feature maps of real and of generated samples."""

    def __init__(self, width: int) -> None:
        super().__init__(
            [PeriodDiscriminator(period, width) for period in (2, 3, 5, 7, 11)]
            + [SpectrumDiscriminator(n_fft, width) for n_fft in (1024, 512, 256)]
        )

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Logits, Logits, Features, Features]:
        reals, real_features = zip(*[each(real) for each in self], strict=True)
        fakes, fake_features = zip(*[each(fake) for each in self], strict=True)
        return reals, fakes, real_features, fake_features


def tones(count: int, samples: int) -> Tensor:
    """Harmonics of random pitches, fading out: [count, 1, samples]."""
    at = torch.arange(samples) / RATE
    pitch = 80 * 2 ** (3 * torch.rand(count, 1, 1))
    order = torch.arange(1, 9)[:, None]
    phase = torch.rand(count, 8, 1)
    waves = torch.sin(2 * math.pi * (pitch * order * at + phase)) / order
    return 0.3 * waves.sum(1, keepdim=True) * torch.exp(-3 * at)


G = Generator(args.channels)
D = fastgan.fuse(Discriminators(args.d_channels))
optG = torch.optim.AdamW(G.parameters(), lr=1e-4, betas=(0.8, 0.99))
optD = torch.optim.AdamW(D.parameters(), lr=1e-4, betas=(0.8, 0.99))


def discriminator_turn(real: Tensor, fake: Tensor) -> Tensor:
    real_logits, fake_logits, _, _ = D(real, fake.detach())
    loss, _, _ = discriminator_loss(real_logits, fake_logits)
    optD.zero_grad()
    loss.backward()
    optD.step()
    return loss


def generator_turn(real: Tensor, fake: Tensor, mel: Tensor) -> Tensor:
    with fastgan.frozen(D):
        _, fake_logits, real_features, fake_features = D(real, fake)
    loss = 45 * F.l1_loss(log_mel(fake.squeeze(1)), mel)
    loss = loss + generator_loss(fake_logits)[0] + feature_loss(real_features, fake_features)
    optG.zero_grad()
    loss.backward()
    optG.step()
    return loss


losses = []
start = time.perf_counter()
for step in range(args.steps):
    real = tones(args.batch_size, args.segment)
    mel = log_mel(real.squeeze(1))
    fake = G(mel)
    loss_D = discriminator_turn(real, fake)
    loss_G = generator_turn(real, fake, mel)
    losses.append((loss_D.item(), loss_G.item()))
    if step % 10 == 9:
        print(f"step {step + 1}: loss_D {loss_D.item():.4f}, loss_G {loss_G.item():.4f}")
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{args.steps / seconds:.2f} steps/s, at most {peak:,.0f} MiB of memory")
