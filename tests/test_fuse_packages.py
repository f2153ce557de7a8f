"""fastgan.fuse on discriminators of the shapes that packages have: every reason it gives is true."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from test_fuse import assert_same
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import fastgan
from fastgan.fusion import report

Norm = Callable[[nn.Module], nn.Module]


def by_hooks(norm: Callable[..., nn.Module]) -> Norm:
    def of(layer: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return norm(layer)

    return of


class Patch(nn.Module):
    """As pix2pix: convolutions with batch normalization in the middle, in a Sequential."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 4, 4, 2, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(4, 8, 4, 2, 1, bias=False),
            norm(8),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(8, 1, 4, 1, 1),
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.model(input)


class ActNorm(nn.Module):
    """Normalization that looks at its first batch, as image tokenizers have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc, self.scale = (nn.Parameter(torch.zeros(1, channels, 1, 1)) for _ in range(2))
        self.register_buffer("initialized", torch.tensor(0))

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.initialized.item() == 0:
            self.loc.data.copy_(-input.mean((0, 2, 3), keepdim=True))
            self.initialized.fill_(1)
        return self.scale.exp() * (input + self.loc)


class Period(nn.Module):
    """As one of HiFi-GAN's: pads where the length asks for it, functional activations, features kept."""

    def __init__(self) -> None:
        super().__init__()
        norm = by_hooks(nn.utils.weight_norm)
        self.convs = nn.ModuleList([norm(nn.Conv2d(1, 4, (5, 1), (3, 1))), norm(nn.Conv2d(4, 4, (5, 1)))])
        self.post = norm(nn.Conv2d(4, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        batch, channels, length = x.shape
        if length % 3 != 0:
            x = F.pad(x, (0, 3 - length % 3), "reflect")
        x = x.view(batch, channels, -1, 3)
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
            features.append(x)
        x = self.post(x)
        return torch.flatten(x, 1), [*features, x]


class Scale(nn.Module):
    """As the other of HiFi-GAN's: nothing that tracing cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        norm = by_hooks(nn.utils.weight_norm)
        self.convs = nn.ModuleList(
            [norm(nn.Conv1d(1, 4, 15, 1, 7)), norm(nn.Conv1d(4, 8, 41, 2, groups=4, padding=20))]
        )

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
        return x


class Spectral(nn.Module):
    """As SNGAN's: one activation for all."""

    def __init__(self) -> None:
        super().__init__()
        norm = by_hooks(nn.utils.spectral_norm)
        self.conv1, self.conv2 = norm(nn.Conv2d(3, 4, 3, 1, 1)), norm(nn.Conv2d(4, 4, 4, 2, 1))
        self.fc = norm(nn.Linear(4 * 16 * 16, 1))
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv2(self.act(self.conv1(x))))
        return self.fc(x.flatten(1))


class EqualLinear(nn.Module):
    """Weights scaled in the forward, as StyleGAN has them."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(n_out, n_in)), nn.Parameter(torch.zeros(n_out))
        self.scale = 1 / math.sqrt(n_in)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class UNet(nn.Module):
    """As super-resolution has it: spectral norm, functional activations, sums with what came before."""

    def __init__(self) -> None:
        super().__init__()
        norm = by_hooks(nn.utils.spectral_norm)
        self.conv0 = nn.Conv2d(3, 4, 3, 1, 1)
        self.conv1 = norm(nn.Conv2d(4, 8, 4, 2, 1, bias=False))
        self.conv2 = norm(nn.Conv2d(8, 4, 3, 1, 1, bias=False))
        self.conv3 = nn.Conv2d(4, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x0 = F.leaky_relu(self.conv0(x), 0.2, inplace=True)
        x1 = F.leaky_relu(self.conv1(x0), 0.2, inplace=True)
        up = F.interpolate(x1, scale_factor=2, mode="bilinear", align_corners=False)
        return self.conv3(F.leaky_relu(self.conv2(up), 0.2, inplace=True) + x0)


class VGGStyle(nn.Module):
    """As super-resolution has it for small images: checks its input, modules for activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.conv1 = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 4, 2, 1, bias=False)
        self.bn1, self.linear1 = nn.BatchNorm2d(4), nn.Linear(4 * 16 * 16, 8)
        self.linear2, self.lrelu = nn.Linear(8, 1), nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        assert x.size(2) == 32, f"expected 32 pixels, got {x.size()}"
        features = self.lrelu(self.conv0(x))
        features = self.lrelu(self.bn1(self.conv1(features)))
        return self.linear2(self.lrelu(self.linear1(features.view(features.size(0), -1))))


