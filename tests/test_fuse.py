"""fastgan.fuse: the same model, faster."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fastgan
from fastgan.nn import LinearLeakyReLU


def pair(negative_slope: float = 0.2, bias: bool = True) -> list[nn.Module]:
    return [nn.Linear(4, 4, bias=bias), nn.LeakyReLU(negative_slope)]


def fused_layers(module: nn.Module) -> int:
    return sum(isinstance(m, LinearLeakyReLU) for m in module.modules())


def assert_same_model(build: Callable[[], nn.Module], fused: int) -> None:
    plain = build()
    model = copy.deepcopy(plain)
    parameters, keys = list(model.named_parameters()), list(model.state_dict())
    state = torch.get_rng_state()
    assert fastgan.fuse(model) is model
    assert torch.equal(torch.get_rng_state(), state)
    assert fused_layers(model) == fused
    for (name, before), (name_after, after) in zip(parameters, model.named_parameters(), strict=True):
        assert name == name_after
        assert before is after
    assert list(model.state_dict()) == keys
    input = torch.randn(5, 4)
    expected, output = plain(input), model(input)
    torch.testing.assert_close(output, expected)
    expected.square().sum().backward()
    output.square().sum().backward()
    for theirs, ours in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def shared_activation() -> nn.Module:
    activation = nn.LeakyReLU(0.3)
    return nn.Sequential(nn.Linear(4, 4), activation, nn.Linear(4, 4), activation, nn.Linear(4, 1))


def shared_linear() -> nn.Module:
    linear = nn.Linear(4, 4)
    return nn.Sequential(linear, nn.LeakyReLU(0.2), linear, nn.LeakyReLU(0.1), *pair())


class Features(nn.Sequential):
    """A Sequential whose forward looks between the layers."""

    def forward(self, input: Tensor) -> list[Tensor]:
        outputs = [input]
        for module in self:
            outputs.append(module(outputs[-1]))
        return outputs[1:]


@pytest.mark.parametrize(
    ("build", "fused"),
    [
        (lambda: nn.Sequential(*pair(), *pair(0.01), nn.Linear(4, 1)), 2),
        (lambda: nn.Sequential(*pair(bias=False), nn.Linear(4, 1)), 1),
        (lambda: nn.Sequential(*pair(0.0)), 1),
        (lambda: nn.Sequential(nn.Sequential(*pair()), nn.ModuleDict({"a": nn.Sequential(*pair())})["a"]), 2),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), *pair(), nn.LeakyReLU()), 1),
        (lambda: nn.Sequential(*pair()).eval(), 1),
        (shared_activation, 2),
        (shared_linear, 1),
    ],
    ids=["two", "no bias", "slope 0", "nested", "mixed", "eval", "shared LeakyReLU", "shared Linear"],
)
def test_same_model(build: Callable[[], nn.Module], fused: int) -> None:
    assert_same_model(build, fused)


def test_training_mode_is_kept() -> None:
    model = nn.Sequential(*pair()).eval()
    assert not any(m.training for m in fastgan.fuse(model).modules())


def test_frozen_parameters_stay_frozen() -> None:
    model = nn.Sequential(*pair())
    model[0].weight.requires_grad_(False)
    assert not fastgan.fuse(model)[0].weight.requires_grad


def test_an_optimizer_made_before_keeps_working() -> None:
    model = nn.Sequential(*pair(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model[0].weight.clone()
    fastgan.fuse(model)(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before)


class MyLinear(nn.Linear):
    pass


def hooked(register: str, where: int) -> nn.Module:
    model = nn.Sequential(*pair())
    getattr(model[where], register)(lambda *_: None)
    return model


@pytest.mark.parametrize(
    "build",
    [
        lambda: hooked("register_forward_hook", 0),
        lambda: hooked("register_forward_pre_hook", 0),
        lambda: hooked("register_forward_hook", 1),
        lambda: hooked("register_full_backward_hook", 0),
        lambda: hooked("register_full_backward_pre_hook", 1),
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.LeakyReLU()),
        lambda: nn.Sequential(MyLinear(4, 4), nn.LeakyReLU()),
        lambda: nn.Sequential(*pair(-0.1)),
        lambda: nn.Sequential(nn.LeakyReLU(), nn.Linear(4, 4)),
        lambda: nn.Sequential(),
        lambda: Features(*pair()),
    ],
    ids=[
        "forward hook",
        "pre-hook",
        "activation hook",
        "backward hook",
        "backward pre-hook",
        "spectral_norm",
        "subclass",
        "negative slope",
        "other order",
        "empty",
        "Sequential with its own forward",
    ],
)
def test_left_alone_with_a_warning(build: Callable[[], nn.Module]) -> None:
    model = build()
    before = [type(m) for m in model.modules()]
    with pytest.warns(UserWarning, match="found no"):
        fastgan.fuse(model)
    assert [type(m) for m in model.modules()] == before
