"""fastgan.patch on a small package that stands for the published ones."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastgan
from fastgan.fusion import packages
from fastgan.fusion.packages import Network
from fastgan.nn import WithLeakyReLU


class Period(nn.Module):
    def __init__(self, period: int) -> None:
        super().__init__()
        self.period, self.layers = period, nn.ModuleList([nn.Conv2d(1, 3, (5, 1)), nn.Conv2d(3, 4, (5, 1))])

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % self.period:  # torch.fx cannot trace this
            x = F.pad(x, (0, self.period - x.shape[-1] % self.period), "reflect")
        x = x.unflatten(-1, (-1, self.period))
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
        return x


class Rows(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1))


class Longer(Rows):
    pass


@pytest.fixture(autouse=True)
def _package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = types.ModuleType("vocoders")
    package.Period, package.Rows = Period, Rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vocoders", package)
    known = [Network("vocoders", "Period", (1, 1, 64)), Network("vocoders", "Rows")]
    monkeypatch.setitem(packages.PACKAGES, "vocoders", known)
    yield
    if "vocoders" in packages._patched:
        fastgan.unpatch("vocoders")


def fused_layers(model: nn.Module) -> int:
    return sum(isinstance(each, WithLeakyReLU) for each in model.modules())


def test_what_is_made_afterwards_is_fused() -> None:
    before = [Period.__init__, Rows.__init__]
    torch.manual_seed(0)
    plain = nn.ModuleList([Period(2), Period(3)])
    after = torch.rand(())
    fastgan.patch("vocoders")
    fastgan.patch("vocoders")
    torch.manual_seed(0)
    model = nn.ModuleList([Period(2), Period(3)])
    assert torch.equal(torch.rand(()), after)  # the example input takes no random numbers
    assert isinstance(model[0], Period)
    assert [fused_layers(each) for each in (plain, model, Rows(), Longer())] == [0, 4, 1, 0]
    for one, other in zip(plain, model, strict=True):
        x = torch.randn(2, 1, 61)
        results = [
            [m(x), *torch.autograd.grad(m(x).square().sum(), list(m.parameters()))] for m in (one, other)
        ]
        torch.testing.assert_close(*results)
    fastgan.unpatch("vocoders")
    assert [Period.__init__, Rows.__init__] == before
    assert [fused_layers(each) for each in (model, Rows())] == [4, 0]


def test_unknown_and_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"package must be one of basicsr, bigvgan, .*, but is 'hifi'"):
        fastgan.patch("hifi")
    with pytest.raises(ValueError, match="one that is patched, now none, but is 'bigvgan'"):
        fastgan.unpatch("bigvgan")
    monkeypatch.setitem(packages.PACKAGES, "absent", [Network("absent.models", "D")])
    with pytest.raises(ModuleNotFoundError, match="imports absent, but absent is not installed"):
        fastgan.patch("absent")
    monkeypatch.setitem(
        packages.PACKAGES, "vocoders", [Network("vocoders", "Rows"), Network("vocoders", "Scale")]
    )
    init = Rows.__init__
    with pytest.raises(AttributeError, match="Scale"):
        fastgan.patch("vocoders")
    assert Rows.__init__ is init