class Tabular(nn.Module):
    """As CTGAN's: packs of rows, dropout behind each activation."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in in (40, 16):
            layers += [nn.Linear(n_in, 16), nn.LeakyReLU(0.2), nn.Dropout(0.5)]
        self.seq = nn.Sequential(*layers, nn.Linear(16, 1))

    def forward(self, input: Tensor) -> Tensor:
        assert input.size()[0] % 10 == 0
        return self.seq(input.view(-1, 40))


class Motion(nn.Module):
    """As AMP's: a trunk of ReLU layers, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


class Wrapper(nn.Module):
    """Spectral norm as a module around a layer, as many repositories copy it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Tensor) -> Tensor:
        return self.module.forward(*args)


class Package(NamedTuple):
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    traced: str
    watched: str


IMAGE, SOUND = (2, 3, 32, 32), (2, 1, 100)
FUNCTIONAL = "fusable  convs.0 with F.leaky_relu\nfusable  convs.1 with F.leaky_relu"
CONTROL_FLOW = "TraceError: symbolically traced variables cannot be used as inputs to control flow"
PACKAGES = {
    "pix2pix": Package(
        Patch,
        IMAGE,
        *["fusable  model.0 with model.1\nfusable  model.3 with model.4"] * 2,
    ),
    "taming-transformers": Package(
        lambda: Patch(ActNorm),
        IMAGE,
        "fusable  model.0 with model.1\nleft     model.4: follows ActNorm 'model.3', which has no fused form",
        "fusable  model.0 with model.1\nleft     model.4: follows 'mul', not a layer",
    ),
    "HiFi-GAN, periods": Package(
        Period,
        SOUND,
        "left     Period: its forward holds layers, and torch.fx cannot trace it; an F.leaky_relu behind "
        f"them is seen only with example_input: {CONTROL_FLOW}",
        FUNCTIONAL,
    ),
    "HiFi-GAN, scales": Package(Scale, SOUND, FUNCTIONAL, FUNCTIONAL),
    "SNGAN": Package(Spectral, IMAGE, *["fusable  conv1 with act\nfusable  conv2 with act"] * 2),
    "StyleGAN": Package(
        lambda: nn.Sequential(EqualLinear(4, 4), nn.LeakyReLU(0.2), EqualLinear(4, 1)),
        (3, 4),
        *["left     1: follows 'linear', not a layer"] * 2,
    ),
    "BasicSR, UNet": Package(
        UNet, IMAGE, *["\n".join(f"fusable  conv{i} with F.leaky_relu" for i in range(3))] * 2
    ),
    "BasicSR, VGG style": Package(
        VGGStyle,
        IMAGE,
        f"left     lrelu: torch.fx cannot trace the forward of VGGStyle: {CONTROL_FLOW}",
        "fusable  conv0 with lrelu\nfusable  bn1 with lrelu\nfusable  linear1 with lrelu",
    ),
    "CTGAN": Package(Tabular, (20, 20), *["fusable  seq.0 with seq.1\nfusable  seq.3 with seq.4"] * 2),
    "AMP": Package(Motion, (3, 8), *["fusable  trunk.0 with trunk.1\nfusable  trunk.2 with trunk.3"] * 2),
    "DCGAN": Package(
        lambda: nn.Sequential(
            parametrizations.spectral_norm(nn.Conv2d(3, 4, 4, 2, 1, bias=False)),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4, 1, 16),
        ),
        IMAGE,
        *["fusable  0 with 1"] * 2,
    ),
    "a layer in a wrapper": Package(
        lambda: nn.Sequential(Wrapper(nn.Conv2d(3, 4, 3)), nn.LeakyReLU(0.1), nn.Conv2d(4, 1, 30)),
        IMAGE,
        "left     1: follows 'conv2d', not a layer",
        "left     1: follows 'conv2d', not a layer",
    ),
}


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_every_reason_is_true(package: Package) -> None:
    model = package.build()
    assert str(report(model)) == package.traced
    assert str(report(model, torch.randn(package.shape))) == package.watched


@pytest.mark.filterwarnings("ignore:fastgan.fuse found no layer")
@pytest.mark.parametrize("watched", [False, True], ids=["traced", "watched"])
@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_the_same_discriminator(package: Package, watched: bool) -> None:
    def run(fuse: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = package.build().double()
        input = torch.randn(package.shape, dtype=torch.float64)
        if fuse:
            fastgan.fuse(model, input if watched else None)
        torch.manual_seed(1)
        outputs = model(input)
        output = outputs[0] if isinstance(outputs, tuple) else outputs
        return [output, *torch.autograd.grad(output.square().sum(), list(model.parameters()))]

    assert_same(run(True), run(False))
